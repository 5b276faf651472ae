"""``clsl images``: where a dataset's pictures are, and looking for those that were missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.console import opened, out
from app.cli.options import DatasetName, Heading, UrlField

if TYPE_CHECKING:
    from app.services.pictures.places import Places


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command(rich_help_panel=Heading.DATA)(images)


def images(
    context: typer.Context,
    name: DatasetName,
    add: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="PLACE",
            help="A further folder or URL that file names are relative to; may be repeated.",
            show_default=False,
        ),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="PLACE", help="Look there no more.", show_default=False),
    ] = None,
    urls: UrlField = None,
) -> None:
    """Say where pictures are, and look again for those that were missing."""
    from app.services.pictures import places

    with opened(context.obj) as workspace:
        now = places.places(workspace, name)
        if add or remove or urls is not None:
            gone = {places.known_place(place, now) for place in remove or ()}
            wanted = [places.check_place(place) for place in add or ()]
            roots = [root for root in now.roots if root not in gone]
            roots += [place for place in dict.fromkeys(wanted) if place not in roots]
            field = now.url_field if urls is None else urls
            now = places.set_places(workspace, name, roots, field)
        found, missing = places.look_again(workspace, name)
    for line in _lines(now):
        out.print(line)
    again = f"; `clsl embed {name}` reads them" if found else ""
    out.print(f"{found} pictures may be there now that were not, {missing} are missing{again}")


def _lines(now: Places) -> list[str]:
    lines = [f"{number}. {root}" for number, root in enumerate(now.roots, start=1)]
    if now.url_field:
        lines.append(f"{len(lines) + 1}. the URL in the record's field {now.url_field!r}")
    return lines

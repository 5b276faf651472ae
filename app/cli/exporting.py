"""``clsl export``: the completed annotations, all of them or a part, of now or of a snapshot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.console import err, opened, out, progress_bar
from app.cli.options import FORMATS, DatasetName, Heading, Only, PrefixOnly, SplitOnly
from clsl_core.errors import InputError

if TYPE_CHECKING:
    from app.services.exporting.export import ExportSummary


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command(rich_help_panel=Heading.DATA)(export)


def export(  # noqa: PLR0913, PLR0917 - each is an option of the command
    context: typer.Context,
    name: DatasetName,
    output: Annotated[Path, typer.Option(help="The file to write.", show_default=False)],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help=f"Its format, else that of the import: {', '.join(FORMATS)}.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            help="Which labels given here: human, or 'model, audited'. May be repeated; else all.",
            show_default=False,
        ),
    ] = None,
    with_proposals: Annotated[
        bool, typer.Option("--proposals", help="The open proposals too, in a CSV beside.")
    ] = False,
    split: SplitOnly = None,
    category: Annotated[
        list[str] | None,
        typer.Option(help="Only this category. May be repeated.", show_default=False),
    ] = None,
    prefix: PrefixOnly = None,
    only: Annotated[
        Only, typer.Option(help="Only images somebody gave a label here, or without unknown ones.")
    ] = Only.ALL,
    snapshot: Annotated[
        str | None,
        typer.Option(help="The labels of this snapshot, not those of now.", show_default=False),
    ] = None,
    per_split: Annotated[
        bool, typer.Option("--per-split", help="One file for each split, named after it.")
    ] = False,
) -> None:
    """Write the completed annotations: the source as it came, our labels added."""
    from app.services.exporting import part as parts
    from app.services.exporting.export import (
        export_dataset,
        export_splits,
        left_behind,
        path_of_split,
    )

    part = parts.ExportPart(split, tuple(category or ()), prefix, parts.Only(only))
    choice = replace(parts.ExportChoice.of(labels, with_proposals), part=part, snapshot=snapshot)
    if per_split and split is not None:
        raise InputError("--per-split writes every split: leave out --split")
    with opened(context.obj) as workspace, progress_bar() as progress:
        if format_ is not None:
            for what in left_behind(workspace, name, format_, choice):
                err.print(f"not carried by {format_}: {what}")
        if per_split:
            made = export_splits(workspace, name, output, format_, progress, choice)
        else:
            made = {"": export_dataset(workspace, name, output, format_, progress, choice)}
    for one, summary in made.items():
        _print_export(path_of_split(output, one) if one else output, summary)


def _print_export(output: Path, summary: ExportSummary) -> None:
    from app.services.exporting.export import proposals_path

    added = ", ".join(f"{n} {kind}" for kind, n in summary.labels_added.items()) or "none"
    out.print(
        f"{output}: {summary.images} images, {summary.annotations} annotations, "
        f"labels added: {added}"
    )
    if summary.left_out:
        left = ", ".join(f"{n} {what}" for what, n in summary.left_out.items())
        out.print(f"left out: {left}")
    for line in summary.category_changes:
        out.print(f"categories: {line}")
    if summary.proposals:
        out.print(f"{proposals_path(output)}: {summary.proposals} proposals")

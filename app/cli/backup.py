"""``clsl backup``, ``clsl restore`` and ``clsl support-bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.console import err, out
from app.cli.options import BackupFile, Heading

if TYPE_CHECKING:
    from app.services.backup.archive import Summary


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command(rich_help_panel=Heading.RUNNING)(backup)
    cli.command(rich_help_panel=Heading.RUNNING)(restore)
    cli.command("support-bundle", rich_help_panel=Heading.RUNNING)(support_bundle)


def backup(
    context: typer.Context,
    file: BackupFile,
    with_files: Annotated[
        bool,
        typer.Option("--with-files", help="Also features and checkpoints, which can be large."),
    ] = False,
) -> None:
    """Write everything that people decided into one file, also while the tool runs."""
    from app.services.backup import archive

    summary = archive.backup(context.obj, file.absolute(), with_files=with_files)
    out.print(f"{file}: {_about(summary)}")


def restore(
    context: typer.Context,
    file: BackupFile,
    check: Annotated[
        bool, typer.Option("--check", help="Only see whether the archive is whole.")
    ] = False,
    accept_places: Annotated[
        bool,
        typer.Option(
            "--accept-places",
            help="Let its pictures come from folders and addresses that no dataset here uses.",
        ),
    ] = False,
) -> None:
    """Bring a backup back. What is there now is kept in the folder `backups`."""
    from app.services.backup import archive

    if check:
        out.print(f"{file} is whole: {_about(archive.read(file))}")
        return
    summary, earlier = archive.restore(context.obj, file, accept_places=accept_places)
    if earlier is not None:
        err.print(f"the database that was there is kept as {earlier}")
    out.print(f"restored {_about(summary)}")


def support_bundle(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The zip to write.", show_default=False)],
) -> None:
    """Collect what helps to find a fault, without names, pictures, paths or secrets."""
    from app.services.operations import support

    listed = support.write_bundle(context.obj, file.absolute())
    out.print(f"{file}: {', '.join(listed)}; look through it before you send it")


def _about(summary: Summary) -> str:
    count = {name: summary.rows.get(name, 0) for name in ("dataset", "label", "decision")}
    return (
        f"{count['dataset']} datasets, {count['label']} labels, {count['decision']} decisions, "
        f"{len(summary.files)} files, {summary.size / 1e6:.1f} MB, made {summary.created_at[:19]} "
        f"by version {summary.version}"
    )

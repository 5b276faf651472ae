"""``clsl snapshot``: keep a dataset's labels under a name, and see what changed since."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import opened, out, print_json, print_table
from app.cli.options import AsJson, DatasetName, Heading, SnapshotName

SHOWN = 50

snapshot_cli = typer.Typer(
    help="Labels as they were at a moment, and what changed since.", no_args_is_help=True
)


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.add_typer(snapshot_cli, name="snapshot", rich_help_panel=Heading.DATA)


@snapshot_cli.command("take")
def take(context: typer.Context, name: DatasetName, snapshot: SnapshotName) -> None:
    """Keep the labels of this moment under a name."""
    from app.services.datasets import snapshots

    with opened(context.obj) as workspace:
        kept = snapshots.take(workspace, name, snapshot)
    out.print(f"{kept.name}: {kept.present} present and {kept.absent} absent labels")


@snapshot_cli.command("list")
def list_snapshots(context: typer.Context, name: DatasetName, as_json: AsJson = False) -> None:
    """All snapshots of a dataset, newest first."""
    from app.services.datasets import snapshots

    with opened(context.obj) as workspace:
        found = snapshots.all_snapshots(workspace, name)
    if as_json:
        print_json([{**asdict(one), "at": one.at.isoformat()} for one in found])
        return
    print_table(
        ["name", "taken by", "at", "present", "absent"],
        [[one.name, one.by, f"{one.at:%Y-%m-%d %H:%M}", one.present, one.absent] for one in found],
    )


@snapshot_cli.command("diff")
def diff(
    context: typer.Context,
    name: DatasetName,
    old: SnapshotName,
    new: Annotated[
        str, typer.Argument(help="A second snapshot; without it, the labels of now.")
    ] = "",
    table: Annotated[
        Path | None, typer.Option("--csv", help="Write all changes here.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Which labels changed, who changed them, and when."""
    from app.services.datasets import snapshots

    with opened(context.obj) as workspace:
        found = snapshots.diff(workspace, name, old, new)
    if table is not None:
        snapshots.write_csv(found.changes, table)
    if as_json:
        cells = [
            dict(zip(snapshots.COLUMNS, row, strict=True)) for row in snapshots.table(found.changes)
        ]
        print_json({"counts": found.counts, "changes": cells})
        return
    for kind, count in found.counts.items():
        out.print(f"{count} {kind}")
    print_table(list(snapshots.COLUMNS), list(snapshots.table(found.changes[:SHOWN])))
    more = len(found.changes) - SHOWN
    if more > 0:
        out.print(f"… and {more} more: --csv FILE writes all of them")
    if not found.changes:
        out.print("nothing changed")


@snapshot_cli.command("delete")
def delete(context: typer.Context, name: DatasetName, snapshot: SnapshotName) -> None:
    """Forget a snapshot; labels stay as they are."""
    from app.services.datasets import snapshots

    with opened(context.obj) as workspace:
        snapshots.delete(workspace, name, snapshot)
    out.print(f"{snapshot} is gone; the labels are as they were")

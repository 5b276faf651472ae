"""``clsl categories``: rename, merge and map a dataset's categories, and take it back."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.console import opened, out, print_json, print_table
from app.cli.options import (
    AsJson,
    Contradiction,
    DatasetName,
    DryRun,
    Heading,
    MergedAs,
    OneCategory,
    Policy,
    Rule,
)

if TYPE_CHECKING:
    from app.services.categories.changes import MergePreview

categories_cli = typer.Typer(
    help="Rename, merge and map categories; everything can be undone.", no_args_is_help=True
)


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.add_typer(categories_cli, name="categories", rich_help_panel=Heading.DATA)


@categories_cli.command("list")
def list_categories(context: typer.Context, name: DatasetName, as_json: AsJson = False) -> None:
    """All categories with their labels, and what was done to them, newest first."""
    from app.services.categories import changes
    from app.services.runtime.legible import legible

    with opened(context.obj) as workspace:
        rows = changes.listed(workspace, name)
        past = changes.history(workspace, name)
    if as_json:
        moments = [
            {
                **asdict(one),
                "at": one.at.isoformat(),
                "undone_at": None if one.undone_at is None else one.undone_at.isoformat(),
            }
            for one in past
        ]
        print_json({"categories": [asdict(row) for row in rows], "changes": moments})
        return
    print_table(
        ["id in the file", "name", "present", "absent", "merged into"],
        [
            [
                legible(str(json.loads(row.source_id))),
                legible(row.name),
                row.present,
                row.absent,
                legible(row.merged_into or ""),
            ]
            for row in rows
        ],
    )
    if past:
        out.print()
        print_table(
            ["change", "kind", "what", "by", "at", "undone by"],
            [
                [
                    one.id,
                    one.kind,
                    one.what,
                    one.by,
                    f"{one.at:%Y-%m-%d %H:%M}",
                    one.undone_by or "",
                ]
                for one in past
            ],
        )


@categories_cli.command("rename")
def rename(
    context: typer.Context,
    name: DatasetName,
    category: OneCategory,
    new_name: Annotated[str, typer.Argument(help="Its new name.", show_default=False)],
) -> None:
    """Give a category another name; its id stays."""
    from app.services.categories import changes

    with opened(context.obj) as workspace:
        made = changes.rename(workspace, name, category, new_name)
    out.print(f"change {made.id}: {made.what}")


@categories_cli.command("merge")
def merge(
    context: typer.Context,
    name: DatasetName,
    sources: Annotated[
        list[str],
        typer.Argument(help="Categories that go into the other one.", show_default=False),
    ],
    into: Annotated[str, typer.Option("--into", help="The one that stays.", show_default=False)],
    policy: MergedAs = Policy.SAME,
    contradiction: Contradiction = Rule.TARGET,
    dry_run: DryRun = False,
) -> None:
    """Let several categories be one; the others are hidden, and nothing is lost."""
    from app.services.categories import changes

    with opened(context.obj) as workspace:
        if dry_run:
            _print_preview(changes.preview_merge(workspace, name, sources, into))
            return
        made = changes.merge(
            workspace,
            name,
            sources,
            into,
            changes.Policy(policy),
            changes.Rule(contradiction),
        )
    out.print(f"change {made.id}: {made.what}")


def _print_preview(preview: MergePreview) -> None:
    from app.services.runtime.legible import legible

    names = ", ".join(map(legible, preview.sources))
    out.print(f"{names} into {legible(preview.target)}")
    print_table(
        ["as", "contradiction", "present", "absent", "unknown", "labels changed"],
        [
            [one.policy, one.rule or "", one.present, one.absent, one.unknown, one.changed]
            for one in preview.forecasts
        ],
    )
    out.print(
        f"{preview.annotations} annotations go out under its id; {preview.proposals} open "
        f"proposals and {preview.assignments} assignments reach nobody any more; "
        f"{preview.contradictions} contradictions"
    )
    for file_name, said in preview.examples:
        words = ", ".join(f"{legible(category)} {state}" for category, state in said)
        out.print(f"  {legible(file_name)}: {words}")


@categories_cli.command("map")
def map_categories(
    context: typer.Context,
    name: DatasetName,
    table: Annotated[
        Path, typer.Argument(help="A CSV with the columns from and to.", show_default=False)
    ],
    policy: MergedAs = Policy.SAME,
    contradiction: Contradiction = Rule.TARGET,
    dry_run: DryRun = False,
) -> None:
    """Rename and merge as a table says, all at one go."""
    from app.services.categories import changes, mapping
    from app.services.runtime.legible import legible

    text = mapping.read(table)
    with opened(context.obj) as workspace:
        if not dry_run:
            for made in mapping.apply(
                workspace, name, text, changes.Policy(policy), changes.Rule(contradiction)
            ):
                out.print(f"change {made.id}: {made.what}")
            return
        plan = mapping.plan(workspace, name, text)
    for step in plan.steps:
        if step.merge is not None:
            _print_preview(step.merge)
        if step.name != step.stays:
            out.print(f"{legible(step.stays)} → {legible(step.name)}")
    out.print(f"{plan.left} categories stay as they are")


@categories_cli.command("undo")
def undo(
    context: typer.Context,
    name: DatasetName,
    change: Annotated[
        int | None,
        typer.Argument(help="Number of the change; the newest without it.", show_default=False),
    ] = None,
) -> None:
    """Take a change back, with all that was made as one with it."""
    from app.services.categories import changes

    with opened(context.obj) as workspace:
        undone = changes.undo(workspace, name, change)
    for what in undone.changes:
        out.print(f"undone: {what}")
    out.print(
        f"{undone.restored} labels are as they were; {undone.kept} were decided again since "
        "and stay"
    )

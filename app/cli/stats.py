"""``clsl stats``: what is known of a dataset."""

from __future__ import annotations

import typer

from app.cli.console import opened, out, print_json, print_table
from app.cli.options import AsJson, DatasetName, Heading


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command(rich_help_panel=Heading.DATA)(stats)


def stats(context: typer.Context, name: DatasetName, as_json: AsJson = False) -> None:
    """What is known of a dataset, by category, and which pictures cannot be used."""
    from app.services.datasets import overview

    with opened(context.obj) as workspace:
        view = overview.dataset(workspace, name)
        counts = overview.category_counts(workspace, name)
        problems = overview.problem_images(workspace, name)
    if as_json:
        rows = [{"name": c.name, "present": c.present, "absent": c.absent} for c in counts]
        print_json(
            {
                "dataset": view.name,
                "images": view.images,
                "categories": rows,
                "present": view.present,
                "absent": view.absent_labels,
                "unknown": view.unknown,
                "open_proposals": view.open_proposals,
                "serving_run": view.serving_run,
                "backbone": view.backbone,
                "problem_images": [
                    {"file_name": p.file_name, "reason": p.reason, "problem": p.problem}
                    for p in problems
                ],
            }
        )
        return
    out.print(
        f"{view.name}: {view.images} images × {view.categories} categories; "
        f"{view.present} present, {view.absent_labels} absent, {view.unknown} unknown; "
        f"{view.open_proposals} proposals wait"
    )
    print_table(["category", "present", "absent"], [[c.name, c.present, c.absent] for c in counts])
    if problems:
        out.print(f"{view.problem_images} pictures cannot be used:")
        print_table(
            ["file", "reason", "what"], [[p.file_name, p.reason, p.problem] for p in problems]
        )

"""``clsl split``: divide a dataset's images into train, val and test."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.console import opened, out, print_json, print_table
from app.cli.options import AsJson, DatasetName, DryRun, Heading
from clsl_core.errors import InputError

if TYPE_CHECKING:
    from app.services.datasets.splits import SplitPlan
    from app.services.workspace import Workspace

SHOWN = 20


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command(rich_help_panel=Heading.DATA)(split)


def split(
    context: typer.Context,
    name: DatasetName,
    *,
    parts: Annotated[
        str, typer.Option(help="The share of each split.")
    ] = "train=0.8,val=0.1,test=0.1",
    seed: Annotated[int, typer.Option(help="Decides between what is equally good.")] = 0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Images that are in one of these splits stay there.")
    ] = False,
    dry_run: DryRun = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Bring the splits of before back instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Divide the images so that each split has its share of every category."""
    from app.services.datasets import splits

    if undo and dry_run:
        raise InputError("--undo has no --dry-run: `clsl split --dry-run` shows a new division")
    with opened(context.obj) as workspace:
        if dry_run:
            shares = splits.parse_shares(parts)
            _print_plan(splits.plan(workspace, name, shares, seed, keep=keep), as_json=as_json)
            return
        sizes = _change(workspace, name, parts, seed, keep=keep, undo=undo)
    if as_json:
        print_json(sizes)
        return
    for part, images in sizes.items():
        out.print(f"{part or 'in none'}: {images} images")


def _change(
    workspace: Workspace, name: str, parts: str, seed: int, *, keep: bool, undo: bool
) -> dict[str, int]:
    from app.services.datasets import splits

    if undo:
        return splits.undo(workspace, name)
    return splits.split_images(workspace, name, splits.parse_shares(parts), seed, keep=keep)


def _print_plan(plan: SplitPlan, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(plan))
        return
    sizes = ", ".join(f"{images} in {part}" for part, images in plan.images.items())
    out.print(f"{sizes}; {plan.moved} images would change their split")
    out.print(
        f"a category's share in a split is off by {plan.deviation:.1%} in the mean; drawn at "
        f"random, by {plan.by_chance:.1%}"
    )
    if plan.together is None:
        out.print("which pictures are the same is not known before `clsl embed`")
    else:
        out.print(f"{plan.together} images show the same picture as another, and stay with it")
    rows = [[one.name, *one.positives] for one in plan.categories[:SHOWN]]
    print_table(["category, rarest first", *plan.images], rows)
    if len(plan.categories) > SHOWN:
        out.print(f"… and {len(plan.categories) - SHOWN} more categories")
    out.print("nothing was changed")

"""``clsl decide``, ``overlap``, ``agreement``, ``assign``, ``gold``: several people, one truth."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.console import opened, out, print_json, print_table
from app.cli.options import MOST_CONFLICTS, AsJson, DatasetName, Heading

if TYPE_CHECKING:
    from app.services.reviewing import assignments


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    for command in (decide, overlap, agreement, assign, assigned, gold, conflicts, adjudicate):
        cli.command(rich_help_panel=Heading.REVIEW)(command)


def decide(
    context: typer.Context,
    name: DatasetName,
    file: Annotated[
        Path, typer.Argument(help="CSV: file_name,category,verdict.", show_default=False)
    ],
    annotator: Annotated[str, typer.Option(help="Whose verdicts they are.", show_default=False)],
) -> None:
    """Store verdicts (present or absent) in bulk. The same file twice is the same as once."""
    from app.services.reviewing import verdict_file

    with opened(context.obj) as workspace:
        report = verdict_file.decide_file(workspace, name, file, annotator)
    out.print(f"{report.saved} verdicts saved, {report.unchanged} were known already")


def overlap(
    context: typer.Context,
    name: DatasetName,
    people: Annotated[
        int, typer.Argument(metavar="K", help="How many people judge a pair.", show_default=False)
    ],
) -> None:
    """Let K people judge each pair, blind to one another; 1 is one verdict, one label."""
    from app.services.reviewing import panels

    with opened(context.obj) as workspace:
        settled = panels.set_overlap(workspace, name, people)
    out.print(f"{name}: {people} people judge each pair; {settled} pairs are settled by that")


def agreement(context: typer.Context, name: DatasetName, as_json: AsJson = False) -> None:
    """How far people agree: by category, two by two, and with known answers."""
    from app.services.quality import agreement as agreement_service

    with opened(context.obj) as workspace:
        found = agreement_service.report(workspace, name)
    if as_json:
        print_json(asdict(found))
        return
    if found.together is None:
        out.print("there is no pair yet on which several people have spoken")
    else:
        rows = [found.together, *found.categories]
        print_table(
            ["category", "pairs", "all the same", "95 % interval", "Fleiss", "alpha", ""],
            [
                [
                    one.category,
                    one.pairs,
                    f"{one.unanimous:.1%}",
                    f"{one.low:.1%} to {one.high:.1%}",
                    _coefficient(one.fleiss),
                    _coefficient(one.alpha),
                    _remark(one.few),
                ]
                for one in rows
            ],
        )
        print_table(
            ["people", "pairs", "the same", "95 % interval", "Cohen", ""],
            [
                [
                    f"{one.first}, {one.second}",
                    one.pairs,
                    f"{one.same:.1%}",
                    f"{one.low:.1%} to {one.high:.1%}",
                    _coefficient(one.kappa),
                    _remark(one.few),
                ]
                for one in found.people
            ],
        )
    if found.gold:
        print_table(
            ["person", "known answers", "right", "95 % interval", "missed", "invented", ""],
            [
                [
                    one.annotator,
                    one.pairs,
                    f"{one.accuracy:.1%}",
                    f"{one.low:.1%} to {one.high:.1%}",
                    one.missed,
                    one.invented,
                    _remark(one.few),
                ]
                for one in found.gold
            ],
        )


def assign(
    context: typer.Context,
    name: DatasetName,
    annotator: Annotated[str, typer.Argument(help="Who judges it.", show_default=False)],
    category: Annotated[str | None, typer.Option(help="Pairs of this category.")] = None,
    split: Annotated[str | None, typer.Option(help="Images of this split.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Files whose names begin so.")] = None,
    first: Annotated[
        bool, typer.Option("--first", help="It comes first; without, nothing else is offered.")
    ] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Take all their parts back.")] = False,
) -> None:
    """Let somebody judge a part of a dataset."""
    from app.services.reviewing import assignments

    with opened(context.obj) as workspace:
        if clear:
            number = assignments.unassign(workspace, name, annotator)
            out.print(f"{annotator} had {number} parts, and judges everything now")
            return
        found = assignments.assign(
            workspace,
            name,
            annotator,
            category=category,
            split=split,
            prefix=prefix,
            exclusive=not first,
        )
    _print_parts(found)


def assigned(context: typer.Context, name: DatasetName, as_json: AsJson = False) -> None:
    """Who judges which part of a dataset; whoever is not listed judges everything."""
    from app.services.reviewing import assignments

    with opened(context.obj) as workspace:
        found = assignments.parts(workspace, name)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    _print_parts(found)


def gold(
    context: typer.Context,
    name: DatasetName,
    number: Annotated[int, typer.Argument(help="How many more.")] = 0,
    clear: Annotated[bool, typer.Option("--clear", help="Ask none any more.")] = False,
) -> None:
    """Put known answers among the questions, drawn from the labels there are."""
    from app.services.reviewing import gold as gold_service

    with opened(context.obj) as workspace:
        if clear:
            found = gold_service.clear(workspace, name)
            out.print(f"{found} known answers are asked no more")
            return
        found = gold_service.add(workspace, name, number)
    out.print(f"{found} known answers are put among the questions of {name}")


def conflicts(
    context: typer.Context,
    name: DatasetName,
    outvoted: Annotated[
        bool, typer.Option("--outvoted", help="Also those that a majority settled.")
    ] = False,
    limit: Annotated[int, typer.Option(help="Most rows.", min=1, max=MOST_CONFLICTS)] = 50,
    as_json: AsJson = False,
) -> None:
    """Pairs on which people disagree, with who said what."""
    from app.services.datasets import overview
    from app.services.reviewing import panels

    with opened(context.obj) as workspace:
        dataset_id = overview.dataset_id(workspace, name)
        found = panels.conflicts(workspace, dataset_id, limit=limit, outvoted=outvoted)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    print_table(
        ["image", "category", "file", "name", "who said what"],
        [
            [
                one.image_id,
                one.category_id,
                one.file_name,
                one.category,
                ", ".join(f"{said.annotator}: {said.verdict}" for said in one.opinions),
            ]
            for one in found
        ],
    )


def adjudicate(
    context: typer.Context,
    name: DatasetName,
    image: Annotated[int, typer.Argument(help="From `clsl conflicts`.", show_default=False)],
    category: Annotated[int, typer.Argument(help="From `clsl conflicts`.", show_default=False)],
    verdict: Annotated[str, typer.Argument(help="present or absent.", show_default=False)],
    annotator: Annotated[str, typer.Option(help="Who settles it.", show_default=False)],
) -> None:
    """Settle a pair on which people disagree."""
    from app.services.people.annotators import enter
    from app.services.reviewing import panels

    with opened(context.obj) as workspace:
        grant = enter(workspace, name, annotator)
        panels.adjudicate(workspace, grant, image, category, verdict)
    out.print(f"image {image}, category {category} is {verdict}")


def _print_parts(found: list[assignments.Part]) -> None:
    print_table(
        ["person", "category", "split", "file names", "offered"],
        [
            [
                one.annotator,
                one.category or "all",
                one.split or "all",
                f"{one.prefix}…" if one.prefix else "all",
                "only" if one.exclusive else "first",
            ]
            for one in found
        ],
    )


def _coefficient(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _remark(few: bool) -> str:
    from app.services.quality.agreement import FEW

    return f"fewer than {FEW} pairs" if few else ""

"""``clsl embed``, ``train``, ``runs``, ``propose`` and the like: models and what they propose."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.console import err, opened, out, print_json, print_table
from app.cli.options import AsJson, BackboneName, DatasetName, Finetune, Heading, Pretrained
from app.cli.running import run_for, run_job

if TYPE_CHECKING:
    from app.services.learning.model_runs import ModelRunView
    from app.services.runtime.settings import Settings
    from clsl_core.types import JsonObject


class Prompts(StrEnum):
    """What stands around a category's name when the text tower reads it."""

    SENTENCES = "sentences"
    LEARNED = "learned"


class LiteratureName(StrEnum):
    """Collections that ``benchmark`` reads from their original files."""

    COCO2014 = "coco2014"
    VOC2007 = "voc2007"
    NUSWIDE = "nuswide"


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    for command in (embed, train, runs, propose, proposals, benchmark):
        cli.command(rich_help_panel=Heading.MODEL)(command)
    cli.command("schedule", rich_help_panel=Heading.MODEL)(schedule_)


def embed(
    context: typer.Context,
    name: DatasetName,
    backbone: BackboneName = None,
    pretrained: Pretrained = None,
    descriptions: Annotated[
        Path | None,
        typer.Option(
            help="CSV or JSON of category,description: averaged into the names' text embeddings.",
            show_default=False,
        ),
    ] = None,
    no_descriptions: Annotated[
        bool, typer.Option("--no-descriptions", help="Forget the descriptions.")
    ] = False,
    prompts: Annotated[
        Prompts | None,
        typer.Option(
            help="Learn the words before the category names, or go back to plain sentences.",
            show_default=False,
        ),
    ] = None,
    accept_missing: Annotated[
        bool,
        typer.Option(
            "--accept-missing",
            help="Go on though most pictures that could be used before are gone.",
        ),
    ] = False,
) -> None:
    """Turn the pictures that are new into features, and the category names too."""
    from app.services.datasets import overview
    from app.services.jobs.table import JobKind
    from app.services.learning import category_text

    with opened(context.obj) as workspace:
        payload: JsonObject = {}
        if backbone is not None:
            payload = {"backbone": backbone, "pretrained": pretrained}
        if prompts is not None:
            payload["prompts"] = prompts.value
        if accept_missing:
            payload["accept_missing"] = True
        dataset_id = overview.dataset_id(workspace, name)
        if no_descriptions:
            category_text.forget_descriptions(workspace, dataset_id)
        if descriptions is not None:
            for other in category_text.keep_descriptions(workspace, dataset_id, descriptions):
                err.print(f"{descriptions.name}: {other!r} is no category here")
        job = run_for(workspace, JobKind.EMBED, name, payload)
        notice = (job.result or {}).get("notice")
        if notice:
            err.print(f"note: {notice}")
        out.print(job.message)


def train(
    context: typer.Context,
    name: DatasetName,
    finetune: Annotated[
        Finetune,
        typer.Option(help="Train the open_clip backbone on the known labels first (needs a GPU)."),
    ] = Finetune.NONE,
    finetune_epochs: Annotated[int, typer.Option(help="Passes over the pictures.", min=1)] = 10,
    finetune_size: Annotated[
        int, typer.Option(help="Side of the pictures in pixels.", min=16)
    ] = 448,
) -> None:
    """Fit the recovery model to all that is known now."""
    from app.services.jobs.table import JobKind
    from app.services.learning.finetuning import FinetuneRequest
    from clsl_core.types import Finetune as Mode

    payload: JsonObject = {"trigger": "by hand"}
    if finetune is not Finetune.NONE:
        request = FinetuneRequest(Mode(finetune), finetune_epochs, finetune_size)
        payload["finetune"] = request.to_json()
    with opened(context.obj) as workspace:
        out.print(run_for(workspace, JobKind.TRAIN, name, payload).message)


def schedule_(
    context: typer.Context,
    name: DatasetName,
    times: Annotated[
        str | None,
        typer.Argument(
            help="Cron expression in local time: minute, hour, day, month, day of the week.",
            show_default=False,
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Train at no set times any more.")] = False,
) -> None:
    """Train at set times, as in "0 3 * * *" for every night at three; or show what is set."""
    from app.services.datasets import overview
    from app.services.learning import triggers

    with opened(context.obj) as workspace:
        if off or times is not None:
            triggers.set_schedule(workspace, name, None if off else times)
        kept = overview.dataset(workspace, name).schedule
    if kept is None:
        out.print("no set times")
        return
    following = triggers.next_time(kept, datetime.now().astimezone())
    out.print(f"{kept}: {triggers.schedule_in_words(kept)}; next {following:%Y-%m-%d %H:%M}")


def runs(
    context: typer.Context,
    name: DatasetName,
    serve: Annotated[
        int | None,
        typer.Option(help="Let this run propose and serve, whatever was said of it."),
    ] = None,
    pin: Annotated[int | None, typer.Option(help="Keep this run, which serves, in charge.")] = None,
    unpin: Annotated[int | None, typer.Option(help="Let later runs take over again.")] = None,
    delete: Annotated[
        int | None, typer.Option(help="Delete this run with its proposals and files.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the model runs, newest first; or serve, pin, unpin or delete one."""
    from app.services.datasets import overview
    from app.services.jobs.table import JobKind
    from app.services.learning import model_runs

    with opened(context.obj) as workspace:
        dataset_id = overview.dataset_id(workspace, name)
        if serve is not None:
            payload = model_runs.order(workspace, dataset_id, serve)
            out.print(run_job(workspace, JobKind.PROPOSE, dataset_id, payload).message)
        if pin is not None:
            model_runs.pin(workspace, dataset_id, pin)
        if unpin is not None:
            model_runs.unpin(workspace, dataset_id, unpin)
        if delete is not None:
            model_runs.delete(workspace, dataset_id, delete)
        found = model_runs.all_runs(workspace, name)
    if as_json:
        print_json([_run_json(run) for run in found])
        return
    columns = ["id", "state", "started by", "new", "seconds", "begun", "gate"]
    rows = [
        [
            run.id,
            run.state,
            run.trigger,
            run.new_decisions,
            "" if run.seconds is None else f"{run.seconds:.1f}",
            f"{run.created_at:%Y-%m-%d %H:%M}",
            run.error or (run.gate or {}).get("reason", ""),
        ]
        for run in found
    ]
    print_table(columns, rows)


def propose(context: typer.Context, name: DatasetName) -> None:
    """Let the newest model propose labels for what is unknown, unless it is worse."""
    from app.services.jobs.table import JobKind

    with opened(context.obj) as workspace:
        out.print(run_for(workspace, JobKind.PROPOSE, name, {}).message)


def proposals(
    context: typer.Context,
    name: DatasetName,
    output: Annotated[Path, typer.Option(help="The CSV file to write.", show_default=False)],
) -> None:
    """Write the open proposals as CSV, most likely first."""
    from app.services.exporting import export

    with opened(context.obj) as workspace:
        count = export.write_proposals(workspace, name, output)
    out.print(f"{count} proposals written to {output}")


def benchmark(  # noqa: PLR0913, PLR0917 - each is an option
    context: typer.Context,
    collection: Annotated[LiteratureName, typer.Argument(help="The collection.")],
    root: Annotated[
        Path, typer.Option(help="The folder of its original files.", show_default=False)
    ],
    backbone: Annotated[
        str,
        typer.Option(help="auto, builtin, or an open_clip model name.", show_default=False),
    ] = "auto",
    pretrained: Pretrained = None,
    output: Annotated[
        Path | None, typer.Option("--json", help="Write the results here.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with an earlier results file.")] = False,
    seeds: Annotated[int, typer.Option(help="Draws of the known labels.", min=1)] = 3,
    limit: Annotated[
        int, typer.Option(help="Use the first pictures of each split only: a trial.", min=0)
    ] = 0,
) -> None:
    """Measure recovery on a collection of the literature, beside the published numbers."""
    settings: Settings = context.obj
    given = {
        "root": root,
        "work": settings.data_dir / "benchmarks" / collection.value,
        "backbone": backbone,
        "pretrained": pretrained,
        "json": output,
        "seeds": seeds,
        "limit": limit,
    }
    # A program of its own, which stands above this one: what serves people never imports it.
    command = [sys.executable, "-m", "benchmarks.literature", collection.value]
    command += [f"--{name}={value}" for name, value in given.items() if value is not None]
    command += ["--resume"] if resume else []
    raise typer.Exit(subprocess.call(command))  # noqa: S603 - our own words, no shell


def _run_json(run: ModelRunView) -> JsonObject:
    record = asdict(run) | {"state": run.state}
    moments = ("created_at", "finished_at")
    return record | {key: record[key] and record[key].isoformat() for key in moments}

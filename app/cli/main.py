"""``clsl``: everything the screen does, from the command line.

Exit codes: 0 done, 1 could not be done, 2 wrong usage, 3 not found, 4 bad input,
5 conflict with the present state, 130 cancelled.
"""

from __future__ import annotations

import getpass
import logging
import os
import shlex
import subprocess
import sys
import warnings
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from PIL.Image import DecompressionBombWarning

import migrations
from app import worker
from app.cli import backup, categories, exporting, images, people, snapshots, splits, team
from app.cli.console import err, exit_code, out, print_json, print_table, progress_bar
from app.cli.images import UrlField
from app.cli.importing import (
    Absent,
    AbsentOption,
    Difficult,
    DifficultOption,
    ExhaustiveOption,
    MatchOption,
    Zero,
    ZeroOption,
    dry_run,
    options_of,
)
from app.services import demo
from app.services.access import rights
from app.services.datasets import overview
from app.services.exporting import export
from app.services.importing import ingest
from app.services.importing.identity import Match
from app.services.jobs.table import JobKind, JobStatus, JobView
from app.services.learning import category_text, model_runs, triggers
from app.services.learning.finetuning import FinetuneRequest
from app.services.learning.model_runs import ModelRunView
from app.services.operations import doctor
from app.services.pictures import places
from app.services.reviewing import verdict_file
from app.services.runtime import logs
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace, opened
from clsl_core.errors import (
    ClslError,
    FormatError,
    JobCancelled,
)
from clsl_core.formats import FORMATS
from clsl_core.types import Finetune, JsonObject, ValidationReport

NICE = 10

cli = typer.Typer(
    name="clsl",
    help="Complete a partly labelled image collection: the CLSL model proposes, people decide.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
database_cli = typer.Typer(help="Look after the database.", no_args_is_help=True)
cli.add_typer(database_cli, name="db")

for part in (backup, people, images, snapshots, exporting, splits, categories, team):
    part.register(cli)

Name = Annotated[str, typer.Argument(help="The dataset's name.", show_default=False)]
FormatOption = Annotated[
    str, typer.Option("--format", help=f"Its format: auto, {', '.join(FORMATS)}.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class Prompts(StrEnum):
    """What stands around a category's name when the text tower reads it."""

    SENTENCES = "sentences"
    LEARNED = "learned"


class LiteratureName(StrEnum):
    """Collections that ``benchmark`` reads from their original files."""

    COCO2014 = "coco2014"
    VOC2007 = "voc2007"
    NUSWIDE = "nuswide"


@cli.callback()
def start(
    context: typer.Context,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where everything lives.", envvar="CLSL_DATA_DIR", show_default=False),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Choose the data directory, for all commands."""
    # Pillow warns of pictures that are large but allowed; those not allowed are listed one by one.
    warnings.simplefilter("ignore", DecompressionBombWarning)
    # Without --data-dir the field is left out, so that its default applies.
    settings = Settings() if data_dir is None else Settings(data_dir=data_dir.absolute())
    informs = verbose or context.invoked_subcommand == "worker"
    logs.configure(settings.log_format, logging.INFO if informs else logging.ERROR)
    context.obj = settings
    actor = rights.Actor(f"{getpass.getuser()} (command line)", rights.Role.ADMIN)
    context.with_resource(rights.acting(actor))


@cli.command("import")
def import_(  # noqa: PLR0913, PLR0917 - each is an option
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The annotation file.", show_default=False)],
    images: Annotated[
        str, typer.Option(help="The folder or URL of the pictures.", show_default=False)
    ],
    name: Annotated[str, typer.Option(help="The dataset, new or known.", show_default=False)],
    urls: UrlField = None,
    absent: AbsentOption = Absent.UNKNOWN,
    format_: FormatOption = ingest.AUTO,
    exhaustive: ExhaustiveOption = None,
    difficult: DifficultOption = Difficult.IGNORE,
    zero: ZeroOption = Zero.AUTO,
    match: MatchOption = Match.AUTO,
    dry: Annotated[
        bool,
        typer.Option("--dry-run", help="Tell what was found and would be done; write nothing."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="With --dry-run: write this too, .json or .csv.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --dry-run: print JSON instead of lines.")
    ] = False,
) -> None:
    """Bring an annotation file and its pictures in. A second time changes nothing."""
    options = options_of(absent, exhaustive, difficult, zero)
    if dry:
        request = ingest.ImportRequest.of(
            file.absolute(), images, name, format_, options, urls or "", match
        )
        dry_run(context.obj, request, progress_bar, report=report, as_json=as_json)
        return
    with opened(context.obj) as workspace:
        found = ingest.recognise(file, format_)
        if format_ == ingest.AUTO:
            err.print(f"format {found.format}: {found.reason}")
        request = ingest.ImportRequest.of(
            file.absolute(), images, name, found.format, options, urls or "", match
        )
        places.check_place(request.image_root)
        try:
            job = _run_job(workspace, JobKind.IMPORT, None, request.to_json())
        except JobCancelled:
            raise
        except ClslError as error:
            problems = ingest.validate(file, found.format, options)
            if problems.ok:
                raise
            raise FormatError(f"{file.name}: nothing was imported", problems) from error
        for problem in (job.result or {}).get("problems", []):
            err.print(problem)
        out.print(job.message)
        broken = (job.result or {}).get("problem_images", 0)
        if broken:
            out.print(
                f"{broken} pictures cannot be used: `clsl stats {shlex.quote(name)}` lists them"
            )


@cli.command()
def validate(
    file: Annotated[Path, typer.Argument(help="The annotation file.", show_default=False)],
    as_json: AsJson = False,
    format_: FormatOption = ingest.AUTO,
    absent: AbsentOption = Absent.UNKNOWN,
    exhaustive: ExhaustiveOption = None,
    difficult: DifficultOption = Difficult.IGNORE,
    zero: ZeroOption = Zero.AUTO,
) -> None:
    """Report every problem of an annotation file, without importing it."""
    report = ingest.validate(file, format_, options_of(absent, exhaustive, difficult, zero))
    if as_json:
        problems = [
            {"severity": p.severity, "code": p.code, "where": p.where, "message": p.message}
            for p in report.problems
        ]
        print_json({"ok": report.ok, "counts": report.counts, "problems": problems})
    else:
        _print_report(report)
        if report.ok:
            out.print("the file can be imported")
    if not report.ok:
        raise typer.Exit(4)


@cli.command()
def embed(
    context: typer.Context,
    name: Name,
    backbone: Annotated[
        str | None,
        typer.Option(help="auto, builtin, or an open_clip model name.", show_default=False),
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(help="Hub tag, or path of a checkpoint.", show_default=False),
    ] = None,
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
) -> None:
    """Turn the pictures that are new into features, and the category names too."""
    with opened(context.obj) as workspace:
        payload: JsonObject = {}
        if backbone is not None:
            payload = {"backbone": backbone, "pretrained": pretrained}
        if prompts is not None:
            payload["prompts"] = prompts.value
        dataset_id = overview.dataset_id(workspace, name)
        if no_descriptions:
            category_text.forget_descriptions(workspace, dataset_id)
        if descriptions is not None:
            for other in category_text.keep_descriptions(workspace, dataset_id, descriptions):
                err.print(f"{descriptions.name}: {other!r} is no category here")
        job = _run_for(workspace, JobKind.EMBED, name, payload)
        notice = (job.result or {}).get("notice")
        if notice:
            err.print(f"note: {notice}")
        out.print(job.message)


@cli.command()
def train(
    context: typer.Context,
    name: Name,
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
    payload: JsonObject = {"trigger": "by hand"}
    if finetune is not Finetune.NONE:
        request = FinetuneRequest(finetune, finetune_epochs, finetune_size)
        payload["finetune"] = request.to_json()
    with opened(context.obj) as workspace:
        out.print(_run_for(workspace, JobKind.TRAIN, name, payload).message)


@cli.command("schedule")
def schedule_(
    context: typer.Context,
    name: Name,
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
    with opened(context.obj) as workspace:
        if off or times is not None:
            triggers.set_schedule(workspace, name, None if off else times)
        kept = overview.dataset(workspace, name).schedule
    if kept is None:
        out.print("no set times")
        return
    following = triggers.next_time(kept, datetime.now().astimezone())
    out.print(f"{kept}: {triggers.schedule_in_words(kept)}; next {following:%Y-%m-%d %H:%M}")


@cli.command()
def runs(
    context: typer.Context,
    name: Name,
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
    with opened(context.obj) as workspace:
        dataset_id = overview.dataset_id(workspace, name)
        if serve is not None:
            payload = model_runs.order(workspace, dataset_id, serve)
            out.print(_run_job(workspace, JobKind.PROPOSE, dataset_id, payload).message)
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


@cli.command()
def propose(context: typer.Context, name: Name) -> None:
    """Let the newest model propose labels for what is unknown, unless it is worse."""
    with opened(context.obj) as workspace:
        out.print(_run_for(workspace, JobKind.PROPOSE, name, {}).message)


@cli.command()
def proposals(
    context: typer.Context,
    name: Name,
    output: Annotated[Path, typer.Option(help="The CSV file to write.", show_default=False)],
) -> None:
    """Write the open proposals as CSV, most likely first."""
    with opened(context.obj) as workspace:
        count = export.write_proposals(workspace, name, output)
    out.print(f"{count} proposals written to {output}")


@cli.command()
def decide(
    context: typer.Context,
    name: Name,
    file: Annotated[
        Path, typer.Argument(help="CSV: file_name,category,verdict.", show_default=False)
    ],
    annotator: Annotated[str, typer.Option(help="Whose verdicts they are.", show_default=False)],
) -> None:
    """Store verdicts (present or absent) in bulk. The same file twice is the same as once."""
    with opened(context.obj) as workspace:
        report = verdict_file.decide_file(workspace, name, file, annotator)
    out.print(f"{report.saved} verdicts saved, {report.unchanged} were known already")


@cli.command()
def stats(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """What is known of a dataset, by category, and which pictures cannot be used."""
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


@cli.command()
def jobs(
    context: typer.Context,
    cancel: Annotated[
        int | None, typer.Option(help="Cancel the job with this id.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List background work, newest first, or cancel some."""
    with opened(context.obj) as workspace:
        if cancel is not None:
            job = workspace.jobs.cancel(cancel)
            ended = "asked to stop" if job.status.live else job.status.value
            out.print(f"job {cancel}: {ended}")
            return
        recent = workspace.jobs.recent()
    if as_json:
        print_json([_job_json(job) for job in recent])
        return
    rows = [
        [
            j.id,
            j.kind.value,
            j.dataset or "",
            j.status.value,
            f"{j.fraction:.0%}",
            j.error or j.message,
        ]
        for j in recent
    ]
    print_table(["id", "kind", "dataset", "status", "done", "message"], rows)


@cli.command("worker")
def worker_(
    context: typer.Context,
    exit_with_input: Annotated[
        bool, typer.Option(help="End when standard input does: its other end is gone.", hidden=True)
    ] = False,
) -> None:
    """Run background jobs until stopped. The app starts one by itself."""
    worker.run_worker(context.obj, exit_with_input=exit_with_input)


@database_cli.command("upgrade")
def upgrade(context: typer.Context) -> None:
    """Bring the database to this version's schema (every other command does so too)."""
    with opened(context.obj) as workspace:
        revision = migrations.current(workspace.database.engine)
        out.print(f"{workspace.database.url.render_as_string()} is at revision {revision}")


@cli.command("doctor")
def doctor_(
    context: typer.Context,
    as_json: AsJson = False,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended safely.")] = False,
) -> None:
    """Check what the program needs, and what is in the data directory."""
    findings = doctor.examine(context.obj, fix=fix)
    if as_json:
        print_json([{"check": f.check, "ok": f.ok, "found": f.found} for f in findings])
    else:
        rows = [["ok" if f.ok else "PROBLEM", f.check, f.found] for f in findings]
        print_table(["", "check", "found"], rows)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@cli.command("demo")
def demo_(context: typer.Context) -> None:
    """Draw a labelled collection, hide most labels, and propose them again."""
    with opened(context.obj) as workspace:
        _run_job(workspace, JobKind.DEMO, None, {})
        dataset_id = overview.dataset_id(workspace, demo.NAME)
        for kind in (JobKind.EMBED, JobKind.TRAIN, JobKind.PROPOSE):
            out.print(_run_job(workspace, kind, dataset_id, {"trigger": "demo"}).message)
    out.print("now open the tool (`make run`) and choose Review")


@cli.command()
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
    pretrained: Annotated[
        str | None,
        typer.Option(help="Hub tag, or path of a checkpoint.", show_default=False),
    ] = None,
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


def _run_for(workspace: Workspace, kind: JobKind, name: str, payload: JsonObject) -> JobView:
    return _run_job(workspace, kind, overview.dataset_id(workspace, name), payload)


def _run_job(
    workspace: Workspace, kind: JobKind, dataset_id: int | None, payload: JsonObject
) -> JobView:
    """Run a job in this process with a progress bar.

    Raises:
        ClslError: It failed.
        JobCancelled: It was cancelled, here with Ctrl-C or from elsewhere.
    """
    with progress_bar() as progress:
        work = worker.handlers(workspace)
        job = workspace.jobs.run_here(kind, dataset_id, payload, work, progress)
    if job.status is JobStatus.CANCELLED:
        raise JobCancelled(f"{kind.value} was cancelled; what was finished is kept")
    if job.status is not JobStatus.SUCCEEDED:
        raise ClslError(job.error or f"{kind.value} did not finish")
    return job


def _print_report(report: ValidationReport) -> None:
    counts = ", ".join(f"{count} {what}" for what, count in report.counts.items())
    err.print(f"read: {counts or 'nothing'}")
    for line in ingest.problem_lines(report):
        err.print(line)


def _job_json(job: JobView) -> JsonObject:
    return {
        "id": job.id,
        "kind": job.kind.value,
        "dataset": job.dataset,
        "status": job.status.value,
        "done": job.done,
        "total": job.total,
        "message": job.message,
        "error": job.error,
        "attempts": job.attempts,
        "created_at": job.created_at.isoformat(),
    }


def _run_json(run: ModelRunView) -> JsonObject:
    record = asdict(run) | {"state": run.state}
    moments = ("created_at", "finished_at")
    return record | {key: record[key] and record[key].isoformat() for key in moments}


def main() -> NoReturn:
    """Run ``clsl``; a ClslError becomes one line on stderr and an exit code."""
    if hasattr(os, "nice"):
        os.nice(NICE)  # the worker too: whoever reviews meanwhile goes first
    try:
        cli()
    except ClslError as error:
        err.print(f"clsl: {error}")
        if isinstance(error, FormatError) and error.report is not None:
            _print_report(error.report)
        raise SystemExit(exit_code(error)) from None
    raise SystemExit(0)


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2])]
    main()

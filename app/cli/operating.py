"""``clsl demo``, ``jobs``, ``worker``, ``doctor`` and ``db``: the program itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.console import opened, out, print_json, print_table
from app.cli.options import AsJson, Heading
from app.cli.running import run_job

if TYPE_CHECKING:
    from app.services.jobs.table import JobView
    from clsl_core.types import JsonObject

database_cli = typer.Typer(help="Look after the database.", no_args_is_help=True)


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("demo", rich_help_panel=Heading.RUNNING)(demo_)
    cli.command(rich_help_panel=Heading.RUNNING)(jobs)
    cli.command("worker", rich_help_panel=Heading.RUNNING)(worker_)
    cli.command(rich_help_panel=Heading.RUNNING)(doctor)
    database_cli.command("upgrade")(upgrade)
    cli.add_typer(database_cli, name="db", rich_help_panel=Heading.RUNNING)


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


def worker_(
    context: typer.Context,
    exit_with_input: Annotated[
        bool, typer.Option(help="End when standard input does: its other end is gone.", hidden=True)
    ] = False,
) -> None:
    """Run background jobs until stopped. The app starts one by itself."""
    from app import worker

    worker.run_worker(context.obj, exit_with_input=exit_with_input)


def upgrade(context: typer.Context) -> None:
    """Bring the database to this version's schema (every other command does so too)."""
    import migrations

    with opened(context.obj) as workspace:
        revision = migrations.current(workspace.database.engine)
        out.print(f"{workspace.database.url.render_as_string()} is at revision {revision}")


def doctor(
    context: typer.Context,
    as_json: AsJson = False,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended safely.")] = False,
) -> None:
    """Check what the program needs, and what is in the data directory."""
    from app.services.operations import doctor as doctor_service

    findings = doctor_service.examine(context.obj, fix=fix)
    if as_json:
        print_json([{"check": f.check, "ok": f.ok, "found": f.found} for f in findings])
    else:
        rows = [["ok" if f.ok else "PROBLEM", f.check, f.found] for f in findings]
        print_table(["", "check", "found"], rows)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def demo_(context: typer.Context) -> None:
    """Draw a labelled collection, hide most labels, and propose them again."""
    from app.services import demo
    from app.services.datasets import overview
    from app.services.jobs.table import JobKind

    with opened(context.obj) as workspace:
        run_job(workspace, JobKind.DEMO, None, {})
        dataset_id = overview.dataset_id(workspace, demo.NAME)
        for kind in (JobKind.EMBED, JobKind.TRAIN, JobKind.PROPOSE):
            out.print(run_job(workspace, kind, dataset_id, {"trigger": "demo"}).message)
    out.print("now open the tool (`make run`) and choose Review")


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

"""What helps to find a fault from afar, and says nothing about people or pictures."""

from __future__ import annotations

import json
import platform
import re
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import migrations
from app.services.jobs.table import JobView
from app.services.operations import doctor
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from clsl_core.errors import ClslError
from clsl_core.files import atomic_file
from db.queries import counts

OPEN_SETTINGS = (
    "backbone",
    "device",
    "retrain_after",
    "max_pixels",
    "thumbnail_megabytes",
    "worker",
    "token_seconds",
    "log_format",
    "requests_per_second",
)
"""Settings that name no place and no secret. Of the others the bundle says whether they are set."""
INCIDENT = re.compile(r"unexpected error ([0-9a-f]{8})\b.*?: (\w+)", re.DOTALL)


def write_bundle(settings: Settings, output: Path) -> list[str]:
    """Write a zip of JSON files; returns their names.

    Raises:
        InputError: The file cannot be written.
    """
    files: dict[str, Any] = {
        "program.json": _program(),
        "settings.json": _settings(settings),
        "doctor.json": _doctor(settings),
    }
    try:
        workspace = Workspace.open(settings)
    except ClslError as error:
        files["workspace.json"] = {"error": type(error).__name__}
    else:
        try:
            files["workspace.json"] = _workspace(workspace)
            files["jobs.json"] = [_job(job) for job in workspace.jobs.recent(100)]
        finally:
            workspace.close()
    with atomic_file(output) as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, json.dumps(content, indent=1))
    return list(files)


def _program() -> dict[str, Any]:
    packages = {str(one.metadata["Name"]): one.version for one in distributions()}
    return {
        "python": sys.version,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


def _settings(settings: Settings) -> dict[str, Any]:
    values = settings.model_dump(mode="json")
    told = {name: values[name] for name in OPEN_SETTINGS}
    return told | {name: name in settings.model_fields_set for name in values if name not in told}


def _doctor(settings: Settings) -> list[dict[str, Any]]:
    """What was looked at; of what was found only whether it is well: the words may hold a path."""
    return [{"check": one.check, "ok": one.ok} for one in doctor.examine(settings)]


def _workspace(workspace: Workspace) -> dict[str, Any]:
    with workspace.database.read() as session:
        rows = counts.rows(session)
    engine = workspace.database.engine
    version = ".".join(map(str, engine.dialect.server_version_info or ()))
    return {
        "database": f"{engine.dialect.name} {version}".strip(),
        "revision": migrations.current(engine),
        "rows": rows,
    }


def _job(job: JobView) -> dict[str, Any]:
    """A job without its words, which may name files: of an error only its incident and type."""
    incident = INCIDENT.search(job.error or "")
    return {
        "id": job.id,
        "kind": job.kind.value,
        "dataset": job.dataset_id,
        "status": job.status.value,
        "attempts": job.attempts,
        "done": job.done,
        "total": job.total,
        "created_at": job.created_at.isoformat(),
        "started_at": job.started_at.isoformat() if job.started_at else None,
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
        "incident": incident[1] if incident else None,
        "error": incident[2] if incident else ("told" if job.error else None),
    }

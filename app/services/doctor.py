"""Is everything here that the program needs, and is everything whole that it keeps?"""

from __future__ import annotations

import importlib.util
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from sqlalchemy import select, text

import migrations
from app.services import worker
from app.services.settings import Settings
from app.services.workspace import Workspace
from clsl_core.errors import ClslError
from db.models import EmbeddingRun, RunStatus

PACKAGES = ("torch", "torchvision", "open_clip_torch", "streamlit", "sqlalchemy", "huey")
MINIMUM_FREE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    ok: bool
    found: str


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; a failing check never stops the next one."""
    findings = [Finding("python", True, platform.python_version())]
    findings += [_package(name) for name in PACKAGES]
    findings.append(_faiss())
    findings.append(_attempt("device", _device))
    try:
        workspace = Workspace.open(settings)
    except ClslError as error:
        return [*findings, Finding("data directory", False, str(error))]
    try:
        findings += _workspace_findings(workspace)
    finally:
        workspace.close()
    return findings


def _workspace_findings(workspace: Workspace) -> Iterator[Finding]:
    yield Finding("data directory", True, str(workspace.data_dir))
    free = shutil.disk_usage(workspace.data_dir).free
    yield Finding("free space", free >= MINIMUM_FREE_BYTES, f"{free / 1e9:.1f} GB")
    yield _attempt("database", lambda: _database(workspace))
    running = worker.is_running(workspace.settings)
    yield Finding("worker", True, "running" if running else "not running")
    yield _attempt("features", lambda: _features(workspace))


def _attempt(check: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(check, True, look())
    except Exception as error:
        return Finding(check, False, f"{type(error).__name__}: {error}")


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, "not installed: `make run` installs it")


def _faiss() -> Finding:
    if importlib.util.find_spec("faiss") is None:
        return Finding("faiss", False, "not installed: install the extra `cpu` or `gpu`")
    for name in ("faiss-gpu", "faiss-cpu"):
        try:
            return Finding("faiss", True, f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return Finding("faiss", True, "installed by other means")


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def _database(workspace: Workspace) -> str:
    engine = workspace.database.engine
    revision = migrations.current(engine)
    if engine.dialect.name == "sqlite":
        with workspace.database.read() as session:
            damage = session.execute(text("PRAGMA quick_check")).scalars().all()
            orphans = session.execute(text("PRAGMA foreign_key_check")).all()
        if damage != ["ok"] or orphans:
            raise ClslError(f"damaged: {damage[:3]}, {len(orphans)} orphans")
    return f"{engine.dialect.name}, revision {revision}"


def _features(workspace: Workspace) -> str:
    from clsl_core.backbone import BackboneSpec
    from clsl_core.features import FeatureStore

    with workspace.database.read() as session:
        query = select(EmbeddingRun).where(EmbeddingRun.status == RunStatus.READY)
        embeddings = session.scalars(query).all()
    damaged: list[str] = []
    for run in embeddings:
        spec = BackboneSpec.from_json(run.spec)
        damaged += FeatureStore.open(workspace.data_dir / run.directory, spec).verify()
    if damaged:
        raise ClslError(f"{'; '.join(damaged[:3])}: embedding again replaces them")
    return f"{len(embeddings)} embedding runs, all checksums right"

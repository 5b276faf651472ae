"""What is looked at in a workspace, and what of it can be mended without losing anything."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import migrations
from app.services.importing import unfinished
from app.services.jobs import queue_file
from app.services.jobs.table import STALE_SECONDS
from app.services.reviewing.queue import LEASE
from app.services.workspace import Workspace
from clsl_core.errors import ClslError
from clsl_core.files import PARTIAL, DamagedFile, load_array, sha256_of
from db.queries import panels, upkeep
from db.types import now

MINIMUM_FREE_BYTES = 1 << 30
OLD_SECONDS = 3600.0
"""What a process is still writing is younger than this."""
UPLOADS_SECONDS = 7 * 86_400.0


class Fault(ClslError):  # noqa: N818 - what a check found
    """Something is not as it must be."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at.

    Attributes:
        name: As it is listed.
        look: What was found; raises when something is wrong.
        mend: Puts it right and says how; None when a person has to decide.
    """

    name: str
    look: Callable[[], str]
    mend: Callable[[], str] | None = None


def checks(workspace: Workspace) -> Iterator[Check]:
    """Everything, from the database to what is left over on the disk."""
    yield Check("free space", lambda: _free_space(workspace))
    yield Check("database", lambda: _database(workspace))
    yield Check("labels", lambda: _labels(workspace))
    yield Check("panels", lambda: _panels(workspace), lambda: _derive_panels(workspace))
    yield Check("leases", lambda: _leases(workspace), lambda: _end_leases(workspace))
    yield Check("jobs", lambda: _jobs(workspace), lambda: _requeue(workspace))
    yield Check("queue", lambda: _queue(workspace), lambda: _new_queue(workspace))
    yield Check("imports", lambda: _imports(workspace), lambda: _clear_imports(workspace))
    yield Check("features", lambda: _features(workspace))
    yield Check("checkpoints", lambda: _checkpoints(workspace))
    yield Check("tables of runs", lambda: _tables(workspace))
    yield Check("stray folders", lambda: _strays(workspace), lambda: _remove_strays(workspace))
    yield Check("left-over files", lambda: _leftovers(workspace), lambda: _clear(workspace))
    yield Check("secret", lambda: _secret(workspace), lambda: _close_secret(workspace))


def _free_space(workspace: Workspace) -> str:
    free = shutil.disk_usage(workspace.data_dir).free
    if free < MINIMUM_FREE_BYTES:
        raise Fault(f"{free / 1e9:.1f} GB are free, at least 1 GB is wanted: make room")
    return f"{free / 1e9:.1f} GB"


def _database(workspace: Workspace) -> str:
    engine = workspace.database.engine
    with workspace.database.read() as session:
        damage, orphans = upkeep.damage(session), upkeep.orphans(session)
    if damage:
        raise Fault(f"damaged: {'; '.join(damage[:3])}: `clsl restore` brings a backup back")
    if orphans:
        raise Fault(f"rows of {', '.join(orphans)} point nowhere: `clsl restore` a backup")
    return f"{engine.dialect.name}, revision {migrations.current(engine)}"


def _labels(workspace: Workspace) -> str:
    with workspace.database.read() as session:
        wrong = upkeep.contradicting_labels(session)
        missing = upkeep.verdicts_without_label(session)
    if wrong or missing:
        raise Fault(
            f"{wrong} labels are not what their decision said, {missing} verdicts have no label: "
            "`clsl restore` a backup, and report it"
        )
    return "every verdict is its pair's label"


def _panels(workspace: Workspace) -> str:
    with workspace.database.read() as session:
        wrong = panels.out_of_line(session)
    if wrong:
        raise Fault(f"{len(wrong)} are not what follows from their verdicts")
    return "each is what follows from its verdicts"


def _derive_panels(workspace: Workspace) -> str:
    with workspace.database.write() as session:
        wrong = panels.out_of_line(session)
        for pair in wrong:
            panels.derive(session, pair)
    return f"{len(wrong)} worked out anew from the verdicts"


def _leases(workspace: Workspace) -> str:
    moment = now()
    with workspace.database.read() as session:
        useless = upkeep.useless_leases(session, moment, moment + 2 * LEASE)
    if useless:
        raise Fault(f"{useless} are over, or of a clock that was put back")
    return "none is over"


def _end_leases(workspace: Workspace) -> str:
    moment = now()
    with workspace.database.write() as session:
        upkeep.delete_useless_leases(session, moment, moment + 2 * LEASE)
    return "removed"


def _jobs(workspace: Workspace) -> str:
    stale = now() - timedelta(seconds=STALE_SECONDS)
    with workspace.database.read() as session:
        interrupted = upkeep.interrupted_jobs(session, stale)
    if interrupted:
        raise Fault(f"{interrupted} were interrupted; a worker would go on with them")
    return f"{len(workspace.jobs.live())} wait or run"


def _requeue(workspace: Workspace) -> str:
    return f"{workspace.jobs.sweep()} wait again"


def _queue(workspace: Workspace) -> str:
    if workspace.settings.effective_queue_url is not None:
        return "on a server"
    wrong = queue_file.damage(workspace.data_dir)
    if wrong is not None:
        raise Fault(f"{queue_file.NAME} cannot be read: {wrong}; nothing in it is missed")
    aside = queue_file.set_aside_before(workspace.data_dir)
    if aside:
        raise Fault(f"a damaged one was set aside: {aside[-1].name}; nothing in it is missed")
    return "whole"


def _new_queue(workspace: Workspace) -> str:
    if queue_file.damage(workspace.data_dir) is not None:
        queue_file.set_aside(workspace.data_dir)
    aside = queue_file.set_aside_before(workspace.data_dir)
    for path in aside:
        path.unlink(missing_ok=True)
    return f"{len(aside)} removed; a new one is made by itself"


def _imports(workspace: Workspace) -> str:
    left = unfinished.abandoned(workspace.database)
    if left:
        raise Fault(f"{len(left)} were killed half-way; their rows take space, nobody sees them")
    return "none was left half-way"


def _clear_imports(workspace: Workspace) -> str:
    return f"{unfinished.clear(workspace.database)} removed"


def _features(workspace: Workspace) -> str:
    from clsl_core.backbones.spec import BackboneSpec
    from clsl_core.features import FeatureStore

    with workspace.database.read() as session:
        runs = upkeep.ready_embeddings(session)
    damaged: list[str] = []
    for run in runs:
        folder = workspace.data_dir / run.directory
        if not folder.is_dir():
            damaged.append(f"{run.directory} is missing")
        else:
            damaged += FeatureStore.open(folder, BackboneSpec.from_json(run.spec)).verify()
    if damaged:
        raise Fault(f"{'; '.join(damaged[:3])}: embedding again replaces them")
    return f"{len(runs)} embedding runs, all checksums right"


def _checkpoints(workspace: Workspace) -> str:
    with workspace.database.read() as session:
        runs = upkeep.ready_models(session)
    damaged = []
    for run in runs:
        folder = workspace.data_dir / str(run.directory) / "model"
        try:
            record = json.loads((folder / "recovery.json").read_text("utf-8"))
            found = sha256_of(folder / Path(str(record["tensors"])).name)
        except (OSError, ValueError, KeyError, TypeError) as error:
            damaged.append(f"run {run.id}: {error}")
            continue
        if not found == record["sha256"] == (run.checksum or found):
            damaged.append(f"run {run.id}: another checksum than when it was trained")
    if damaged:
        raise Fault(f"{'; '.join(damaged[:3])}: training again makes a new one")
    return f"{len(runs)} model runs, all checksums right"


def _tables(workspace: Workspace) -> str:
    """Heat maps, neighbours and what instant updates start from; all made while proposing."""
    with workspace.database.read() as session:
        folders = {run.id: str(run.directory) for run in upkeep.ready_models(session)}
        features = [run.directory for run in upkeep.ready_embeddings(session)]
    damaged = [
        f"{path.relative_to(workspace.data_dir)} (of run {run_id}: `clsl propose` makes it anew)"
        for run_id, folder in folders.items()
        for path in (workspace.data_dir / folder).rglob("*.npy")
        if not _is_array(path)
    ]
    damaged += [
        f"{path.relative_to(workspace.data_dir)} (`clsl embed` makes it anew)"
        for folder in features
        for path in (workspace.data_dir / folder).glob("text-*.npy")
        if not _is_array(path)
    ]
    if damaged:
        raise Fault(f"damaged: {'; '.join(damaged[:3])}")
    return "whole"


def _is_array(path: Path) -> bool:
    dimensions = 1 if path.stem in ("image_ids", "category_ids") else 2
    try:
        load_array(path, dimensions, mapped=True)
    except DamagedFile:
        return False
    return True


def _stray_folders(workspace: Workspace) -> list[Path]:
    """Folders of runs that no row names, untouched for an hour."""
    with workspace.database.read() as session:
        named = upkeep.folders(session)
    found = []
    for kind in ("features", "runs"):
        for folder in sorted((workspace.data_dir / kind).glob("*/*")):
            name = folder.relative_to(workspace.data_dir).as_posix()
            if folder.is_dir() and name not in named and _age(folder) > OLD_SECONDS:
                found.append(folder)
    return found


def _strays(workspace: Workspace) -> str:
    found = _stray_folders(workspace)
    if found:
        names = ", ".join(str(path.relative_to(workspace.data_dir)) for path in found[:3])
        raise Fault(f"{len(found)} folders that no run names: {names}")
    return "none"


def _remove_strays(workspace: Workspace) -> str:
    found = _stray_folders(workspace)
    for folder in found:
        shutil.rmtree(folder)
    return f"{len(found)} folders removed"


def _old_files(workspace: Workspace) -> list[Path]:
    """Half-written files, scratch folders and uploads that nobody needs any more."""
    waiting = json.dumps([job.payload for job in workspace.jobs.live()])
    found = [
        path
        for path in workspace.data_dir.glob(f"*/**/*{PARTIAL}")
        if path.is_file() and _age(path) > OLD_SECONDS
    ]
    for pattern in (".restore-*", ".backup-*", "exports/.*"):
        found += [p for p in workspace.data_dir.glob(pattern) if _age(p) > OLD_SECONDS]
    for path in (workspace.data_dir / "uploads").iterdir():
        if _age(path) > UPLOADS_SECONDS and path.name not in waiting:
            found.append(path)
    with workspace.database.read() as session:
        used = upkeep.image_roots(session)
    for path in (workspace.data_dir / "collections").iterdir():
        needed = path.name in waiting or any(path.name in root for root in used)
        limit = OLD_SECONDS if path.name.startswith(".") else UPLOADS_SECONDS
        if _age(path) > limit and not needed:
            found.append(path)
    return sorted(set(found))


def _leftovers(workspace: Workspace) -> str:
    found = _old_files(workspace)
    if found:
        raise Fault(f"{len(found)} of interrupted work and old uploads, e.g. {found[0].name}")
    return "none"


def _clear(workspace: Workspace) -> str:
    found = _old_files(workspace)
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return f"{len(found)} removed"


def _secret(workspace: Workspace) -> str:
    path = workspace.data_dir / "secret.key"
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise Fault(f"{path.name} can be read by others")
    return "only its owner reads it"


def _close_secret(workspace: Workspace) -> str:
    (workspace.data_dir / "secret.key").chmod(0o600)
    return "closed; make a new one (delete the file, start again) if others may have read it"


def _age(path: Path) -> float:
    """Seconds since something below a path changed."""
    try:
        times = [path.stat().st_mtime]
        times += [inner.stat().st_mtime for inner in path.rglob("*")] if path.is_dir() else []
    except FileNotFoundError:  # somebody else was quicker
        return 0.0
    return time.time() - max(times)

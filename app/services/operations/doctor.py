"""Is everything here that the program needs, and is everything whole that it keeps?"""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from app.services.jobs import keeper
from app.services.operations import upkeep
from app.services.operations.upkeep import Check, Fault
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from clsl_core.errors import ClslError

PACKAGES = ("torch", "torchvision", "open_clip_torch", "streamlit", "sqlalchemy", "huey")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    ok: bool
    found: str


def examine(settings: Settings, *, fix: bool = False) -> list[Finding]:
    """Look at everything; a failing check never stops the next one.

    Args:
        settings: Of which workspace.
        fix: Mend what can be mended without losing anything.
    """
    findings = [Finding("python", True, platform.python_version())]
    findings += [_package(name) for name in PACKAGES]
    findings.append(_faiss())
    findings.append(_attempt(Check("device", _device), fix=False))
    try:
        workspace = Workspace.open(settings)
    except ClslError as error:
        return [*findings, Finding("data directory", False, str(error))]
    try:
        findings.append(Finding("data directory", True, str(workspace.data_dir)))
        running = keeper.is_running(workspace.settings)
        findings.append(Finding("worker", True, "running" if running else "not running"))
        findings += [_attempt(check, fix=fix) for check in upkeep.checks(workspace)]
    finally:
        workspace.close()
    return findings


def _attempt(check: Check, *, fix: bool) -> Finding:
    try:
        return Finding(check.name, True, check.look())
    except Fault as error:
        if check.mend is None:
            return Finding(check.name, False, str(error))
        if not fix:
            return Finding(check.name, False, f"{error}; `clsl doctor --fix` mends it")
        try:
            return Finding(check.name, True, f"{error}; mended: {check.mend()}")
        except Exception as failed:
            return Finding(check.name, False, f"{error}; could not be mended: {failed}")
    except Exception as error:
        return Finding(check.name, False, f"{type(error).__name__}: {error}")


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

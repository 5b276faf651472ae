"""Results that grow cell by cell, each in a process of its own, so that a killed run goes on.

A *cell* is one method on one problem. It runs in a child process, so that its peak memory is its
own and a crash or a time-out costs that cell alone.
"""

from __future__ import annotations

import json
import math
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from clsl_core.errors import ClslError, InputError
from clsl_core.files import atomic_text

__all__ = [
    "Runner",
    "Sheet",
    "answer_parent",
    "end_with_the_cell",
    "facts",
    "peak_memory",
    "run_child",
    "run_here",
    "say",
]

_PACKAGES = ("numpy", "torch", "scikit-learn", "scipy", "faiss-cpu", "faiss-gpu", "open_clip_torch")
_VERSION = 1

Record = dict[str, Any]


class Runner(Protocol):
    """Has a cell measured: ``run_child``, or ``run_here`` for tests."""

    def __call__(
        self,
        module: str,
        request: Mapping[str, Any],
        timeout: float,
        arguments: Sequence[str] = (),
    ) -> Record:
        """Call ``run(request)`` of ``module``; its answer, or {"failed": reason}."""


@dataclass
class Sheet:
    """The results file of one measurement.

    Attributes:
        path: JSON, written whole after each cell; None keeps results in memory.
        about: Where and on what it was measured; ``about["inputs"]`` must not change on resuming.
        cells: One record for each cell; ``key`` names it.
    """

    path: Path | None
    about: Record
    cells: list[Record]

    @classmethod
    def open(cls, path: Path | None, inputs: Record, *, resume: bool) -> Sheet:
        """Begin a sheet, or take up the one an earlier run left.

        Raises:
            InputError: The file is there and ``resume`` is not wanted, it cannot be read, or it
                was measured on other inputs.
        """
        about = {**facts(), "inputs": json.loads(json.dumps(inputs))}
        if path is None or not path.exists():
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            return cls(path, about, [])
        if not resume:
            raise InputError(f"{path} is there already; add --resume to go on, or delete it.")
        try:
            found = json.loads(path.read_text("utf-8"))
            before, cells = found["about"]["inputs"], list(found["cells"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} holds no results ({error!r}); delete it.") from error
        if before != about["inputs"]:
            raise InputError(
                f"{path} was measured on other inputs ({before}), these are {about['inputs']}; "
                "write to another file."
            )
        return cls(path, about, [cell for cell in cells if "failed" not in cell])

    def has(self, key: str) -> bool:
        """Whether a cell is done."""
        return any(cell["key"] == key for cell in self.cells)

    def add(self, record: Record, summary: Sequence[Record]) -> None:
        """Store one more cell and the summary so far."""
        self.cells.append(record)
        self.write(summary)

    def write(self, summary: Sequence[Record]) -> None:
        """Write the file."""
        if self.path is None:
            return
        whole = {"about": self.about, "summary": list(summary), "cells": self.cells}
        with atomic_text(self.path) as file:
            json.dump(_plain(whole), file, indent=1, ensure_ascii=False)


def run_child(
    module: str, request: Mapping[str, Any], timeout: float, arguments: Sequence[str] = ()
) -> Record:
    """Run ``python -m module`` with the request on its input; its last line is the answer.

    Returns:
        The answer, or {"failed": reason}. Interrupting the caller ends the child, too.
    """
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request),
            stdout=subprocess.PIPE,
            text=True,
            timeout=timeout,
            check=False,
            cwd=Path(__file__).parents[1],
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {timeout:.0f} s"}
    try:
        answer = json.loads(done.stdout.rstrip().rsplit("\n", 1)[-1])
    except ValueError:
        return {"failed": f"ended with exit code {done.returncode} and no answer"}
    assert isinstance(answer, dict)
    return answer


def end_with_the_cell() -> None:
    """Let a request to stop (SIGTERM) end the running cell as well, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def run_here(
    module: str, request: Mapping[str, Any], timeout: float, arguments: Sequence[str] = ()
) -> Record:
    """As ``run_child`` within this process: fast, but memory and time-outs mean nothing."""
    try:
        answer = import_module(module).run(json.loads(json.dumps(request)))
    except ClslError as error:
        answer = {"failed": str(error)}
    record: Record = json.loads(json.dumps(_plain(answer)))
    return record


def answer_parent(work: Any) -> None:
    """The child's side: read the request, call ``work`` with it, write the answer."""
    request = json.load(sys.stdin)
    try:
        answer = work(request)
    except ClslError as error:
        answer = {"failed": str(error)}
    print(json.dumps(_plain(answer)))


def peak_memory() -> int:
    """The largest resident size of this process so far, in bytes.

    From /proc where there is one: ``ru_maxrss`` of a child begins at its parent's size there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def facts() -> Record:
    """What a reader needs to judge or repeat figures: machine, versions, command."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "version": _VERSION,
        "command": [Path(sys.executable).name, *_command()],
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "cuda": _cuda(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": packages,
        "seconds_since_epoch": round(time.time()),
    }


def say(message: str) -> None:
    """Progress, on stderr, so that stdout stays the table."""
    print(message, file=sys.stderr, flush=True)


def _command() -> list[str]:
    main = sys.modules["__main__"].__spec__
    return (["-m", main.name] if main else sys.argv[:1]) + sys.argv[1:]


def _cpu() -> str:
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cuda() -> str | None:
    """The GPU's name, without making the parent import torch where there is no driver."""
    if not Path("/proc/driver/nvidia/version").exists():
        return None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _plain(value: Any) -> Any:
    """The same with nan as null, which JSON can hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value

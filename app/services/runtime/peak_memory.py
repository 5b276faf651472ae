"""The most memory that a piece of work held at once."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

_PROCESS = Path("/proc/self")


def restart() -> None:
    """Begin to measure; a peak from before counts no more, where the system can forget it."""
    import torch

    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5", "ascii")  # Linux: forget the highest VmRSS
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def of_process() -> int | None:
    """Bytes of main memory this process held at most; None where that cannot be told.

    Since ``restart`` on Linux, elsewhere since the process began.
    """
    with suppress(OSError):
        for line in (_PROCESS / "status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def of_gpu() -> int | None:
    """Bytes that torch held on the GPU at most since ``restart``; None without a GPU."""
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else None

"""What a section of the check is: rows that come one by one, within a time limit.

A *row* has ``what`` was looked at, figures beside it, ``sound`` where something can be right or
wrong, and ``failed`` where it broke.
"""

from __future__ import annotations

import gc
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import torch

__all__ = ["NotRun", "OutOfTime", "Row", "Section", "Setup", "last_line", "measured", "time_limit"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """What the sections run on.

    Attributes:
        device: Of torch.
        tiny: Sizes that take seconds on a processor, to try the program itself.
        tokens: Token files to train on besides drawn features.
    """

    device: torch.device
    tiny: bool = False
    tokens: tuple[Path, ...] = ()

    @property
    def cuda(self) -> bool:
        """Whether there is a card."""
        return self.device.type == "cuda"

    def choose(self, full: int, tiny: int) -> int:
        """A size."""
        return tiny if self.tiny else full


@dataclass(frozen=True)
class Section:
    """One part of the check.

    Attributes:
        name: In the JSON, and of its module in this package and the function there.
        title: Above its table.
        seconds: It may take on a card.
        correctness: Whether a failure means that results are wrong.
    """

    name: str
    title: str
    seconds: float
    correctness: bool = False

    def rows(self, setup: Setup) -> Iterator[Row]:
        """Measure; what cannot even be imported breaks this section alone."""
        yield from getattr(import_module(f"benchmarks.gpu.{self.name}"), self.name)(setup)


class NotRun(Exception):  # noqa: N818 - a fact about the machine, not a fault
    """A section has nothing to work with here; the message says what is missing."""


class OutOfTime(BaseException):
    """The time limit of a section is over; no ``except Exception`` on the way may swallow it."""


def measured(what: str, work: Callable[[], Mapping[str, Any]]) -> Row:
    """A row of what ``work`` finds; where it breaks, of that, so that the next one still runs."""
    try:
        return {"what": what, **work()}
    except Exception as error:
        return {"what": what, "failed": last_line(error)}
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def last_line(error: BaseException) -> str:
    """The last line of an error's traceback, and where in the program it came from."""
    told = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return told[:300] + place


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End the block with OutOfTime after so many seconds; the main thread's alarm is used."""

    def over(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    handler = signal.signal(signal.SIGALRM, over)
    before = signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)
        signal.signal(signal.SIGALRM, handler)

"""What the machine has to give: work in pieces that fit its memory, and half of its threads.

A piece is halved until it fits; what still does not fit as a single item ends in an error that
says so. The size that fitted stays for the rest of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

from clsl_core.errors import TrainingError

__all__ = ["Pieces", "explained", "half_the_threads", "ran_out"]


class Pieces:
    """Pieces of at most ``size`` items.

    Attributes:
        size: Of a piece; only ever gets smaller.
    """

    def __init__(self, size: int, what: str, item: str = "image") -> None:
        """Args: size to begin with, what the work and what an item is called in messages."""
        self.size = max(1, size)
        self._what, self._item = what, item

    def run(self, count: int, work: Callable[[slice], None]) -> None:
        """Call ``work`` with consecutive slices of ``range(count)``.

        A slice for which memory ran out is done again in halves, so ``work`` must be repeatable
        for a slice that did not end.

        Raises:
            TrainingError: Memory does not even suffice for one item.
        """
        start = 0
        while start < count:
            part = slice(start, min(start + self.size, count))
            if self.fits(partial(work, part), part.stop - part.start):
                start = part.stop

    def fits(self, work: Callable[[], object], count: int) -> bool:
        """Do a piece of work on ``count`` items.

        Returns:
            False when memory ran out; ``size`` is smaller then, and the work must be done again.

        Raises:
            TrainingError: Memory ran out, and there was one item only.
        """
        try:
            work()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
            if count == 1:
                raise TrainingError(
                    _message(self._what, f", even one {self._item} at a time")
                ) from error
        else:
            return True
        # Only here, without the error and the frames it holds, can memory be given back.
        self.size = max(1, count // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return False


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the GPU or beside it."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn running out of memory into an error with advice.

    Args:
        what: What was being done, as in "training".

    Raises:
        TrainingError: Memory ran out within the block.
    """
    try:
        yield
    except Exception as error:
        if not ran_out(error):
            raise
        raise TrainingError(_message(what, "")) from error


def _message(what: str, how: str) -> str:
    return (
        f"memory ran out while {what}{how}: close other programs, or set CLSL_DEVICE=cpu to use "
        "main memory in place of the GPU's; a backbone with fewer patches also needs less."
    )


@contextmanager
def half_the_threads() -> Iterator[None]:
    """Use half of torch's threads, at least one, and give the rest of the machine air.

    Training on cached features is thousands of small matrix products. When another process (the
    web server, a browser) takes a core, threads that wait for one another at every product spin:
    measured on two shared cores, a training took 76 s with two threads and 19 s with one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // 2))
    try:
        yield
    finally:
        torch.set_num_threads(before)

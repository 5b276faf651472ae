"""How many threads torch may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["half_the_threads"]


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

"""Training leaves cores to others, and gives torch back as it found it."""

import pytest
import torch

from clsl_core.compute import half_the_threads


@pytest.mark.parametrize(("before", "inside"), [(1, 1), (2, 1), (4, 2)])
def test_half_inside_all_again_outside(before: int, inside: int) -> None:
    usual = torch.get_num_threads()
    torch.set_num_threads(before)
    try:
        with pytest.raises(RuntimeError), half_the_threads():
            assert torch.get_num_threads() == inside
            raise RuntimeError
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(usual)

"""When memory runs out, pieces get smaller or say so; training leaves cores to others."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clsl_core.compute import Pieces, explained, half_the_threads
from clsl_core.errors import TrainingError
from clsl_core.features import FeatureView
from clsl_core.recovery.ranking import ProposeConfig, propose
from clsl_core.recovery.train import TrainConfig, fit
from clsl_core.types import no_progress


@given(count=st.integers(0, 200), size=st.integers(1, 70), room=st.integers(1, 70))
def test_everything_is_done_once_in_pieces_that_fit(count: int, size: int, room: int) -> None:
    done: list[int] = []

    def work(part: slice) -> None:
        if part.stop - part.start > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        done.extend(range(part.start, part.stop))

    pieces = Pieces(size, "testing")
    pieces.run(count, work)
    assert done == list(range(count))
    assert pieces.size <= size
    assert 2 * pieces.size + 1 >= min(size, room)  # no smaller than it must be


def test_one_item_that_does_not_fit_is_an_error() -> None:
    tried = []

    def work(part: slice) -> None:
        tried.append(part.stop - part.start)
        raise MemoryError

    with pytest.raises(TrainingError, match="while testing, even one image at a time"):
        Pieces(8, "testing").run(20, work)
    assert tried == [8, 4, 2, 1]


def test_other_errors_pass() -> None:
    def work(part: slice) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        Pieces(8, "testing").run(20, work)
    with (
        pytest.raises(TrainingError, match="memory ran out while training:"),
        explained("training"),
    ):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
    with pytest.raises(ValueError, match="other"), explained("training"):
        raise ValueError("other")


COUNT, PATCHES, WIDTH, CATEGORIES = 96, 4, 8, 3


def narrow_features(room: int) -> FeatureView:
    """Features of a device on which the tokens of no more than ``room`` images fit.

    All images at once can be had: that is how the tokens' scale is measured, beside the device.
    """
    rng = np.random.default_rng(3)
    labels = np.arange(COUNT) % CATEGORIES
    tokens = rng.normal(size=(COUNT, PATCHES, WIDTH)).astype(np.float16)
    tokens[np.arange(COUNT), 0, labels] += 3
    pooled = tokens.astype(np.float32).mean(1)

    def read(rows: np.ndarray) -> np.ndarray:
        if room < len(rows) < COUNT:
            raise torch.OutOfMemoryError(f"{len(rows)} images")
        return tokens[rows]

    return FeatureView(read, lambda: pooled, COUNT, grid=(2, 2), dim=WIDTH)


def known_labels() -> np.ndarray:
    labels = np.zeros((COUNT, CATEGORIES), np.int8)
    for i in range(0, COUNT, 2):
        labels[i] = -1
        labels[i, i % CATEGORIES] = 1
    return labels


def train(room: int):
    config = TrainConfig(epochs=2, min_epochs=1)
    return fit(
        narrow_features(room),
        known_labels(),
        category_vectors=None,
        text=False,
        config=config,
        progress=no_progress,
        device="cpu",
    )


def test_training_scoring_and_heat_maps_go_on_in_smaller_pieces() -> None:
    features = narrow_features(room=5)
    recovery = train(room=5)
    assert len(recovery.curves) == 2
    scores = recovery.predict(features)
    made = propose(scores, known_labels(), ProposeConfig(), 0)
    assert made.heatmaps.max() == 255
    # The scores are those of a machine with room, for the same model.
    roomy = recovery.predict(narrow_features(room=COUNT))
    np.testing.assert_allclose(scores.values, roomy.values, atol=1e-5)
    truth = np.arange(COUNT) % CATEGORIES
    assert (scores.values.argmax(1) == truth).mean() > 0.8


def test_training_without_room_for_one_image_says_so() -> None:
    with pytest.raises(TrainingError, match=r"memory ran out while .*, even one image at a time"):
        train(room=0)


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

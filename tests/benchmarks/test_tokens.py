"""Token files: read as they are meant, refused with a reason where they are not."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.tokens import load, split, subset
from clsl_core.errors import InputError
from tests.benchmarks.drawn import NAMES, write_tokens
from tests.core.synthetic import make_collection


def test_a_token_file_becomes_features_and_truth(tmp_path: Path) -> None:
    drawn = make_collection(60, 4)
    found = load(write_tokens(tmp_path / "a.npz"))
    assert found.features.grid == (3, 3)
    assert np.array_equal(found.truth, drawn.truth)
    assert found.categories.names == NAMES
    tokens = found.features.tokens([5]).astype(np.float32)
    assert np.linalg.norm(tokens, axis=-1) == pytest.approx(np.ones((1, 9)), abs=2e-3)
    assert found.features.pooled()[5] == pytest.approx(tokens[0].mean(0), abs=2e-3)


def test_text_is_concluded_from_equal_widths_or_stated(tmp_path: Path) -> None:
    same = write_tokens(tmp_path / "same.npz")
    assert load(same).categories.text
    assert not load(same, text=False).categories.text
    other = write_tokens(tmp_path / "other.npz", label_embeddings=np.ones((4, 7), np.float32))
    assert not load(other).categories.text
    with pytest.raises(InputError, match="width 10, 'label_embeddings' has 7"):
        load(other, text=True)
    without = load(write_tokens(tmp_path / "without.npz", label_embeddings=None, files=None))
    assert without.categories.vectors is None
    assert not without.categories.text


def test_absent_may_be_written_as_zero_or_minus_one(tmp_path: Path) -> None:
    truth = make_collection(60, 4).truth
    assert np.array_equal(load(write_tokens(tmp_path / "a.npz", labels=truth)).truth, truth)
    booleans = write_tokens(tmp_path / "b.npz", labels=truth > 0)
    assert np.array_equal(load(booleans).truth, truth)


TOKENS = np.ones((60, 9, 10), np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": None}, "no array 'tokens'; it has categories"),
        ({"tokens": TOKENS[0]}, "shape .9, 10. and type float32, expected floats"),
        ({"tokens": TOKENS.astype(int)}, "type int64, expected floats"),
        ({"tokens": TOKENS[:0]}, "expected floats"),
        ({"tokens": np.where(TOKENS > 0, np.nan, TOKENS)}, "not finite"),
        ({"labels": None}, "no array 'labels'"),
        ({"labels": np.zeros((59, 4), np.int8)}, r"expected \(60, C\) for 60 images"),
        ({"labels": np.zeros((60, 0), np.int8)}, "expected"),
        ({"labels": np.full((60, 4), 2)}, "must be integers"),
        ({"labels": np.zeros((60, 4))}, "must be integers"),
        ({"categories": np.array(NAMES[:3])}, "expected 4 names"),
        ({"categories": np.arange(4)}, "expected 4 names"),
        ({"categories": None}, "no array 'categories'"),
        ({"label_embeddings": np.ones((3, 10), np.float32)}, "expected finite floats"),
        ({"label_embeddings": np.full((4, 10), np.inf)}, "expected finite floats"),
        ({"label_embeddings": np.ones((4, 10), int)}, "expected finite floats"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(write_tokens(tmp_path / "bad.npz", **changes))


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("/nonexistent/trap").mkdir, ())


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    trap = write_tokens(tmp_path / "trap.npz", files=np.array([_Trap()], dtype=object))
    with pytest.raises(InputError, match="plain arrays"):
        load(trap)
    bare = tmp_path / "bare.npz"
    bare.write_bytes(pickle.dumps({"tokens": 1}))
    with pytest.raises(InputError, match=r"no \.npz archive"):
        load(bare)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        load(tmp_path / "missing.npz")
    with pytest.raises(InputError, match="there is no file"):
        load(tmp_path)  # a folder that holds no collection
    whole = write_tokens(tmp_path / "a.npz").read_bytes()
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut short"):
        load(cut)
    single = tmp_path / "single.npy"
    np.save(single, TOKENS)
    with pytest.raises(InputError, match=r"no \.npz archive"):
        load(single)


def test_a_subset_shows_the_same_images_in_the_order_asked_for() -> None:
    features = make_collection(20, 3).features
    part = subset(features, np.array([7, 3, 11]))
    assert len(part) == 3
    assert np.array_equal(part.tokens([2, 0]), features.tokens([11, 7]))
    assert np.array_equal(part.pooled(), features.pooled()[[7, 3, 11]])


def test_a_split_takes_every_image_once_and_is_the_same_again() -> None:
    train, test = split(101, 0.3)
    assert len(test) == 30
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(101))
    assert all(np.array_equal(a, b) for a, b in zip(split(101, 0.3), (train, test), strict=True))
    assert not np.array_equal(split(101, 0.3, seed=1)[1], test)

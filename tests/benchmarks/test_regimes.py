"""Draws are reproducible, nested, and know what their regime says."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.regimes import Regime, hide, keep, recall
from clsl_core.errors import InputError

TRUTH = np.where(np.random.default_rng(5).random((400, 12)) < 0.2, 1, -1).astype(np.int8)


def test_mixed_keeps_positives_and_negatives_alike() -> None:
    labels = keep(TRUTH, Regime.MIXED, 0.3, 0)
    assert np.array_equal(labels[labels != 0], TRUTH[labels != 0])
    assert np.mean(labels[TRUTH > 0] != 0) == pytest.approx(0.3, abs=0.05)
    assert np.mean(labels[TRUTH < 0] != 0) == pytest.approx(0.3, abs=0.05)


def test_positives_only_knows_no_negative() -> None:
    labels = keep(TRUTH, Regime.POSITIVES, 0.3, 0)
    assert (labels >= 0).all()
    assert np.mean(labels[TRUTH > 0]) == pytest.approx(0.3, abs=0.05)
    assert np.array_equal(labels > 0, (keep(TRUTH, Regime.MIXED, 0.3, 0) > 0))


def test_single_keeps_one_positive_of_each_image_that_has_one() -> None:
    labels = keep(TRUTH, Regime.SINGLE, 0.3, 0)
    assert np.array_equal(labels.sum(1), (TRUTH > 0).any(1))
    assert (TRUTH[labels > 0] > 0).all()
    several = (TRUTH > 0).sum(1) > 1
    assert len(set(labels[several].argmax(1))) > 6  # any of them, not the first


@pytest.mark.parametrize("regime", list(Regime))
def test_a_draw_is_the_same_again_and_other_for_another_seed(regime: Regime) -> None:
    first = keep(TRUTH, regime, 0.5, 3)
    assert np.array_equal(first, keep(TRUTH.copy(), regime, 0.5, 3))
    assert not np.array_equal(first, keep(TRUTH, regime, 0.5, 4))


@pytest.mark.parametrize("regime", [Regime.MIXED, Regime.POSITIVES])
def test_what_is_known_at_a_small_share_is_known_at_a_larger_one(regime: Regime) -> None:
    few, many = keep(TRUTH, regime, 0.1, 0), keep(TRUTH, regime, 0.5, 0)
    assert (many[few != 0] == few[few != 0]).all()
    assert np.array_equal(keep(TRUTH, Regime.MIXED, 1.0, 0), TRUTH)


def test_what_is_not_judged_is_never_known() -> None:
    truth = TRUTH.copy()
    truth[:, 0] = 0
    for regime in Regime:
        assert not keep(truth, regime, 0.9, 0)[:, 0].any()


@pytest.mark.parametrize("known", [0.0, -0.1, 1.01, float("nan")])
def test_shares_out_of_range_are_refused(known: float) -> None:
    with pytest.raises(InputError, match="known share"):
        keep(TRUTH, Regime.MIXED, known, 0)


def test_hiding_takes_an_exact_share() -> None:
    left = hide(TRUTH, 0.25, np.random.default_rng(0))
    total = int((TRUTH > 0).sum())
    assert left.sum() == total - round(0.25 * total)
    assert (TRUTH[left > 0] > 0).all()


def test_a_saved_draw_is_found_again_and_protected(tmp_path: Path) -> None:
    file = tmp_path / "masks" / "a.npz"
    labels = keep(TRUTH, Regime.MIXED, 0.5, 0)
    assert np.array_equal(recall(file, labels), labels)
    before = file.read_bytes()
    assert np.array_equal(recall(file, labels.copy()), labels)
    assert file.read_bytes() == before
    with pytest.raises(InputError, match="other labels"):
        recall(file, keep(TRUTH, Regime.MIXED, 0.5, 1))
    file.write_bytes(b"no archive")
    with pytest.raises(InputError, match="holds no labels"):
        recall(file, labels)

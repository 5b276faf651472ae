"""A part that is better than the whole beyond noise orders the proposals; chance alone does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clsl_core.recovery import train as training
from clsl_core.recovery.judging import WHOLE, better_part
from clsl_core.recovery.model_file import load_recovery, save_recovery
from clsl_core.recovery.positive_unlabelled import Entries
from clsl_core.recovery.stacking import PooledLogistic
from clsl_core.statistics.metrics import mean_average_precision
from clsl_core.types import no_progress
from tests.core.synthetic import make_collection, tiny_config

SHAPE = (120, 6)


def held_out(seed: int) -> tuple[np.random.Generator, np.ndarray, Entries]:
    """A third of the entries held out of a truth that is true in a fifth of them."""
    rng = np.random.default_rng(seed)
    truth = rng.random(SHAPE) < 0.2
    rows, columns = np.nonzero(rng.random(SHAPE) < 1 / 3)
    weights = rng.uniform(0.5, 2.0, len(rows)).astype(np.float32)
    return rng, truth, Entries(rows, columns, truth[rows, columns], weights)


def logits(rng: np.random.Generator, truth: np.ndarray, knows: float) -> np.ndarray:
    return (knows * truth + rng.normal(size=SHAPE)).astype(np.float32)


def test_a_part_that_knows_more_is_found_and_the_best_of_them_orders() -> None:
    rng, truth, entries = held_out(0)
    parts = {name: logits(rng, truth, knows) for name, knows in
             {"little": 0.5, "much": 3.0, "most": 5.0}.items()}  # fmt: skip
    check = better_part(logits(rng, truth, 0.3), parts, entries)
    assert check.compared
    assert check.ordered_by == "most"
    facts = check.parts["most"]
    assert 0 < facts["low"] < facts["difference"] < facts["high"]
    assert check.whole is not None
    assert facts["map"] == pytest.approx(check.whole + facts["difference"])


def test_parts_that_are_as_good_as_the_whole_are_not_called_better() -> None:
    wrong = 0
    for seed in range(40):
        rng, truth, entries = held_out(seed)
        whole = logits(rng, truth, 1.0)
        parts = {f"part {n}": logits(rng, truth, 1.0) for n in range(6)} | {"itself": whole.copy()}
        wrong += better_part(whole, parts, entries).ordered_by != WHOLE
    assert wrong <= 6  # once in twenty is 2; 7 or more by chance once in 200


def test_with_too_little_held_out_the_whole_orders() -> None:
    rng, truth, entries = held_out(1)
    few = Entries(*(part[:12] for part in vars(entries).values()))
    check = better_part(logits(rng, truth, 0.0), {"much": logits(rng, truth, 9.0)}, few)
    assert (check.ordered_by, check.compared, check.parts) == (WHOLE, False, {})


def test_a_training_whose_whole_went_wrong_serves_its_best_part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The stack is sabotaged: it turns everything over."""
    backwards = PooledLogistic(np.array([-1, 0, 0], np.float32), np.zeros((4, 3), np.float32))
    collection = make_collection(images=240)
    monkeypatch.setattr(training, "fit_head_stacking", lambda *_: backwards)
    recovery = training.fit(
        collection.features,
        collection.mixed(0.5),
        category_vectors=None,
        text=False,
        config=tiny_config(),
        progress=no_progress,
    )
    assert recovery.ordered_by != WHOLE
    assert recovery.metrics["ordered_by"] == recovery.ordered_by
    assert recovery.metrics["parts"]["parts"][recovery.ordered_by]["low"] > 0
    scores = recovery.predict(collection.features)
    assert mean_average_precision(collection.truth, scores.values) > 0.8
    assert scores.probability is not None  # calibrated on what orders, not on what went wrong
    assert np.corrcoef(scores.probability.ravel(), collection.truth.ravel())[0, 1] > 0.4
    save_recovery(recovery, tmp_path)
    loaded = load_recovery(tmp_path)
    assert loaded.ordered_by == recovery.ordered_by
    np.testing.assert_array_equal(loaded.predict(collection.features).values, scores.values)


def test_a_training_with_words_says_how_they_were_scored(caplog: pytest.LogCaptureFixture) -> None:
    collection = make_collection()
    config = tiny_config()
    sharp = replace(config, model=replace(config.model, text_temperature=1e-4))
    for settings, saturated in ((config, False), (sharp, True)):
        caplog.clear()
        recovery = training.fit(
            collection.features,
            np.zeros(collection.truth.shape, np.int8),
            category_vectors=collection.vectors,
            text=True,
            config=settings,
            progress=no_progress,
        )
        said = recovery.metrics["text"]
        assert said["temperature"] > 0
        assert (said["saturated_patches"] > 0.1) is saturated
        assert ("text score saturates" in caplog.text) is saturated

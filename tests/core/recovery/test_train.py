"""Training in every regime: better than chance, deterministic, resumable, cancellable."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import clsl_core.recovery.train as train_module
from clsl_core.errors import InputError, JobCancelled, TrainingError
from clsl_core.features import FeatureView
from clsl_core.recovery.head.clsl import ModelConfig
from clsl_core.recovery.head.losses import LossConfig
from clsl_core.recovery.head.training import one_cycle
from clsl_core.recovery.model import Recovery
from clsl_core.recovery.positive_unlabelled import Regime
from clsl_core.recovery.ranking import ProposeConfig, propose
from clsl_core.recovery.text_prior import TextPrior
from clsl_core.recovery.train import TrainConfig, fit
from clsl_core.statistics.metrics import mean_average_precision, recall_at
from clsl_core.types import Origin, Progress, no_progress
from tests.core.synthetic import make_collection, tiny_config

COLLECTION = make_collection()
TOKENS = Path(__file__).parents[3] / "../shared/data/tokens_coco_a.npz"


def train(
    labels: np.ndarray,
    config: TrainConfig | None = None,
    *,
    text: bool = False,
    vectors: np.ndarray | None = None,
    progress: Progress = no_progress,
    **options: object,
) -> Recovery:
    return fit(
        COLLECTION.features,
        labels,
        category_vectors=COLLECTION.vectors if text else vectors,
        text=text,
        config=config or tiny_config(),
        progress=progress,
        **options,  # type: ignore[arg-type]
    )


def recovered(recovery: Recovery, labels: np.ndarray) -> float:
    scores = recovery.predict(COLLECTION.features)
    return mean_average_precision(COLLECTION.truth, scores.values, labels == 0)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("kind", ["mixed", "positives_only", "single"])
def test_hidden_labels_are_found_in_every_regime(kind: str, text: bool) -> None:
    if kind == "single":
        labels = np.zeros_like(COLLECTION.truth)
        rows = np.flatnonzero((COLLECTION.truth > 0).any(1))
        draw = np.random.default_rng(0).random(labels.shape) * (COLLECTION.truth > 0)
        labels[rows, draw[rows].argmax(1)] = 1
    else:
        labels = getattr(COLLECTION, kind)(0.5)
    recovery = train(labels, text=text)
    expected = {
        "mixed": Regime.POSITIVES,  # 2.6 negatives for each positive: still on its way
        "positives_only": Regime.POSITIVES,
        "single": Regime.SINGLE,
    }
    assert recovery.regime is expected[kind]
    chance = np.mean(COLLECTION.truth[labels == 0] > 0)
    assert recovered(recovery, labels) > min(0.85, 2.5 * chance)


def test_plenty_of_negatives_are_the_mixed_regime_and_calibrate() -> None:
    collection = make_collection(images=400, categories=4, seed=3)
    truth = collection.truth.copy()
    labels = collection.mixed(0.8)
    labels[(labels > 0) & (np.random.default_rng(1).random(labels.shape) < 0.5)] = 0
    recovery = fit(
        collection.features,
        labels,
        category_vectors=None,
        text=False,
        config=tiny_config(),
        progress=no_progress,
    )
    assert recovery.regime is Regime.MIXED
    assert recovery.metrics["calibrated"]
    scores = recovery.predict(collection.features)
    assert scores.probability is not None
    assert mean_average_precision(truth, scores.probability, labels == 0) > 0.6


def test_without_negatives_there_is_no_probability() -> None:
    recovery = train(COLLECTION.positives_only())
    assert recovery.calibration is None
    assert recovery.predict(COLLECTION.features).probability is None


def test_no_label_and_no_text_is_an_error() -> None:
    with pytest.raises(TrainingError, match="Label a few images"):
        train(np.zeros((120, 4), np.int8))


def test_no_label_but_text_scores_like_the_text() -> None:
    labels = np.zeros((120, 4), np.int8)
    recovery = train(labels, text=True)
    assert recovery.regime is Regime.NONE
    tokens = torch.from_numpy(COLLECTION.features.tokens(np.arange(120)))
    prior = TextPrior(COLLECTION.vectors)
    prior.standardise(tokens)
    z = prior(tokens)
    np.testing.assert_allclose(
        recovery.predict(COLLECTION.features).values, torch.sigmoid(z).numpy(), atol=1e-5
    )
    assert recovered(recovery, labels) > 0.9


def test_positives_add_to_what_poor_words_know() -> None:
    faint = make_collection(signal=0.15)
    noise = np.random.default_rng(1).normal(size=faint.vectors.shape).astype(np.float32)
    words, few = faint.vectors + noise / 10**0.5, faint.positives_only(0.2)

    def found(labels: np.ndarray) -> float:
        recovery = fit(
            faint.features,
            labels,
            category_vectors=words,
            text=True,
            config=tiny_config(),
            progress=no_progress,
        )
        values = recovery.predict(faint.features).values
        return mean_average_precision(faint.truth, values, few == 0)

    alone = found(np.zeros_like(few))
    assert 0.7 < alone < 0.9
    assert found(few) > alone + 0.03


def test_a_category_without_labels_gets_proposals_from_its_name() -> None:
    labels = COLLECTION.positives_only()
    labels[:, 2] = 0
    scores = train(labels, text=True).predict(COLLECTION.features).values
    assert mean_average_precision(COLLECTION.truth[:, 2:3], scores[:, 2:3]) > 0.7


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_handful_of_labels_is_enough_to_run(count: int) -> None:
    labels = np.zeros((120, 4), np.int8)
    rows, columns = np.nonzero(COLLECTION.truth > 0)
    labels[rows[:count], columns[:count]] = 1
    assert np.isfinite(train(labels).predict(COLLECTION.features).values).all()


def test_only_negatives_is_enough_to_run() -> None:
    labels = np.where(COLLECTION.truth < 0, -1, 0).astype(np.int8)
    assert np.isfinite(train(labels).predict(COLLECTION.features).values).all()


def test_one_image_and_one_category_are_enough_to_run() -> None:
    view = FeatureView.from_arrays(np.random.default_rng(0).normal(size=(1, 9, 10)), grid=(3, 3))
    recovery = fit(
        view,
        np.ones((1, 1), np.int8),
        category_vectors=None,
        text=False,
        config=tiny_config(),
        progress=no_progress,
    )
    assert recovery.predict(view).values.shape == (1, 1)


def test_the_same_seed_makes_the_same_proposals() -> None:
    labels = COLLECTION.positives_only()
    state = torch.random.get_rng_state()
    made = []
    for _ in range(2):
        scores = train(labels).predict(COLLECTION.features)
        made.append(propose(scores, labels, ProposeConfig(), seed=3))
        torch.rand(17)  # somebody else draws in between
        np.random.default_rng().random()
    for name in ("rows", "columns", "states", "scores", "control", "heatmaps"):
        np.testing.assert_array_equal(getattr(made[0], name), getattr(made[1], name))
    torch.random.set_rng_state(state)
    train(labels, tiny_config(epochs=1))
    assert torch.equal(torch.random.get_rng_state(), state)  # training leaves others' draws alone
    other = train(labels, tiny_config(seed=1)).predict(COLLECTION.features)
    assert not np.array_equal(other.values, scores.values)


class Killed(BaseException):
    """Stands for kill -9."""


def test_a_killed_training_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = COLLECTION.positives_only()
    whole = train(labels)
    save = train_module.save_epoch

    def save_and_die(directory: Path, state: object, fingerprint: str) -> None:
        save(directory, state, fingerprint)  # type: ignore[arg-type]
        if state.epoch == 2:  # type: ignore[attr-defined]
            raise Killed

    monkeypatch.setattr(train_module, "save_epoch", save_and_die)
    with pytest.raises(Killed):
        train(labels, resume_dir=tmp_path)
    monkeypatch.undo()
    resumed = train(labels, resume_dir=tmp_path)
    assert [c["epoch"] for c in resumed.curves] == [1, 2, 3, 4]
    assert resumed.curves == whole.curves
    np.testing.assert_array_equal(
        resumed.predict(COLLECTION.features).values, whole.predict(COLLECTION.features).values
    )


def test_a_checkpoint_of_other_labels_or_cut_short_is_not_taken_up(tmp_path: Path) -> None:
    labels = COLLECTION.positives_only()
    train(labels, tiny_config(epochs=2), resume_dir=tmp_path)
    other = COLLECTION.positives_only(seed=1)
    fresh, beside = train(other), train(other, resume_dir=tmp_path)
    np.testing.assert_array_equal(
        fresh.predict(COLLECTION.features).values, beside.predict(COLLECTION.features).values
    )
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    again = train(other, resume_dir=tmp_path)
    assert again.curves == fresh.curves


def test_progress_is_called_often_and_can_cancel() -> None:
    calls: list[tuple[int, int, str]] = []
    times: list[float] = []

    def watch(done: int, total: int, what: str) -> None:
        calls.append((done, total, what))
        times.append(time.monotonic())
        if len(calls) == 4:
            raise JobCancelled("enough")

    with pytest.raises(JobCancelled):
        train(COLLECTION.positives_only(), tiny_config(epochs=400, max_steps=10**6), progress=watch)
    assert max(np.diff(times)) < 1.0
    assert all(0 <= done <= total for done, total, _ in calls)


def test_a_warm_start_begins_where_the_earlier_model_was() -> None:
    labels = COLLECTION.positives_only()
    cold = train(labels, tiny_config(epochs=8))
    still = tiny_config(epochs=8, learning_rate=1e-9, mixup=0.0, warm_epochs=0.5)
    warm = train(labels, still, warm_start=cold)
    best = max(epoch["held_out_head_rank"] for epoch in cold.curves)
    assert len(warm.curves) == 4
    assert warm.curves[0]["held_out_head_rank"] == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize("given", [True, False])
def test_a_warm_start_takes_added_categories(given: bool) -> None:
    labels = COLLECTION.positives_only()
    old_vectors = COLLECTION.vectors[:3] if given else None
    earlier = train(labels[:, :3], vectors=old_vectors)
    later = train(labels, vectors=COLLECTION.vectors if given else None, warm_start=earlier)
    assert later.category_count == 4
    assert recovered(later, labels) > 0.6


def test_a_warm_start_follows_categories_that_moved() -> None:
    labels = COLLECTION.positives_only()
    earlier = train(labels, vectors=COLLECTION.vectors)
    turned = train(
        labels[:, ::-1].copy(),
        tiny_config(learning_rate=1e-9, epochs=2),
        vectors=COLLECTION.vectors[::-1].copy(),
        warm_start=earlier,
    )
    np.testing.assert_allclose(
        turned.start["patch_out.weight"].numpy()[::-1],
        earlier.start["patch_out.weight"].numpy(),
        atol=1e-4,
    )


def test_a_warm_start_of_another_width_is_left_alone() -> None:
    labels = COLLECTION.positives_only()
    earlier = train(labels)
    wider = tiny_config(model=replace(tiny_config().model, width=24))
    assert len(train(labels, wider, warm_start=earlier).curves) == 4


def test_a_warm_start_has_not_seen_what_is_held_out_now() -> None:
    recovery = train(COLLECTION.positives_only())
    assert any(
        not torch.equal(recovery.start[name], value)
        for name, value in recovery.head.state_dict().items()
    )


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (np.zeros((5, 4), np.int8), {}, r"expected \(120, C\)"),
        (np.full((120, 4), 2, np.int8), {}, "other than"),
        (np.ones((120, 4), np.int8), {"vectors": np.ones((3, 10), np.float32)}, "category vectors"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    labels: np.ndarray, options: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(labels, **options)  # type: ignore[arg-type]


def test_text_of_another_width_is_refused() -> None:
    with pytest.raises(InputError, match="tokens' width 10, got 7"):
        fit(
            COLLECTION.features,
            np.ones((120, 4), np.int8),
            category_vectors=np.ones((4, 7), np.float32),
            text=True,
            config=tiny_config(),
            progress=no_progress,
        )


def test_a_diverging_training_says_so() -> None:
    config = tiny_config(loss=LossConfig(recovered=float("nan")))
    with pytest.raises(TrainingError, match="lower learning_rate"):
        train(COLLECTION.positives_only(), config)


def test_the_configuration_survives_json() -> None:
    config = TrainConfig(seed=7, model=ModelConfig(width=33, encoder=True), epochs=2)
    assert TrainConfig.from_json(config.to_json()) == config
    assert TrainConfig.from_json("{}") == TrainConfig()
    for text in ("{", "[1]", '{"speed": 3}', '{"model": {"wings": 2}}'):
        with pytest.raises(InputError, match="not a training configuration"):
            TrainConfig.from_json(text)


def test_the_learning_rate_rises_once_and_falls_to_nothing() -> None:
    rates = [one_cycle(share) for share in np.linspace(0, 1, 101)]
    peak = int(np.argmax(rates))
    assert rates[peak] == pytest.approx(1.0)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert rates[-1] == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_real_photographs_give_up_their_hidden_labels() -> None:
    if not TOKENS.exists():
        pytest.skip(f"needs the photographs' tokens at {TOKENS}")
    data = np.load(TOKENS)
    truth, view = data["labels"], FeatureView.from_arrays(data["tokens"])
    rng = np.random.default_rng(0)
    labels = np.where((truth > 0) & (rng.random(truth.shape) < 0.5), 1, 0).astype(np.int8)
    recovery = fit(
        view,
        labels,
        category_vectors=data["label_embeddings"],
        text=False,
        config=TrainConfig(epochs=6),
        progress=no_progress,
    )
    found = propose(recovery.predict(view), labels, ProposeConfig(control=0), seed=0)
    first = np.flatnonzero(found.states > 0)[:500]
    hidden = (truth > 0) & (labels == 0)
    share = truth[found.rows[first], found.columns[first]].sum() / hidden.sum()
    frequency = labels.sum(0) + 0.5 * rng.random(labels.shape)
    assert share > 1.5 * recall_at(truth, frequency, 500, labels == 0)
    assert share > 5 * recall_at(truth, rng.random(labels.shape), 500, labels == 0)


def test_a_list_of_positives_does_not_calibrate_verdicts_do() -> None:
    """Positives of a file beside verdicts: only what people were asked about is counted."""
    collection = make_collection(images=400, categories=4, seed=3)
    labels = collection.positives_only(0.5)
    rng = np.random.default_rng(0)
    asked = (labels == 0) & (rng.random(labels.shape) < 0.95)
    labels[asked] = collection.truth[asked]
    origins = np.where(asked, Origin.QUEUE, Origin.IMPORTED).astype(np.int8)
    found = [
        fit(
            collection.features,
            labels,
            category_vectors=None,
            text=False,
            config=tiny_config(),
            progress=no_progress,
            origins=given,
        ).calibration
        for given in (origins, np.full_like(origins, Origin.IMPORTED))
    ]
    with_origins, without = found
    assert with_origins is not None
    assert without is not None
    assert with_origins.pooled[-1] < without.pooled[-1]  # the file's positives raise it

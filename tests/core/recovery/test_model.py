"""A Recovery saved and loaded says the same; damage and foreign features are refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from clsl_core.checkpoint import load_checkpoint, save_checkpoint
from clsl_core.errors import ClslError, InputError, JobCancelled
from clsl_core.features import FeatureView
from clsl_core.recovery.config import TrainConfig
from clsl_core.recovery.model import Recovery, Scores
from clsl_core.recovery.model_file import load_recovery, save_recovery
from clsl_core.recovery.train import fit
from clsl_core.statistics.metrics import mean_average_precision
from clsl_core.types import no_progress
from tests.core.synthetic import make_collection, tiny_config

COLLECTION = make_collection(images=240)


@pytest.fixture(scope="module")
def recovery() -> Recovery:
    return fit(
        COLLECTION.features,
        COLLECTION.mixed(0.6),
        category_vectors=COLLECTION.vectors,
        text=True,
        config=tiny_config(),
        progress=no_progress,
    )


def test_a_loaded_recovery_says_exactly_the_same(recovery: Recovery, tmp_path: Path) -> None:
    save_recovery(recovery, tmp_path)
    loaded = load_recovery(tmp_path)
    before, after = (r.predict(COLLECTION.features) for r in (recovery, loaded))
    np.testing.assert_array_equal(before.values, after.values)
    assert before.probability is not None
    assert after.probability is not None
    np.testing.assert_array_equal(before.probability, after.probability)
    np.testing.assert_array_equal(before.heatmap(3, [0, 2]), after.heatmap(3, [0, 2]))
    assert loaded.config == recovery.config
    assert loaded.metrics == recovery.metrics
    assert loaded.curves == recovery.curves
    assert loaded.regime is recovery.regime
    assert not list(tmp_path.glob("*.pkl"))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_what_only_words_say_is_saved_and_loaded(tmp_path: Path) -> None:
    words = COLLECTION.vectors.copy()
    untrained = fit(
        COLLECTION.features,
        np.zeros_like(COLLECTION.mixed(0.6)),
        category_vectors=words,
        text=True,
        config=tiny_config(),
        progress=no_progress,
    )
    before = untrained.predict(COLLECTION.features).values
    words[:] = 0.0  # the model holds copies
    save_recovery(untrained, tmp_path)
    after = load_recovery(tmp_path).predict(COLLECTION.features).values
    np.testing.assert_array_equal(before, after)


def test_a_model_from_before_self_training_ordered_still_mixes_by_its_share(
    recovery: Recovery, tmp_path: Path
) -> None:
    save_recovery(recovery, tmp_path)
    tensors, record = load_checkpoint(tmp_path, "recovery")
    newer = ("joint.", "students.heard", "students.arrived")
    tensors = {name: value for name, value in tensors.items() if not name.startswith(newer)}
    del record["known_share"]
    record["config"]["students"] = {"share": 0.25, "believed": 0.5, "l2": 1.0, "voters": 0}
    save_checkpoint(tmp_path, "recovery", tensors, record)
    loaded = load_recovery(tmp_path)
    np.testing.assert_allclose(loaded.joint.weights, [[0.75, 0.25, 0.0]] * 4)
    assert loaded.label_frequency == 1.0
    scores = loaded.predict(COLLECTION.features).values
    assert mean_average_precision(COLLECTION.truth, scores) > 0.8


# Names in saved models and in runs' configurations: what they hold must open for ever.
SAVED = "version config grid text regime views known_share ordered_by metrics curves"
TENSORS = "head start text views students labels blend joint stack calibration"
CONFIG = {
    "model": "width attention_width hidden encoder encoder_heads srfl sgfe graph text_prior "
    "dropout learned_vector text_temperature chunk",
    "graph": "neighbours text_weight shrinkage temperature",
    "loss": "gamma_positive gamma_negative recovered auxiliary weak_negative large_loss flip_above "
    "expected_positives ranking rivals blending blending_alpha structure structure_strength",
    "views": "neighbours vote_temperature vote_prior prior_strength linear_l2 text_l2 folds "
    "co_occurrence linear_unknown evenness patches",
    "students": "share share_unsure level believed l2 voters vote_prior reach steps_to "
    "believed_sent spread_prior",
    "context": "borrowed positives neighbours temperature alike together known_together shrinkage "
    "guess",
    "recovery": "held_out held_out_negatives entry_folds ridge shrinkage blend_entries gate "
    "gate_shrinkage negatives_for_mixed undecided",
    "calibration": "negatives positives shrinkage control",
}


def test_saved_models_keep_the_names_of_the_first_release(
    recovery: Recovery, tmp_path: Path
) -> None:
    save_recovery(recovery, tmp_path)
    tensors, record = load_checkpoint(tmp_path, "recovery")
    assert set(SAVED.split()) <= set(record)
    assert {name.split(".")[0] for name in tensors} == set(TENSORS.split())
    nested = {name: part for name, part in record["config"].items() if isinstance(part, dict)}
    assert {name: set(part) for name, part in nested.items()} == {
        name: set(parts.split()) for name, parts in CONFIG.items()
    }


def test_a_configuration_is_read_by_the_names_of_the_first_release() -> None:
    found = TrainConfig.from_json(
        '{"views": {"neighbours": 7}, "students": {"voters": 3}, "context": {"guess": 0.25}, '
        '"recovery": {"blend_entries": 11}}'
    )
    assert found.base_models.neighbours == 7
    assert found.self_training.voters == 3
    assert found.label_correlation.guess == 0.25
    assert found.recovery.stacking_entries == 11
    assert TrainConfig.from_json(found.to_json()) == found


def test_scores_have_shape_type_and_range(recovery: Recovery) -> None:
    scores = recovery.predict(COLLECTION.features)
    assert scores.values.shape == (240, 4)
    assert scores.values.dtype == np.float32
    assert ((scores.values > 0) & (scores.values < 1)).all()
    assert scores.probability is not None
    assert ((scores.probability > 0) & (scores.probability < 1)).all()


def test_new_images_are_scored_too(recovery: Recovery) -> None:
    old, new = COLLECTION.features.tokens(np.arange(100)), make_collection(images=300).features
    strangers = new.tokens(np.arange(240, 300))
    view = FeatureView.from_arrays(np.concatenate([strangers, old]), grid=(3, 3))
    truth = make_collection(images=300).truth[240:]
    assert mean_average_precision(truth, recovery.predict(view).values[:60]) > 0.8


def test_the_order_of_the_images_does_not_matter(recovery: Recovery) -> None:
    order = np.random.default_rng(0).permutation(240)
    turned = FeatureView.from_arrays(COLLECTION.features.tokens(order), grid=(3, 3))
    np.testing.assert_allclose(
        recovery.predict(turned).values,
        recovery.predict(COLLECTION.features).values[order],
        atol=1e-5,
    )


def test_heat_maps_point_at_the_patches_that_show_the_category(recovery: Recovery) -> None:
    scores = recovery.predict(COLLECTION.features)
    rows, columns = np.nonzero(COLLECTION.truth > 0)
    maps = scores.heatmaps(rows, columns)
    assert maps.dtype == np.uint8
    assert maps.shape == (len(rows), 9)
    assert (maps.max(1) == 255).all()
    tokens = COLLECTION.features.tokens(np.arange(240)).astype(np.float32)
    shown = np.einsum("kpd,kd->kp", tokens[rows], COLLECTION.vectors[columns])
    hit = shown[np.arange(len(rows)), maps.argmax(1)] > 0.25
    assert hit.mean() > 0.8  # two patches of nine would be 0.22
    np.testing.assert_array_equal(scores.heatmap(rows[4], columns[4:5])[0], maps[4])


def test_scores_without_heat_maps_give_empty_ones() -> None:
    scores = Scores(np.full((2, 2), 0.5, np.float32))
    assert scores.heatmap(0, [0, 1]).shape == (2, 0)


def test_a_damaged_model_is_refused(recovery: Recovery, tmp_path: Path) -> None:
    save_recovery(recovery, tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ClslError, match="sha256"):
        load_recovery(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 99"),
        ({"grid": []}, "does not describe a model"),
        ({"config": {"speed": 1}}, "not a training configuration"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    recovery: Recovery, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    save_recovery(recovery, tmp_path)
    path = tmp_path / "recovery.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=message):
        load_recovery(tmp_path)


def test_features_of_another_backbone_are_refused(recovery: Recovery) -> None:
    other = FeatureView.from_arrays(np.ones((2, 9, 7)), grid=(3, 3))
    with pytest.raises(InputError, match="Embed with the backbone"):
        recovery.predict(other)


def test_predicting_can_be_cancelled(recovery: Recovery) -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        recovery.predict(COLLECTION.features, stop)

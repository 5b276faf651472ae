"""The ensemble agrees with a second, plain writing of it (``tests/core/reference_recovery.py``)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clsl_core.recovery.ensemble import EnsembleFitter
from clsl_core.recovery.patch_linear import PatchModels, patch_logits
from clsl_core.recovery.positive_unlabelled import entry_folds
from clsl_core.recovery.text_prior import TextPrior
from clsl_core.recovery.ticker import Ticker
from clsl_core.types import no_progress
from tests.core import reference_recovery as plain
from tests.core.synthetic import SMALL, make_collection

COLLECTION = make_collection(images=150)
CONFIG = replace(SMALL, base_models=replace(SMALL.base_models, linear_l2=(0.3, 3.0)))
BOTH = COLLECTION.mixed(0.5)
LABELS = {
    "mixed": np.where((BOTH > 0) & (np.arange(len(BOTH)) % 2 > 0)[:, None], np.int8(0), BOTH),
    "between": BOTH,
    "positives": COLLECTION.positives_only(0.5),
}
UNKNOWN = {"mixed": 0.0, "between": pytest.approx(0.4, abs=0.2), "positives": 1.0}


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("kind", LABELS)
def test_the_ensemble_is_what_its_plain_writing_says(kind: str, text: bool) -> None:
    features, labels, vectors = COLLECTION.features, LABELS[kind], COLLECTION.vectors
    tokens = features.tokens(np.arange(len(features)))
    words = TextPrior(vectors) if text else None
    if words is not None:
        words.standardise(torch.from_numpy(tokens))
    rng = np.random.default_rng(7)
    fitter = EnsembleFitter(features, vectors, words, CONFIG, "cpu", rng, Ticker(no_progress))
    evidence = fitter.gather(labels)
    found = fitter.combine(evidence)
    assert evidence.unknown_weight == UNKNOWN[kind]
    assert found.self_training is not None
    base = evidence.base_models
    taught = patch_logits(
        PatchModels(found.self_training.patch_weights, found.self_training.patch_bias),
        features, fitter.rows, base.token_centre, base.token_scale, base.config.patches,
        device="cpu",
    )[0]  # fmt: skip
    given = plain.Given(
        pooled=fitter.pooled.astype(float),
        labels=labels,
        numbers=fitter.digests,
        entry_folds=entry_folds(labels.shape, 5, np.random.default_rng(7)),
        vectors=vectors.astype(float),
        text=plain.text_score(tokens.astype(float), vectors.astype(float)) if text else None,
        patches=evidence.context.patches.astype(float),
        taught_patches=taught.astype(float),
        unknown=evidence.unknown_weight,
    )
    values, frequency, stacked, ensemble = plain.recover(given, CONFIG)
    for name, mine, other in zip(base.names(text), evidence.values, values, strict=True):
        # Remembered images are float16, so a vote's last neighbour may be another one.
        np.testing.assert_allclose(mine, other, atol=0.15 if name == "vote" else 0.01, err_msg=name)
        assert np.abs(mine - other).mean() < 1e-3, name
    assert found.label_frequency == pytest.approx(frequency, abs=1e-4)
    for mine, other in ((found.stacked, stacked), (found.logits, ensemble)):
        np.testing.assert_allclose(mine, other, atol=0.05)
        assert np.abs(mine - other).mean() < 3e-3
        assert (mine.std(0) > 0.5).all()

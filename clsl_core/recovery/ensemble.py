"""The ensemble: all that can be said without the head.

    gather    fit the base models to some labels and let them look at all images
    combine   stack them on labels they have not seen, correct for the label frequency, self-train
              on what comes of it, and hear the other categories

Letters: N images, C categories, V base models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clsl_core.arrays import Floats, Labels, sigmoid
from clsl_core.features import FeatureView
from clsl_core.recovery.base_models import BaseModels, Context, cross_fitted, fit_base_models
from clsl_core.recovery.config import TrainConfig
from clsl_core.recovery.identity import digests_of
from clsl_core.recovery.label_correlation import LabelCorrelation, fit_label_correlation
from clsl_core.recovery.model import read_context, score_texts
from clsl_core.recovery.positive_unlabelled import (
    entry_folds,
    label_frequency,
    pick_entries,
    pu_corrected,
    unknown_as_negative,
)
from clsl_core.recovery.self_training import SelfTraining, fit_joint, fit_self_training, plain_joint
from clsl_core.recovery.stacking import PooledLogistic, fit_stacking
from clsl_core.recovery.text_prior import TextPrior
from clsl_core.recovery.ticker import Ticker

__all__ = ["Ensemble", "EnsembleFitter", "Evidence"]

# Where stacking starts, so that a handful of labels does not mean "no base model knows anything".
_START = {
    "prior": 0.0,
    "vote": 1 / 3,
    "linear": 1 / 3,
    "patches": 1 / 3,
    "together": 0.1,
    "text": 2.0,
}


@dataclass(frozen=True)
class Evidence:
    """The base models fitted to some labels, and what they say about all N images.

    Attributes:
        labels: (N, C) that they were fitted to.
        unknown_weight: How far unknown entries stand for negatives.
        base_models: The fitted base models.
        context: Of all N images.
        values: (V, N, C) logits.
    """

    labels: Labels
    unknown_weight: float
    base_models: BaseModels
    context: Context
    values: Floats


@dataclass(frozen=True)
class Ensemble:
    """The base models stacked, with what learned from them.

    Attributes:
        stacking: Weights of the base models.
        label_frequency: Share of the positives that are known, estimated.
        self_training: The self-trained models, or None.
        joint: Weights of the stacked base models and the self-trained models.
        label_correlation: What other categories say.
        stacked: (N, C) logits of the base models stacked.
        logits: (N, C) of it all.
    """

    stacking: PooledLogistic
    label_frequency: float
    self_training: SelfTraining | None
    joint: PooledLogistic
    label_correlation: LabelCorrelation
    stacked: Floats
    logits: Floats


class EnsembleFitter:
    """Fits all that needs no head.

    Args:
        features: Of N images.
        vectors: (C, E) category vectors, or None.
        text: What names say, or None.
        config: Of the training.
        device: Of torch.
        rng: Draws folds and samples.
        tick: Called often.
    """

    def __init__(
        self,
        features: FeatureView,
        vectors: Floats | None,
        text: TextPrior | None,
        config: TrainConfig,
        device: str,
        rng: np.random.Generator,
        tick: Ticker,
    ) -> None:
        self.features, self.vectors, self.config = features, vectors, config
        self.device, self.rng, self.tick = device, rng, tick
        self.pooled = features.pooled()
        self.digests = digests_of(self.pooled)
        self.rows = np.arange(len(features))
        self.text = None if text is None else score_texts(text, features, self.rows, tick)

    def gather(self, labels: Labels) -> Evidence:
        """Fit the base models to ``labels`` and let them look at all images."""
        unknown_weight = unknown_as_negative(labels, self.config.recovery)
        self.tick.at(0, 1, "comparing images")
        base_models = fit_base_models(
            self.features,
            self.digests,
            labels,
            self.config.base_models,
            unknown_weight=unknown_weight,
            seed=self.config.seed,
            device=self.device,
            text=self.text,
            tick=self.tick,
        )
        context = read_context(
            self.text,
            base_models,
            self.features,
            self.pooled,
            self.rows,  # all images are remembered, in their order
            self.rows,
            alike=self.config.self_training.alike,
            device=self.device,
            tick=self.tick,
        )
        return Evidence(labels, unknown_weight, base_models, context, base_models.values(context))

    def combine(self, evidence: Evidence) -> Ensemble:
        """Weigh the base models on known labels that they have not seen."""
        settings, labels = self.config.recovery, evidence.labels
        folds = entry_folds(labels.shape, settings.entry_folds, self.rng)
        honest = cross_fitted(evidence.base_models, evidence.context, labels, folds, self.tick)
        entries = pick_entries(labels, labels != 0, evidence.unknown_weight, settings, self.rng)
        names = evidence.base_models.names(evidence.context.text is not None)
        start = np.array([_START[name] for name in names] + [0.0], np.float32)
        stacking = fit_stacking(honest, entries, settings, start)
        frequency = label_frequency(
            sigmoid(stacking.apply(honest)), labels, evidence.unknown_weight
        )
        stacked = pu_corrected(stacking.apply(evidence.values), frequency)
        believed = self._believed(evidence, stacked)
        self_training, self_trained = self._self_train(evidence, stacked, believed)
        joint, joined = plain_joint(0.0, labels.shape[1]), stacked
        if self_trained is not None:
            joint = fit_joint(
                stacked,
                self_trained,
                labels,
                believed,
                evidence.unknown_weight,
                self.config.self_training,
            )
            joined = joint.apply(np.stack([stacked, self_trained]))
        correlation = self._label_correlation(evidence, joined)
        logits = correlation.apply(joined, labels)
        return Ensemble(stacking, frequency, self_training, joint, correlation, stacked, logits)

    def _label_correlation(self, evidence: Evidence, logits: Floats) -> LabelCorrelation:
        return fit_label_correlation(
            logits,
            evidence.labels,
            self.vectors,
            evidence.base_models.together,
            self.config.label_correlation,
        )

    def _believed(self, evidence: Evidence, logits: Floats) -> Floats:
        """Probabilities (N, C) of these logits, once other categories have been heard."""
        correlation = self._label_correlation(evidence, logits)
        return sigmoid(correlation.apply(logits, evidence.labels))

    def _self_train(
        self, evidence: Evidence, stacked: Floats, believed: Floats
    ) -> tuple[SelfTraining | None, Floats | None]:
        """Fit models to what the stacked base models believe; those models, their logits (N, C).

        Args:
            evidence: With the base models.
            stacked: (N, C) their logits of presence.
            believed: (N, C) probabilities, once other categories have been heard.
        """
        config, base_models = self.config.self_training, evidence.base_models
        if not config.share:
            return None, None
        self_training = fit_self_training(
            base_models,
            self.features,
            self.pooled,
            evidence.labels,
            believed,
            config,
            seed=self.config.seed,
            device=self.device,
            text=evidence.context.text,
            tick=self.tick,
        )
        both = self_training.logits(
            base_models, self.features, self.rows, evidence.context, config, self.device, self.tick
        )
        believed = self._believed(evidence, np.float32(0.5) * (stacked + both))
        self_training = self_training.after(
            evidence.context, evidence.labels, believed, config, self.tick
        )
        return self_training, self_training.join(both, evidence.context, config)

"""What can be said without the head: views fitted to labels, blended, and what learns from them.

    gather    fit the views to some labels and let them look at all images
    blend     weigh them on labels they have not seen, teach the students, hear other categories

Letters: N images, C categories, V views.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clsl_core.arrays import Floats, Labels, sigmoid
from clsl_core.features import FeatureView
from clsl_core.recovery.base_models import Context, StaticViews, cross_fitted, fit_views
from clsl_core.recovery.config import TrainConfig
from clsl_core.recovery.identity import digests_of
from clsl_core.recovery.label_correlation import LabelContext, fit_label_context
from clsl_core.recovery.linear import PooledLogistic
from clsl_core.recovery.model import read_context, score_texts
from clsl_core.recovery.positive_unlabelled import (
    entry_folds,
    fit_blend,
    known_share,
    pick_entries,
    present,
    unknown_as_negative,
)
from clsl_core.recovery.self_training import Students, fit_joint, fit_students, plain_joint
from clsl_core.recovery.text_prior import TextPrior
from clsl_core.recovery.ticker import Ticker

__all__ = ["Evidence", "StaticBlend", "StaticFitter"]

# Where the blend starts, so that a handful of labels does not mean "no view is worth anything".
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
    """The static views fitted to some labels, and what they say about all N images.

    Attributes:
        labels: (N, C) that they were fitted to.
        unknown_weight: How far unknown entries stand for negatives.
        views: The fitted views.
        context: Of all N images.
        values: (V, N, C) logits.
    """

    labels: Labels
    unknown_weight: float
    views: StaticViews
    context: Context
    values: Floats


@dataclass(frozen=True)
class StaticBlend:
    """The static views blended, with what learned from them.

    Attributes:
        weights: Of the views.
        share: Of the positives that are known, estimated.
        students: Or None.
        joint: Weights of the views and the students.
        label_context: What other categories say.
        first: (N, C) logits of the views stacked.
        logits: (N, C) of it all.
    """

    weights: PooledLogistic
    share: float
    students: Students | None
    joint: PooledLogistic
    label_context: LabelContext
    first: Floats
    logits: Floats


class StaticFitter:
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
        self.text = text
        self.pooled = features.pooled()
        self.digests = digests_of(self.pooled)
        self.rows = np.arange(len(features))
        self.scored_text = None if text is None else score_texts(text, features, self.rows, tick)

    def gather(self, labels: Labels) -> Evidence:
        """Fit the static views to ``labels`` and let them look at all images."""
        unknown_weight = unknown_as_negative(labels, self.config.recovery)
        self.tick.at(0, 1, "comparing images")
        views = fit_views(
            self.features,
            self.digests,
            labels,
            self.config.views,
            unknown_weight=unknown_weight,
            seed=self.config.seed,
            device=self.device,
            text=self.scored_text,
            tick=self.tick,
        )
        context = read_context(
            self.text,
            views,
            self.features,
            self.pooled,
            self.rows,  # all images are remembered, in their order
            self.rows,
            alike=self.config.students.alike,
            device=self.device,
            tick=self.tick,
        )
        return Evidence(labels, unknown_weight, views, context, views.values(context))

    def blend(self, evidence: Evidence) -> StaticBlend:
        """Weigh the static views on known labels that they have not seen."""
        settings, labels = self.config.recovery, evidence.labels
        folds = entry_folds(labels.shape, settings.entry_folds, self.rng)
        honest = cross_fitted(evidence.views, evidence.context, labels, folds, self.tick)
        entries = pick_entries(labels, labels != 0, evidence.unknown_weight, settings, self.rng)
        names = evidence.views.names(evidence.context.text is not None)
        start = np.array([_START[name] for name in names] + [0.0], np.float32)
        weights = fit_blend(honest, entries, settings, start)
        share = known_share(sigmoid(weights.apply(honest)), labels, evidence.unknown_weight)
        first = present(weights.apply(evidence.values), share)
        believed = self._believed(evidence, first)
        students, taught = self._teach(evidence, first, believed)
        joint, joined = plain_joint(0.0, labels.shape[1]), first
        if taught is not None:
            joint = fit_joint(
                first, taught, labels, believed, evidence.unknown_weight, self.config.students
            )
            joined = joint.apply(np.stack([first, taught]))
        context = self._label_context(evidence, joined)
        logits = context.apply(joined, labels)
        return StaticBlend(weights, share, students, joint, context, first, logits)

    def _label_context(self, evidence: Evidence, logits: Floats) -> LabelContext:
        return fit_label_context(
            logits, evidence.labels, self.vectors, evidence.views.together, self.config.context
        )

    def _believed(self, evidence: Evidence, logits: Floats) -> Floats:
        """Probabilities (N, C) of these logits, once other categories have been heard."""
        context = self._label_context(evidence, logits)
        return sigmoid(context.apply(logits, evidence.labels))

    def _teach(
        self, evidence: Evidence, first: Floats, believed: Floats
    ) -> tuple[Students | None, Floats | None]:
        """Fit the students to what the views believe; the students and their logits (N, C).

        Args:
            evidence: With the views.
            first: (N, C) their logits of presence.
            believed: (N, C) probabilities, once other categories have been heard.
        """
        config, views = self.config.students, evidence.views
        if not config.share:
            return None, None
        students = fit_students(
            views,
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
        both = students.logits(
            views, self.features, self.rows, evidence.context, config, self.device, self.tick
        )
        believed = self._believed(evidence, np.float32(0.5) * (first + both))
        students = students.after(evidence.context, evidence.labels, believed, config, self.tick)
        return students, students.join(both, evidence.context, config)

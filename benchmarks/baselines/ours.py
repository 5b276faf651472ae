"""What this program does, and the same without each of its parts: configurations, not copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from benchmarks.baselines.method import Predicted, Question
from clsl_core.arrays import Labels, logit, sigmoid
from clsl_core.recovery.model import Recovery
from clsl_core.recovery.online_update import with_verdicts
from clsl_core.recovery.train import TrainConfig, fit
from clsl_core.types import no_progress

__all__ = ["ABLATIONS", "Ours", "shorter"]

Change = Callable[[TrainConfig], TrainConfig]

_ONE_FOR_ALL = 1e9  # labels' worth of belief in the pooled threshold: no category has its own

ABLATIONS: Mapping[str, Change] = {
    "no-srfl": lambda c: replace(c, model=replace(c.model, srfl=False)),
    "no-sgfe": lambda c: replace(c, model=replace(c.model, sgfe=False)),
    "no-graph": lambda c: replace(c, model=replace(c.model, graph=False)),
    "no-text-prior": lambda c: replace(c, model=replace(c.model, text_prior=False)),
    "no-recovery": lambda c: replace(c, loss=replace(c.loss, recovered=0.0)),
    "global-thresholds": lambda c: replace(
        c, recovery=replace(c.recovery, gate_shrinkage=_ONE_FOR_ALL)
    ),
    "no-head": lambda c: replace(c, use_head=False),
    "no-students": lambda c: replace(c, self_training=replace(c.self_training, share=0.0)),
    "no-vote-student": lambda c: replace(c, self_training=replace(c.self_training, voters=0)),
    "no-spreading": lambda c: replace(c, self_training=replace(c.self_training, reach=0.0)),
    "no-context": lambda c: replace(
        c,
        label_correlation=replace(
            c.label_correlation, borrowed=0.0, together=0.0, known_together=0.0
        ),
    ),
    "no-patches": lambda c: replace(
        c, base_models=replace(c.base_models, patches=replace(c.base_models.patches, steps=0))
    ),
    "with-blending": lambda c: replace(c, loss=replace(c.loss, blending=0.5)),
    "with-structure": lambda c: replace(c, loss=replace(c.loss, structure=0.5)),
}
"""Name of what is left out or added, and how the configuration changes."""


def _same(config: TrainConfig) -> TrainConfig:
    return config


def shorter(config: TrainConfig) -> TrainConfig:
    """A head that hardly learns, for tests of the measuring itself."""
    return replace(config, epochs=1, min_epochs=1, max_steps=1)


@dataclass(frozen=True)
class _Base:
    """What the last training left: logits (N, C), vectors (N, d), and the labels (N, C) it had."""

    logits: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float32]
    labels: Labels


@dataclass
class Ours:
    """``clsl_core.fit`` with a configuration.

    Attributes:
        change: Makes the configuration from the default one.
        warm: Start each training from the one before, as after a round of verdicts.
        instant: Let the scores follow verdicts between two trainings, as the program does.
        last: The newest model.
    """

    change: Change = _same
    warm: bool = False
    instant: bool = True
    last: Recovery | None = field(default=None, repr=False)
    _base: _Base | None = field(default=None, repr=False)

    def fit_predict(self, question: Question) -> Predicted:
        """See Method."""
        categories = question.categories
        self.last = fit(
            question.train,
            question.labels,
            category_vectors=categories.vectors,
            text=categories.text,
            config=self.change(TrainConfig(seed=question.seed)),
            progress=no_progress,
            warm_start=self.last if self.warm else None,
        )
        train = self.last.predict(question.train).values
        self._base = _Base(
            logit(train),
            self.last.base_models.standardise(question.train.pooled()),
            question.labels.copy(),
        )
        test = self.last.predict(question.test).values if len(question.test) else train[:0]
        return Predicted(train, test)

    def follow(self, labels: Labels) -> npt.NDArray[np.float32]:
        """Scores (N, C) of the images trained on, after verdicts given since.

        Args:
            labels: (N, C) what is known now.
        """
        assert self._base is not None, "fit_predict comes first"
        logits = self._base.logits.copy()
        given = labels != self._base.labels
        for c in np.flatnonzero(given.any(0)):
            places = np.flatnonzero(given[:, c])
            logits[:, c] = with_verdicts(
                logits[:, c], self._base.vectors, places, labels[places, c] > 0
            )
        return sigmoid(logits)

"""What training makes and what it says: a Recovery, and the Scores it gives a collection.

Letters: N images, C categories, P patches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clsl_core.arrays import PROBABILITY_LIMIT, Floats, Ids, sigmoid
from clsl_core.compute import Pieces, half_the_threads
from clsl_core.errors import InputError
from clsl_core.features import FeatureView
from clsl_core.recovery.base_models import BaseModels, Context
from clsl_core.recovery.calibration import apply_calibration
from clsl_core.recovery.config import TrainConfig
from clsl_core.recovery.head.clsl import CLSLHead
from clsl_core.recovery.identity import digests_of, recognise
from clsl_core.recovery.judging import ENSEMBLE, STACKED
from clsl_core.recovery.label_correlation import LabelCorrelation
from clsl_core.recovery.patch_linear import patch_logits
from clsl_core.recovery.positive_unlabelled import Regime, pu_corrected
from clsl_core.recovery.self_training import SelfTraining
from clsl_core.recovery.stacking import PooledLogistic
from clsl_core.recovery.text_prior import TextPrior
from clsl_core.types import Progress, no_progress

__all__ = [
    "HeatmapSource",
    "Recovery",
    "Scores",
    "head_logits",
    "read_context",
    "score_texts",
]

HeatmapSource = Callable[[Ids, Ids], npt.NDArray[np.uint8]]
Tick = Callable[[], None]

_BATCH = 64  # images whose tokens are scored at once
_ROWS = 8192  # images whose logits by all base models are held at once


@dataclass(frozen=True)
class Scores:
    """What a Recovery says about N images and C categories.

    Attributes:
        values: (N, C) float32 in (0, 1), comparable between categories: higher is more likely
            present. Not a probability.
        probability: (N, C) float32 calibrated probability of presence, or None while too few
            negatives are known to calibrate.
        heat: Where heat maps come from; None gives none.
    """

    values: Floats
    probability: Floats | None = None
    heat: HeatmapSource | None = field(default=None, repr=False)

    def heatmap(self, row: int, columns: Sequence[int] | Ids) -> npt.NDArray[np.uint8]:
        """Heat maps uint8 (len(columns), P) of one image, row by row of the patch grid."""
        wanted = np.asarray(columns, np.int64)
        return self.heatmaps(np.full(len(wanted), row, np.int64), wanted)

    def heatmaps(
        self, rows: Sequence[int] | Ids, columns: Sequence[int] | Ids
    ) -> npt.NDArray[np.uint8]:
        """Heat maps uint8 (K, P) of the pairs (rows[i], columns[i]); 255 is the best patch."""
        if self.heat is None:
            return np.zeros((len(rows), 0), np.uint8)
        return self.heat(np.asarray(rows, np.int64), np.asarray(columns, np.int64))


@dataclass(frozen=True)
class Recovery:
    """A fitted model: ensemble, head, and calibration where there is one.

        base models --stacking, label frequency--> stacked, logits of presence
        stacked, self-trained --joint, label correlation--> ensemble
        ensemble, head --head stacking--> logits, or what one part says where it was better

    Attributes:
        config: What it was trained with.
        text: What names say, or None without text vectors.
        head: The CLSL head.
        base_models: The base models.
        stacking: Weights of the base models.
        label_frequency: Share of the positives that are known, estimated; what stacking says of
            known positives becomes presence by it.
        self_training: Models that learned from pseudo-labels, or None.
        joint: Weights of the stacked base models and the self-trained models.
        label_correlation: What other categories' scores say.
        head_stacking: Weights of the ensemble and the head.
        ordered_by: ``WHOLE``, or the part that was better than it on held-out labels and
            therefore says what is proposed; see ``judging.better_part``.
        calibration: Map from logits to probabilities, or None.
        grid: Rows and columns of the patch grid.
        regime: What kind of knowledge there was.
        metrics: Held-out measures and facts of the training, JSON values.
        curves: One record for each epoch.
        start: The head's weights before it learned from the held-out labels: what a later
            training may start from and still judge itself on labels it has not seen.
        unseen: (N, C) float32 logits of the model before it learned from the held-out labels, nan
            at the labels it had learned from: what two runs are compared by. Not saved with the
            model; None after loading.
    """

    config: TrainConfig
    text: TextPrior | None
    head: CLSLHead
    base_models: BaseModels
    stacking: PooledLogistic
    label_frequency: float
    self_training: SelfTraining | None
    joint: PooledLogistic
    label_correlation: LabelCorrelation
    head_stacking: PooledLogistic
    ordered_by: str
    calibration: PooledLogistic | None
    grid: tuple[int, int]
    regime: Regime
    metrics: dict[str, Any]
    curves: list[dict[str, float]]
    start: dict[str, Tensor]
    unseen: Floats | None = None

    @property
    def category_count(self) -> int:
        """C."""
        return len(self.stacking.deviations)

    @half_the_threads()
    def predict(self, features: FeatureView, progress: Progress = no_progress) -> Scores:
        """Score every image for every category.

        ``progress`` is called here and while heat maps are drawn.

        Images are recognised by their features: those that were trained on are scored by base
        models that leave them out, with their known labels as context.

        Raises:
            InputError: The features come from another backbone.
        """
        self._check(features)
        pooled = features.pooled()
        itself = recognise(digests_of(pooled), self.base_models.memory_digests)
        logits = np.empty((len(features), self.category_count), np.float32)
        for start in range(0, len(features), _ROWS):
            rows = np.arange(start, min(start + _ROWS, len(features)))

            def tick(start: int = start) -> None:
                progress(start, len(features), "scoring images")

            text = None if self.text is None else score_texts(self.text, features, rows, tick)
            context = read_context(
                text,
                self.base_models,
                features,
                pooled,
                itself,
                rows,
                alike=self.config.self_training.alike,
                device=self._device,
                tick=tick,
            )
            logits[rows] = self._logits(features, rows, context, tick)
        progress(len(features), len(features), "scoring images")
        return Scores(
            values=sigmoid(logits, PROBABILITY_LIMIT),
            probability=(
                None if self.calibration is None else apply_calibration(self.calibration, logits)
            ),
            heat=lambda rows, columns: _heatmaps(
                self.head,
                features,
                rows,
                columns,
                lambda: progress(len(features), len(features), "drawing heat maps"),
            ),
        )

    def _logits(
        self, features: FeatureView, rows: Ids, context: Context, tick: Callable[[], None]
    ) -> Floats:
        """Logits (n, C) of the images ``rows``, by the whole or by the part that orders."""
        values = self.base_models.values(context)
        parts = dict(zip(self.base_models.names(self.text is not None), values, strict=True))
        if self.ordered_by in parts:
            return np.asarray(parts[self.ordered_by], np.float32)
        ensemble = pu_corrected(self.stacking.apply(values), self.label_frequency)
        if self.ordered_by == STACKED:
            return ensemble
        if self.self_training is not None:
            settings, device = self.config.self_training, self._device
            self_trained = self.self_training.logits(
                self.base_models, features, rows, context, settings, device, tick
            )
            ensemble = self.joint.apply(np.stack([ensemble, self_trained]))
        ensemble = self.label_correlation.apply(ensemble, context.known)
        if self.ordered_by == ENSEMBLE:
            return ensemble
        z = head_logits(self.head, features, rows, tick)
        return self.head_stacking.apply(np.stack([ensemble, z]))

    @property
    def _device(self) -> str:
        return str(self.head.b.device)

    def _check(self, features: FeatureView) -> None:
        width = len(self.head.token_mean)
        if features.grid != self.grid or features.dim != width:
            raise InputError(
                f"the features have a grid of {features.grid} and {features.dim} numbers a patch; "
                f"this model was trained on {self.grid} and {width}. Embed with the backbone the "
                "model was trained with, or train again."
            )


def read_context(  # noqa: PLR0913 - arrays that belong together
    text: Floats | None,
    base_models: BaseModels,
    features: FeatureView,
    pooled: Floats,
    itself: Ids,
    rows: Ids,
    *,
    alike: int,
    device: str,
    tick: Tick,
) -> Context:
    """What the base models and the self-trained models need to know about the images ``rows``.

    Args:
        text: (n, C) what names say of the images ``rows``, where there are text vectors.
        base_models: The base models.
        features: Of all N images.
        pooled: (N, d).
        itself: (N,) place of each image among those remembered, -1 for strangers.
        rows: Images wanted.
        alike: How many similar images the self-trained models ask for; 0 for none.
        device: Of torch.
        tick: Called often.
    """
    own = itself[rows]
    known = np.zeros((len(rows), base_models.memory_labels.shape[1]), np.int8)
    known[own >= 0] = base_models.memory_labels[own[own >= 0]]
    tick()
    neighbours = base_models.neighbours(pooled[rows], own, tick)
    return Context(
        pooled=pooled[rows],
        digests=digests_of(pooled[rows]),
        itself=own,
        known=known,
        learned=known != 0,
        neighbours=neighbours,
        alike=base_models.alike(pooled[rows], own, neighbours, alike, tick) if alike else None,
        patches=patch_logits(
            base_models.patch_models,
            features,
            rows,
            base_models.token_centre,
            base_models.token_scale,
            base_models.config.patches,
            device=device,
            tick=tick,
        ),
        text=text,
    )


@torch.no_grad()
def head_logits(head: CLSLHead, features: FeatureView, rows: Ids, tick: Tick) -> Floats:
    """z1 (n, C) of the images ``rows``."""
    head.eval()
    out = np.empty((len(rows), len(head.b)), np.float32)

    def score(part: slice) -> None:
        tick()
        out[part] = head(_tokens(head, features, rows[part])).z1.cpu().numpy()

    Pieces(_BATCH, "scoring images").run(len(rows), score)
    return out


@torch.no_grad()
def score_texts(text: TextPrior, features: FeatureView, rows: Ids, tick: Tick) -> Floats:
    """What names say of the images ``rows``: (n, C)."""
    out = np.empty((len(rows), len(text.words)), np.float32)

    def score(part: slice) -> None:
        tick()
        tokens = torch.from_numpy(features.tokens(rows[part])).to(text.words.device)
        out[part] = text(tokens).cpu().numpy()

    Pieces(_BATCH, "comparing images with words").run(len(rows), score)
    return out


@torch.no_grad()
@half_the_threads()
def _heatmaps(
    head: CLSLHead, features: FeatureView, rows: Ids, columns: Ids, tick: Tick
) -> npt.NDArray[np.uint8]:
    """Evidence of each patch, stretched to 0 … 255 for each pair; uint8 (K, P)."""
    head.eval()
    patches = features.grid[0] * features.grid[1]
    out = np.zeros((len(rows), patches), np.uint8)
    images, place = np.unique(rows, return_inverse=True)
    order = np.argsort(place, kind="stable")

    def draw(part: slice) -> None:
        tick()
        first, last = np.searchsorted(place[order], [part.start, part.stop])
        pairs = order[first:last]
        evidence = head.evidence(_tokens(head, features, images[part]))
        maps = evidence[place[pairs] - part.start, :, columns[pairs]].cpu().numpy()
        low, high = maps.min(1, keepdims=True), maps.max(1, keepdims=True)
        out[pairs] = np.rint(255 * (maps - low) / np.maximum(high - low, 1e-6)).astype(np.uint8)

    Pieces(_BATCH, "drawing heat maps").run(len(images), draw)
    return out


def _tokens(head: CLSLHead, features: FeatureView, rows: Ids) -> Tensor:
    return torch.from_numpy(features.tokens(rows)).to(head.b.device)

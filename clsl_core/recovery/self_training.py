"""Self-training: models that learn from pseudo-labels as well as from known labels.

What the stacked base models believe of an unknown entry is a soft label. A model fitted to all
entries, known and believed, sees every image in every category, where the base models saw the few
that are labelled; what it makes of them is another opinion than the one it was taught. Sources:
self-training (Scudder 1965; Yarowsky 1995), with soft pseudo-labels of little weight (Lee 2013,
"Pseudo-Label"), as in the collaborative loop of CLSL (arXiv 2510.10055), with the plainest learners
there are:

    linear    logistic regression on pooled features
    patches   a multiple-instance linear model on patches
    vote      nearest neighbours, on what the base models and the two above believe together
    spread    label spreading of the same beliefs, and most of all known labels (Zhou et al. 2004)

The first two are fitted; the other two are looked up. All that are there count alike.

Letters: N images, M remembered images, C categories, d token width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from scipy.special import expit

from clsl_core.arrays import Doubles, Floats, Ids, Labels, logit
from clsl_core.features import FeatureView
from clsl_core.recovery.base_models import BaseModels, Context
from clsl_core.recovery.linear import fit_linear
from clsl_core.recovery.neighbours import best, similarity_graph, spread_labels
from clsl_core.recovery.optimise import minimise
from clsl_core.recovery.patch_linear import PatchModels, fit_patches, patch_logits
from clsl_core.recovery.stacking import PooledLogistic

__all__ = [
    "SelfTraining",
    "SelfTrainingConfig",
    "fit_joint",
    "fit_self_training",
    "plain_joint",
    "to_mean",
]


@dataclass(frozen=True)
class SelfTrainingConfig:
    """What the self-trained models learn, and how much they count.

    Attributes:
        share: Of the self-trained models in the order within a category; the base models have the
            rest. 0 fits none.
        share_unsure: The same where unknown entries stand for negatives: self-trained models learn
            from those, too, and from more of them. In between in proportion.
        level: The same for how likely a whole category is, and how far its images spread.
        believed: Weight of a believed label beside a known one, for the two that are fitted.
        l2: Penalty of the linear one, in images.
        voters: Similar images that vote; 0 leaves the vote out.
        vote_prior: Voters' worth of belief in the category's mean.
        reach: Of spreading: what is left after each step; 0 leaves it out.
        steps_to: Similar images that each image passes beliefs on to.
        believed_sent: Weight of a believed label beside a known one, for spreading.
        spread_prior: Belief in the category's mean, in what reaches an image on average.
    """

    share: float = 1.0
    share_unsure: float = 0.75
    level: float = 0.5
    believed: float = 0.25
    l2: float = 1.0
    voters: int = 50
    vote_prior: float = 2.0
    reach: float = 0.9
    steps_to: int = 10
    believed_sent: float = 0.1
    spread_prior: float = 0.3

    @property
    def alike(self) -> int:
        """How many similar images are asked for."""
        return max(self.voters, self.steps_to if self.reach else 0) if self.share else 0


@dataclass(frozen=True)
class SelfTraining:
    """The fitted self-trained models.

    Attributes:
        linear: (d + 1, C).
        patch_weights: (1, d, C) and ``patch_bias`` (1, C).
        patch_bias: See above.
        text_slope: (1,) logits for a spread of the text score that both start from.
        heard: (M, C) float16, what the remembered images vote for; None: no vote.
        arrived: (M, C) float16, what spread to each; None: nothing was spread.
    """

    linear: Floats
    patch_weights: Floats
    patch_bias: Floats
    text_slope: Floats
    heard: npt.NDArray[np.float16] | None = None
    arrived: npt.NDArray[np.float16] | None = None

    def logits(
        self,
        base_models: BaseModels,
        features: FeatureView,
        rows: Ids,
        context: Context,
        config: SelfTrainingConfig,
        device: str,
        tick: Callable[[], None] = lambda: None,
    ) -> Floats:
        """Mean logit (n, C) of all of them, for the images ``rows``.

        Args:
            base_models: Those these were fitted beside: they know how features spread.
            features: Of N images.
            rows: (n,) images wanted.
            context: Of these n images.
            config: As fitted.
            device: Of torch.
            tick: Called often.
        """
        x = base_models.standardise(context.pooled)
        models = PatchModels(self.patch_weights, self.patch_bias)
        centre, scale = base_models.token_centre, base_models.token_scale
        on_patches = patch_logits(
            models,
            features,
            rows,
            centre,
            scale,
            base_models.config.patches,
            device=device,
            tick=tick,
        )[0]
        both = np.asarray((x @ self.linear[:-1] + self.linear[-1] + on_patches) / 2, np.float32)
        if context.text is not None:
            both += self.text_slope * context.text
        return self.join(both, context, config)

    def join(self, both: Floats, context: Context, config: SelfTrainingConfig) -> Floats:
        """Mean logit (n, C) of all, from that of the two fitted ones; see ``logits``."""
        parts = [both, both]
        if context.alike is not None and self.heard is not None:
            parts.append(_vote(context.alike, self.heard.astype(np.float32), config))
        if context.alike is not None and self.arrived is not None:
            parts.append(_arrived(context, context.alike, self.arrived.astype(np.float32), config))
        return np.asarray(sum(parts) / len(parts), np.float32)

    def after(
        self,
        context: Context,
        labels: Labels,
        believed: Floats,
        config: SelfTrainingConfig,
        tick: Callable[[], None] = lambda: None,
    ) -> SelfTraining:
        """The same with vote and spread.

        Args:
            context: Of the M images that were learned from, in their order.
            labels: (M, C) in {-1, 0, +1}.
            believed: (M, C) probabilities; they matter where labels are unknown.
            config: Which of the two there are, and how.
            tick: Called often.
        """
        presence, alike = _presence(labels, believed), context.alike
        heard = arrived = None
        if alike is not None and config.voters:
            heard = presence.astype(np.float16)
        if alike is not None and config.reach:
            trust = np.where(labels != 0, 1.0, config.believed_sent).astype(np.float32)
            graph = similarity_graph(best(alike, config.steps_to))
            reached = spread_labels(graph, presence, trust, config.reach, config.spread_prior, tick)
            arrived = reached.astype(np.float16)
        return replace(self, heard=heard, arrived=arrived)


def _presence(labels: Labels, believed: Floats) -> Floats:
    """(M, C) 1 and 0 where known, what is believed elsewhere."""
    return np.where(labels != 0, labels > 0, believed).astype(np.float32)


def _vote(alike: csr_array, heard: Floats, config: SelfTrainingConfig) -> Floats:
    """Logits (n, C) of the share of presence among the nearest ``config.voters`` images."""
    voters = best(alike, config.voters)
    weight = np.asarray(voters.sum(1)).reshape(-1, 1) + config.vote_prior
    return logit((voters @ heard + config.vote_prior * heard.mean(0)) / weight)


def _arrived(
    context: Context, alike: csr_array, arrived: Floats, config: SelfTrainingConfig
) -> Floats:
    """Logits (n, C) of what spread to each image; to a stranger, as to the images most like it."""
    shares = arrived[context.itself]
    strangers = np.flatnonzero(context.itself < 0)
    if len(strangers):
        sources = best(alike, config.steps_to)[strangers]
        weight = np.maximum(np.asarray(sources.sum(1)).reshape(-1, 1), 1e-9)
        shares[strangers] = (sources @ arrived) / weight
    return logit(shares)


def fit_self_training(  # noqa: PLR0913 - arrays that belong together
    base_models: BaseModels,
    features: FeatureView,
    pooled: Floats,
    labels: Labels,
    believed: Floats,
    config: SelfTrainingConfig,
    *,
    seed: int,
    device: str,
    text: Floats | None = None,
    tick: Callable[[], None] = lambda: None,
) -> SelfTraining:
    """Fit the two linear self-trained models; ``SelfTraining.after`` adds the others.

    Args:
        base_models: They know how features spread.
        features: Of N images.
        pooled: (N, d) of the same.
        labels: (N, C) in {-1, 0, +1}.
        believed: (N, C) probabilities; they matter where labels are unknown.
        config: See ``SelfTrainingConfig``.
        seed: Of the order of the images.
        device: Of torch.
        text: (N, C) text scores that both start from, or None.
        tick: Called often.
    """
    known = labels != 0
    slope = base_models.text_slope.mean(keepdims=True)
    offset = None if text is None else (slope * text)[None]
    targets = _presence(labels, believed)
    weights = np.where(known, 1.0, config.believed).astype(np.float32)
    x, y, m = (
        torch.from_numpy(part).to(device)
        for part in (base_models.standardise(pooled), targets, weights)
    )
    everything = torch.zeros(len(x), dtype=torch.int64, device=device)
    away = None if offset is None else torch.from_numpy(offset).to(device)
    linear = fit_linear(x, y, m, everything, fold_count=1, l2=config.l2, offset=away, tick=tick)[0]
    patches = fit_patches(
        features,
        base_models.token_centre,
        base_models.token_scale,
        targets,
        weights,
        base_models.config.patches,
        folds=None,
        offset=offset,
        seed=seed,
        device=device,
        tick=tick,
    )
    return SelfTraining(linear.cpu().numpy(), patches.weights, patches.bias, slope)


def plain_joint(share: float, count: int) -> PooledLogistic:
    """Weights of [stacked, self-trained, 1], ``share`` of the self-trained in all categories."""
    weights = np.array([1 - share, share, 0.0], np.float32)
    return PooledLogistic(weights, np.zeros((count, 3), np.float32))


def fit_joint(
    stacked: Floats,
    self_trained: Floats,
    labels: Labels,
    believed: Floats,
    unknown_weight: float,
    config: SelfTrainingConfig,
) -> PooledLogistic:
    """Weights of [stacked, self-trained, 1] by category: the second orders, both set the level.

    Self-trained models order the images of a category better than the stacked base models do, but
    between categories they are not comparable: the fewer positives are known of one, the more
    believed labels, which count for less, stand against them. So their mean probability is first
    brought to the believed one. Then the two are mixed by ``share``, and mean and spread of that
    are brought to those of a mix by ``level``. All of it on the unknown entries, as nothing else is
    proposed.

    Args:
        stacked: (N, C) logits of the base models stacked.
        self_trained: (N, C) of the self-trained models.
        labels: (N, C) in {-1, 0, +1}.
        believed: (N, C) probabilities.
        unknown_weight: How far unknown entries stand for negatives.
        config: The shares.
    """
    unknown = labels == 0
    order = config.share + unknown_weight * (min(config.share_unsure, config.share) - config.share)
    moved = to_mean(self_trained, believed, unknown)
    mixed, model = (
        (1 - share) * stacked + share * (self_trained + moved) for share in (order, config.level)
    )
    scale = _spread(model, unknown) / np.maximum(_spread(mixed, unknown), 1e-6)
    scale = np.where(unknown.sum(0) > 1, np.clip(scale, 0.5, 2.0), 1.0)
    shift = _mean(model, unknown) - scale * _mean(mixed, unknown) + scale * order * moved
    return PooledLogistic.of(np.stack([scale * (1 - order), scale * order, shift], 1))


def to_mean(logits: Floats, believed: Floats, judged: npt.NDArray[np.bool_]) -> Floats:
    """What to add to a category's logits (C,), so that the judged have the mean believed."""
    level = _Level(logits.astype(np.float64), _mean(believed, judged).astype(np.float64), judged)
    found = minimise(level, np.zeros((logits.shape[1], 1)), what="level of a category")
    return np.asarray(found.x[:, 0], np.float32)


class _Level:
    """Objective whose optimum brings each category's mean probability to the one wanted.

    Its slope by the shift s of a category is mean σ(z + s) - wanted; a tiny pull keeps the shift
    finite where the mean wanted is 0 or 1.
    """

    _PULL = 1e-6

    def __init__(
        self,
        logits: npt.NDArray[np.float64],
        wanted: npt.NDArray[np.float64],
        judged: npt.NDArray[np.bool_],
    ) -> None:
        self.logits, self.wanted = logits, wanted
        self.share = judged / np.maximum(judged.sum(0), 1)
        self.any = judged.any(0)

    def look(self, x: Doubles) -> tuple[Doubles, Doubles]:
        """See Objective."""
        shift = x[:, 0]
        z = self.logits + shift
        values = (self.share * np.logaddexp(0, z)).sum(0) - self.any * self.wanted * shift
        slopes = (self.share * expit(z)).sum(0) - self.any * self.wanted
        pulled = slopes + self._PULL * shift
        return values + 0.5 * self._PULL * shift * shift, pulled[:, None]

    def direction(self, x: Doubles, slopes: Doubles) -> Doubles:
        """See Objective."""
        p = expit(self.logits + x[:, 0])
        curvature: Doubles = (self.share * p * (1 - p)).sum(0) + self._PULL
        return slopes / curvature[:, None]


def _mean(values: Floats, judged: npt.NDArray[np.bool_]) -> Floats:
    """(C,) mean of the judged entries, 0 where there is none."""
    return np.asarray((values * judged).sum(0) / np.maximum(judged.sum(0), 1), np.float32)


def _spread(values: Floats, judged: npt.NDArray[np.bool_]) -> Floats:
    """(C,) standard deviation of the judged entries."""
    away = values - _mean(values, judged)
    return np.asarray(np.sqrt(_mean(away * away, judged)), np.float32)

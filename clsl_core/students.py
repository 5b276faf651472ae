"""Students: models that learn from recovered labels as well as from known ones.

What the first blend of views believes of an unknown entry is a soft label. A model fitted to all
entries, known and believed, sees every image in every category, where the views saw the few that
are labelled; what it makes of them is another opinion than the one it was taught. Idea of the
collaborative loop of CLSL (arXiv 2510.10055), with the plainest learners there are: two linear
ones, and a vote of the most similar images on what the views and those two believe together.

Letters: N images, M remembered images, C categories, d token width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array

from clsl_core.features import FeatureView
from clsl_core.linear import fit_linear
from clsl_core.patch_linear import PatchModels, fit_patches, patch_logits
from clsl_core.views import StaticViews, logit

__all__ = ["StudentConfig", "Students", "fit_students"]

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int8]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StudentConfig:
    """What the students learn, and how much they count.

    Attributes:
        share: Of the students in the blend; the views have the rest. 0 fits none.
        believed: Weight of a believed label beside a known one.
        l2: Penalty of the linear student, in images.
        voters: Similar images that vote on beliefs as a third student; 0 leaves it out.
        vote_prior: Voters' worth of belief in the category's mean.
    """

    share: float = 0.5
    believed: float = 0.5
    l2: float = 1.0
    voters: int = 0
    vote_prior: float = 2.0


@dataclass(frozen=True)
class Students:
    """The fitted students: on pooled features ``linear`` (d + 1, C), on patches, and a vote.

    Attributes:
        linear: See above.
        patch_weights: (1, d, C) and ``patch_bias`` (1, C).
        patch_bias: See above.
        heard: (M, C) float16, what the remembered images vote for; None: no vote.
    """

    linear: Floats
    patch_weights: Floats
    patch_bias: Floats
    heard: npt.NDArray[np.float16] | None = None

    def logits(
        self,
        views: StaticViews,
        features: FeatureView,
        pooled: Floats,
        rows: Ids,
        neighbours: csr_array,
        config: StudentConfig,
        device: str,
        tick: Callable[[], None] = lambda: None,
    ) -> Floats:
        """Mean logit (n, C) of all of them, for the images ``rows``.

        Args:
            views: Those the students were fitted beside: they know how features spread.
            features: Of N images.
            pooled: (N, d) of the same.
            rows: (n,) images wanted.
            neighbours: (n, M) weights of the remembered images, as ``StaticViews.neighbours``
                gives them; an image's own weight is 0.
            config: As fitted.
            device: Of torch.
            tick: Called often.
        """
        x = views.standardise(pooled[rows])
        models = PatchModels(self.patch_weights, self.patch_bias)
        centre, scale = views.token_centre, views.token_scale
        on_patches = patch_logits(
            models, features, rows, centre, scale, views.config.patches, device=device, tick=tick
        )[0]
        both = np.asarray((x @ self.linear[:-1] + self.linear[-1] + on_patches) / 2, np.float32)
        return self.with_vote(both, neighbours, config)

    def with_vote(self, both: Floats, neighbours: csr_array, config: StudentConfig) -> Floats:
        """Mean logit (n, C) of all, from that of the two linear ones; see ``logits``."""
        if self.heard is None:
            return both
        vote = _vote(neighbours, self.heard.astype(np.float32), config)
        return np.asarray((2 * both + vote) / 3, np.float32)

    def hearing(self, labels: Labels, believed: Floats) -> Students:
        """The same with a vote.

        Args:
            labels: (M, C) known of the remembered images.
            believed: (M, C) probabilities; they matter where labels are unknown.
        """
        return replace(self, heard=_presence(labels, believed).astype(np.float16))


def _presence(labels: Labels, believed: Floats) -> Floats:
    """(M, C) 1 and 0 where known, what is believed elsewhere."""
    return np.where(labels != 0, labels > 0, believed).astype(np.float32)


def _vote(neighbours: csr_array, heard: Floats, config: StudentConfig) -> Floats:
    """Logits (n, C) of the share of presence among the nearest ``config.voters`` images."""
    nearest = neighbours.copy()
    if len(nearest.data):
        # Best first, as many in each row; one more for the image itself, which weighs nothing.
        by_row = nearest.data.reshape(nearest.shape[0], -1)
        by_row[:, config.voters + 1 :] = 0.0
    weight = np.asarray(nearest.sum(1)).reshape(-1, 1) + config.vote_prior
    return logit((nearest @ heard + config.vote_prior * heard.mean(0)) / weight)


def fit_students(  # noqa: PLR0913 - arrays that belong together
    views: StaticViews,
    features: FeatureView,
    pooled: Floats,
    labels: Labels,
    believed: Floats,
    config: StudentConfig,
    *,
    seed: int,
    device: str,
    tick: Callable[[], None] = lambda: None,
) -> Students:
    """Fit the two linear students.

    Args:
        views: They know how features spread.
        features: Of N images.
        pooled: (N, d) of the same.
        labels: (N, C) in {-1, 0, +1}.
        believed: (N, C) probabilities; they matter where labels are unknown.
        config: See ``StudentConfig``.
        seed: Of the order of the images.
        device: Of torch.
        tick: Called often.
    """
    known = labels != 0
    targets = _presence(labels, believed)
    weights = np.where(known, 1.0, config.believed).astype(np.float32)
    x, y, m = (
        torch.from_numpy(part).to(device) for part in (views.standardise(pooled), targets, weights)
    )
    everything = torch.zeros(len(x), dtype=torch.int64, device=device)
    linear = fit_linear(x, y, m, everything, fold_count=1, l2=config.l2, tick=tick)[0]
    patches = fit_patches(
        features,
        views.token_centre,
        views.token_scale,
        targets,
        weights,
        views.config.patches,
        folds=None,
        seed=seed,
        device=device,
        tick=tick,
    )
    return Students(linear.cpu().numpy(), patches.weights, patches.bias)

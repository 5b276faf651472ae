"""Students: linear models that learn from recovered labels as well as from known ones.

What the first blend of views believes of an unknown entry is a soft label. A model fitted to all
entries, known and believed, sees every image in every category, where the views saw the few that
are labelled; what it makes of them is another opinion than the one it was taught. Idea of the
collaborative loop of CLSL (arXiv 2510.10055), with the plainest learners there are.

Letters: N images, C categories, d token width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from clsl_core.features import FeatureView
from clsl_core.linear import fit_linear
from clsl_core.patch_linear import PatchModels, fit_patches, patch_logits
from clsl_core.views import StaticViews

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
    """

    share: float = 0.5
    believed: float = 0.5
    l2: float = 1.0


@dataclass(frozen=True)
class Students:
    """The fitted students: on pooled features ``linear`` (d + 1, C), and on patches.

    Attributes:
        linear: See above.
        patch_weights: (1, d, C) and ``patch_bias`` (1, C).
        patch_bias: See above.
    """

    linear: Floats
    patch_weights: Floats
    patch_bias: Floats

    def logits(
        self,
        views: StaticViews,
        features: FeatureView,
        pooled: Floats,
        rows: Ids,
        device: str,
        tick: Callable[[], None] = lambda: None,
    ) -> Floats:
        """Mean logit (n, C) of both, for the images ``rows``.

        Args:
            views: Those the students were fitted beside: they know how features spread.
            features: Of N images.
            pooled: (N, d) of the same.
            rows: (n,) images wanted.
            device: Of torch.
            tick: Called often.
        """
        x = views.standardise(pooled[rows])
        models = PatchModels(self.patch_weights, self.patch_bias)
        centre, scale = views.token_centre, views.token_scale
        config = views.config.patches
        on_patches = patch_logits(
            models, features, rows, centre, scale, config, device=device, tick=tick
        )[0]
        return np.asarray((x @ self.linear[:-1] + self.linear[-1] + on_patches) / 2, np.float32)


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
    """Fit both students.

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
    targets = np.where(known, labels > 0, believed).astype(np.float32)
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

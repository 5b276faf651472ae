"""Label recovery for partly labelled image collections: formats, features, model, proposals.

Nothing in this package knows of the database, the job queue or the screen, so it can be
scripted on its own. What is named here is its public interface, with ``clsl_core.formats.read``
and ``write``; names are loaded when they are asked for, as the model brings torch.

    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from clsl_core import FeatureView, TrainConfig, fit, load_recovery, save_recovery

Sixty pictures of four patches, three categories; one patch shows what is there, and half of the
labels are known:

    >>> draw = np.random.default_rng(0)
    >>> truth = np.where(draw.random((60, 3)) < 0.4, 1, -1).astype(np.int8)
    >>> tokens = 1 + 0.2 * draw.normal(size=(60, 4, 8))
    >>> tokens[:, 0, :3] += 2 * (truth > 0)
    >>> known = np.where(draw.random(truth.shape) < 0.5, truth, 0).astype(np.int8)
    >>> features = FeatureView.from_arrays(tokens)
    >>> recovery = fit(features, known, config=TrainConfig(use_head=False))
    >>> scores = recovery.predict(features).values
    >>> hidden_positive = scores[(known == 0) & (truth > 0)]
    >>> hidden_negative = scores[(known == 0) & (truth < 0)]
    >>> bool(np.median(hidden_positive) > np.quantile(hidden_negative, 0.9))
    True

A model is a folder of two files:

    >>> folder = TemporaryDirectory()
    >>> save_recovery(recovery, Path(folder.name))
    >>> again = load_recovery(Path(folder.name)).predict(features).values
    >>> bool((again == scores).all())
    True
    >>> folder.cleanup()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clsl_core.features import FeatureView
    from clsl_core.recovery.config import TrainConfig
    from clsl_core.recovery.model import Recovery
    from clsl_core.recovery.model_file import load_recovery, save_recovery
    from clsl_core.recovery.train import fit

__all__ = ["FeatureView", "Recovery", "TrainConfig", "fit", "load_recovery", "save_recovery"]

_PLACES = {
    "FeatureView": "features",
    "Recovery": "recovery.model",
    "TrainConfig": "recovery.config",
    "fit": "recovery.train",
    "load_recovery": "recovery.model_file",
    "save_recovery": "recovery.model_file",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)

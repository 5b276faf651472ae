"""Training: from partly known labels to a Recovery.

    1. The regime is read off the labels; a slice of the known ones is held out.
    2. The ensemble is fitted to the rest: base models, stacked (cross-fitted, so honestly), what
       self-trains on them, and label correlation (``ensemble``).
    3. The head learns from the rest and from pseudo-labels, which the ensemble and the head's own
       EMA teacher give together. The held-out slice picks the epoch, weighs the head beside the
       ensemble and calibrates.
    4. Everything is fitted once more with the held-out slice included, the head for a few
       gentle epochs from where it is.

Letters: N images, C categories, V base models.
"""

from __future__ import annotations

import hashlib
import logging
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from clsl_core.arrays import Floats, Labels
from clsl_core.compute import half_the_threads
from clsl_core.errors import InputError, TrainingError
from clsl_core.features import FeatureView
from clsl_core.recovery.calibration import calibrate, calibration_weights
from clsl_core.recovery.config import TrainConfig
from clsl_core.recovery.ensemble import Ensemble, EnsembleFitter, Evidence
from clsl_core.recovery.head.clsl import CLSLHead
from clsl_core.recovery.head.training import (
    HeadTrainer,
    Supervision,
    TrainingState,
    inherit,
    one_cycle,
    resume,
    save_epoch,
    start_training,
)
from clsl_core.recovery.identity import pair_draws
from clsl_core.recovery.judging import (
    ENSEMBLE,
    STACKED,
    WHOLE,
    PartCheck,
    better_part,
    log_loss,
    pooled_ap,
    rank_quality,
)
from clsl_core.recovery.label_correlation import no_label_correlation
from clsl_core.recovery.label_graph import build_graph
from clsl_core.recovery.model import Recovery, head_logits
from clsl_core.recovery.optimise import counting_fits
from clsl_core.recovery.positive_unlabelled import (
    Entries,
    Regime,
    class_priors,
    detect_regime,
    pick_entries,
    split_labels,
    unknown_as_negative,
)
from clsl_core.recovery.pseudo_labels import recovered_targets
from clsl_core.recovery.self_training import plain_joint
from clsl_core.recovery.stacking import PooledLogistic, fit_head_stacking
from clsl_core.recovery.text_prior import TextPrior
from clsl_core.recovery.ticker import Ticker
from clsl_core.types import Origin, Progress, no_progress

__all__ = ["TrainConfig", "fit"]

log = logging.getLogger(__name__)

_SATURATED = 0.1  # share of patches from which on it is said

_USUAL = TrainConfig()


def fit(  # noqa: PLR0913 - one call is the whole interface of training
    features: FeatureView,
    labels: npt.NDArray[np.int8],
    *,
    category_vectors: npt.NDArray[np.float32] | None = None,
    text: bool = False,
    config: TrainConfig = _USUAL,
    progress: Progress = no_progress,
    resume_dir: Path | None = None,
    warm_start: Recovery | None = None,
    device: str | None = None,
    background_vectors: npt.NDArray[np.float32] | None = None,
    origins: npt.NDArray[np.int8] | None = None,
) -> Recovery:
    """Train on what is known; ``clsl_core`` shows it on a small collection.

    Args:
        features: Of N images.
        labels: (N, C) in {-1, 0, +1}.
        category_vectors: (C, E): text embeddings, other label vectors, or None to learn them.
        text: Whether ``category_vectors`` lie in the tokens' space.
        config: Everything else.
        progress: Called several times a second; what it raises stops the training.
        resume_dir: For a checkpoint of each epoch; a rerun with the same inputs continues there.
        warm_start: An earlier model of the same collection to start the head from. Categories
            are matched by their vectors, or by place where there are none.
        device: Of torch; by default CUDA where there is one.
        background_vectors: (K, E) text embeddings of words that are no category, to compete
            with the categories in the text prior.
        origins: (N, C) how each known label came to be known (``Origin``), for calibration; by
            default nobody was asked for any of them.

    Raises:
        TrainingError: Nothing is known and there is no text prior, or training diverged.
        InputError: The arrays do not fit together.
    """
    vectors = None if category_vectors is None else np.asarray(category_vectors, np.float32)
    _check(features, labels, vectors, text)
    if detect_regime(labels, config.recovery) is Regime.NONE and not (
        text and config.model.text_prior
    ):
        raise TrainingError(
            f"none of the {labels.size} image-category pairs is labelled, and the backbone has no "
            "text to start from. Label a few images (ten present labels are a start), or use an "
            "open_clip backbone."
        )
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    prior = _text_prior(features, vectors, background_vectors, config) if text else None
    job = _Training(features, labels, vectors, prior, config, place, progress)
    job.origins = origins
    job.resume_dir = resume_dir
    job.warm_start = warm_start
    devices = [torch.cuda.current_device()] if place.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices), half_the_threads(), counting_fits() as fits:
        recovery = job.run()
    if prior is not None:
        recovery.metrics["text"] = prior.to_json()
    recovery.metrics["fits"] = {name: asdict(count) for name, count in fits.items()}
    return recovery


class _Training:
    """One training: the inputs, and the steps of ``fit`` in order."""

    def __init__(
        self,
        features: FeatureView,
        labels: Labels,
        vectors: Floats | None,
        text: TextPrior | None,
        config: TrainConfig,
        device: str,
        progress: Progress,
    ) -> None:
        self.features, self.labels, self.config = features, labels, config
        self.vectors, self.device = vectors, device
        self.text = None if text is None else text.to(device)
        self.tick = Ticker(progress)
        self.origins: npt.NDArray[np.int8] | None = None
        self.resume_dir: Path | None = None
        self.warm_start: Recovery | None = None
        self.rng = np.random.default_rng(config.seed)
        self.trainer = HeadTrainer(features, config, device, self.tick)
        self.fitter = EnsembleFitter(
            features, vectors, self.text, config, device, self.rng, self.tick
        )
        self.digests, self.rows = self.fitter.digests, self.fitter.rows

    def run(self) -> Recovery:
        """Fit, judge, fit again with everything known."""
        settings = self.config.recovery
        regime = detect_regime(self.labels, settings)
        if regime is Regime.NONE:
            return self._text_only()
        draws = pair_draws(self.digests, self.labels.shape[1], self.config.seed)
        split = split_labels(self.labels, draws, settings)
        unknown_weight = unknown_as_negative(self.labels, settings)
        entries = pick_entries(self.labels, split.held_out, unknown_weight, settings, self.rng)
        evidence = self.fitter.gather(split.train)
        ensemble = self.fitter.combine(evidence)
        head, curves = self._train(evidence, ensemble, entries)
        z = head_logits(head, self.features, self.rows, self.tick)
        pair = fit_head_stacking(ensemble.logits, z, entries, settings)
        parts = self._parts(evidence, ensemble)
        parts[WHOLE] = pair.apply(np.stack([ensemble.logits, z]))
        check = self._check_parts(parts, entries)
        logits = parts[check.ordered_by]
        calibration = self._calibrate(logits, entries)
        start = {name: value.clone() for name, value in head.state_dict().items()}
        final = self.fitter.gather(self.labels)
        ensemble = self.fitter.combine(final)
        self._refit(head, final, ensemble, pair, len(curves))
        return Recovery(
            config=self.config,
            text=self.text,
            head=head.eval(),
            base_models=final.base_models,
            stacking=ensemble.stacking,
            label_frequency=ensemble.label_frequency,
            self_training=ensemble.self_training,
            joint=ensemble.joint,
            label_correlation=ensemble.label_correlation,
            head_stacking=pair,
            ordered_by=check.ordered_by,
            calibration=calibration,
            grid=self.features.grid,
            regime=regime,
            metrics={
                **self._measure(evidence, z, logits, entries),
                "parts": check.to_json(),
                "ordered_by": check.ordered_by,
                "unknown_as_negative": unknown_weight,
                "known_share": ensemble.label_frequency,
                "calibrated": calibration is not None,
            },
            curves=curves,
            start=start,
            unseen=np.where(split.train != 0, np.float32(np.nan), logits),
        )

    def _text_only(self) -> Recovery:
        """No label is known: the text prior speaks, as it is."""
        count = self.labels.shape[1]
        head = self._make_head(np.full(count, 0.5, np.float32), self.labels, 1.0)
        evidence = self.fitter.gather(self.labels)
        base_models, names = evidence.base_models, evidence.base_models.names(text=True)
        weights = np.zeros(len(names) + 1, np.float32)
        weights[names.index("text")] = 1.0
        return Recovery(
            config=self.config,
            text=self.text,
            head=head.eval(),
            base_models=base_models,
            stacking=PooledLogistic(weights, np.zeros((count, len(weights)), np.float32)),
            label_frequency=1.0,
            self_training=None,
            joint=plain_joint(0.0, count),
            label_correlation=no_label_correlation(count),
            head_stacking=PooledLogistic(
                np.array([1, 0, 0], np.float32), np.zeros((count, 3), np.float32)
            ),
            ordered_by=WHOLE,
            calibration=None,
            grid=self.features.grid,
            regime=Regime.NONE,
            metrics={"known_present": 0, "known_absent": 0, "calibrated": False},
            curves=[],
            start={},
            unseen=evidence.context.text,
        )

    def _make_head(self, priors: Floats, labels: Labels, unknown_weight: float) -> CLSLHead:
        graph = None
        if self.config.model.graph:
            graph = build_graph(
                labels, self.vectors, self.config.graph, unknown_weight=unknown_weight
            )
        torch.manual_seed(self.config.seed)
        head = CLSLHead(
            self.config.model,
            self.features.grid,
            self.features.dim,
            priors,
            vectors=self.vectors,
            graph=graph,
            text=self.text,
        )
        head.standardise(_sample(self.features))
        return head.to(self.device)

    def _train(
        self, evidence: Evidence, ensemble: Ensemble, entries: Entries
    ) -> tuple[CLSLHead, list[dict[str, float]]]:
        """Train the head; the EMA weights of the best epoch and the curves."""
        priors = class_priors(evidence.labels, evidence.unknown_weight, ensemble.label_frequency)
        head = self._make_head(priors, evidence.labels, evidence.unknown_weight)
        if not self.config.use_head:
            return head, []
        warm = self.warm_start is not None and inherit(head, self.warm_start)
        epochs = self.trainer.epochs(warm)
        state = start_training(head, self.config)
        fingerprint = self._fingerprint(evidence, head)
        if self.resume_dir is not None:
            resume(self.resume_dir, state, fingerprint, self.device)
        while state.epoch < epochs:
            self._epoch(state, evidence, ensemble, entries, epochs)
            if self.resume_dir is not None:
                save_epoch(self.resume_dir, state, fingerprint)
        state.teacher.load_state_dict(state.best)
        return state.teacher, state.curves

    def _epoch(
        self,
        state: TrainingState,
        evidence: Evidence,
        ensemble: Ensemble,
        entries: Entries,
        epochs: int,
    ) -> None:
        """One pass: recover labels with the teacher, learn, judge the teacher."""
        _, logits = self._judge(state, ensemble, entries)
        done, config = state.epoch / epochs, self.config
        ramp = min(1.0, (state.epoch + 1) / max(1.0, config.ramp * epochs))
        supervision = self._supervision(
            logits,
            evidence,
            ensemble.label_frequency,
            strength=config.loss.recovered * max(ramp, evidence.unknown_weight),
            reject=config.loss.large_loss * done * evidence.unknown_weight,
        )
        loss = self.trainer.train_epoch(
            state,
            supervision,
            rate=lambda share: one_cycle(done + share / epochs),
            title=f"training, epoch {state.epoch + 1} of {epochs}",
            epochs=epochs,
        )
        z, logits = self._judge(state, ensemble, entries)
        quality = rank_quality(z, entries)
        state.curves.append(
            {
                "epoch": state.epoch,
                "loss": loss,
                "held_out_loss": log_loss(logits, entries),
                "held_out_head_rank": quality,
                "held_out_head_ap": pooled_ap(z, entries),
                "held_out_ap": pooled_ap(logits, entries),
            }
        )
        if quality >= state.best_quality:
            state.best_quality, state.best_epoch = quality, state.epoch
            state.best = {n: v.clone() for n, v in state.teacher.state_dict().items()}

    def _judge(
        self, state: TrainingState, ensemble: Ensemble, entries: Entries
    ) -> tuple[Floats, Floats]:
        """Logits (N, C) of the teacher alone and of the whole it is part of."""
        if state.z is None:
            state.z = head_logits(state.teacher, self.features, self.rows, self.tick)
        pair = fit_head_stacking(ensemble.logits, state.z, entries, self.config.recovery)
        return state.z, pair.apply(np.stack([ensemble.logits, state.z]))

    def _supervision(
        self,
        logits: Floats,
        evidence: Evidence,
        frequency: float,
        *,
        strength: float,
        reject: float,
    ) -> Supervision:
        """What an epoch learns, where the whole has these logits (N, C)."""
        targets = recovered_targets(
            logits,
            evidence.labels,
            evidence.unknown_weight,
            self.config.loss.weak_negative,
            self.config.recovery,
        )
        return Supervision(
            evidence.labels,
            targets,
            class_priors(evidence.labels, evidence.unknown_weight, frequency),
            evidence.unknown_weight,
            strength,
            reject,
        )

    def _refit(
        self,
        head: CLSLHead,
        evidence: Evidence,
        ensemble: Ensemble,
        pair: PooledLogistic,
        epochs: int,
    ) -> None:
        """A few gentle epochs with the held-out labels back in; changes ``head``."""
        count, config = round(self.config.refit * epochs), self.config
        state = start_training(deepcopy(head), config)
        state.teacher, state.epoch = head, epochs
        for index in range(count):
            z = head_logits(head, self.features, self.rows, self.tick)
            supervision = self._supervision(
                pair.apply(np.stack([ensemble.logits, z])),
                evidence,
                ensemble.label_frequency,
                strength=config.loss.recovered,
                reject=config.loss.large_loss * evidence.unknown_weight,
            )
            self.trainer.train_epoch(
                state,
                supervision,
                rate=partial(_fade, index, count),
                title="learning from all known labels",
                epochs=epochs + count,
            )

    def _calibrate(self, logits: Floats, entries: Entries) -> PooledLogistic | None:
        """Calibrate on the entries whose truth is known."""
        known = self.labels[entries.rows, entries.columns] != 0
        rows, columns = entries.rows[known], entries.columns[known]
        settings, origins = self.config.calibration, self.origins
        if origins is None:
            origins = np.full(self.labels.shape, Origin.IMPORTED, np.int8)
        asked = np.isin(origins, (Origin.QUEUE, Origin.RANDOM))
        given = np.where(asked, np.int8(0), self.labels)
        share = 1.0 - unknown_as_negative(given, self.config.recovery)
        return calibrate(
            logits[rows, columns],
            entries.truth[known],
            columns,
            logits.shape[1],
            settings,
            calibration_weights(origins[rows, columns], share, settings),
        )

    def _parts(self, evidence: Evidence, ensemble: Ensemble) -> dict[str, Floats]:
        """What each part says of all entries, (N, C) logits, by its name."""
        names = evidence.base_models.names(self.text is not None)
        return {
            **dict(zip(names, evidence.values, strict=True)),
            STACKED: ensemble.stacked,
            ENSEMBLE: ensemble.logits,
        }

    def _check_parts(self, parts: dict[str, Floats], entries: Entries) -> PartCheck:
        """Whether a part is better than the whole on the held-out entries."""
        self.tick.at(0, 1, "comparing the whole with its parts")
        others = {name: logits for name, logits in parts.items() if name != WHOLE}
        check = better_part(parts[WHOLE], others, entries)
        if check.ordered_by != WHOLE:
            log.warning("%s alone was better on held-out labels; it orders the proposals",
                        check.ordered_by)  # fmt: skip
        return check

    def _measure(
        self, evidence: Evidence, head: Floats, whole: Floats, entries: Entries
    ) -> dict[str, Any]:
        """Facts for the model run's page, as JSON values."""
        names = evidence.base_models.names(evidence.context.text is not None)
        parts = {
            **dict(zip(names, evidence.values, strict=True)),
            "head": head,
            "blend": whole,
        }
        known = self.labels[entries.rows, entries.columns] != 0
        return {
            "known_present": int((self.labels > 0).sum()),
            "known_absent": int((self.labels < 0).sum()),
            "held_out": int(known.sum()),
            "held_out_ap": {name: pooled_ap(z, entries) for name, z in parts.items()},
        }

    def _fingerprint(self, evidence: Evidence, head: CLSLHead) -> str:
        """Of everything the head's training depends on."""
        found = hashlib.sha256(self.config.to_json().encode())
        found.update(evidence.labels.tobytes())
        found.update(self.digests.tobytes())
        for value in head.state_dict().values():
            found.update(value.cpu().numpy().tobytes())
        return found.hexdigest()


def _sample(features: FeatureView) -> torch.Tensor:
    """Tokens (n, P, d) of up to about 512 images spread over all of them."""
    rows = np.arange(0, len(features), max(1, len(features) // 512))
    return torch.from_numpy(features.tokens(rows))


def _text_prior(
    features: FeatureView, vectors: Floats | None, background: Floats | None, config: TrainConfig
) -> TextPrior | None:
    """What the names say of these features, where the text prior is wanted."""
    if vectors is None or not config.model.text_prior:
        return None
    prior = TextPrior(vectors, background, config.model.text_temperature)
    prior.standardise(_sample(features))
    if float(prior.saturated) > _SATURATED:
        log.warning("the text score saturates: %s", prior.to_json())
    return prior


def _fade(index: int, count: int, share: float) -> float:
    """Learning rate of the refit over its peak in training: from 0.2 to 0."""
    return 0.2 * (1 - (index + share) / count)


def _check(features: FeatureView, labels: Labels, vectors: Floats | None, text: bool) -> None:
    """Refuse inputs that do not fit together."""
    if labels.ndim != 2 or len(labels) != len(features) or not labels.size:
        raise InputError(
            f"labels have shape {labels.shape}, expected ({len(features)}, C) with at least one "
            "image and one category."
        )
    if not np.isin(labels, (-1, 0, 1)).all():
        raise InputError("labels hold values other than -1, 0 and +1.")
    if vectors is not None and (vectors.ndim != 2 or len(vectors) != labels.shape[1]):
        raise InputError(
            f"category vectors have shape {vectors.shape}, expected ({labels.shape[1]}, E)."
        )
    if text and (vectors is None or vectors.shape[1] != features.dim):
        width = None if vectors is None else vectors.shape[1]
        raise InputError(
            f"a text prior needs category vectors of the tokens' width {features.dim}, got {width}."
        )

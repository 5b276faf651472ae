"""Training: from partly known labels to a Recovery.

    1. The regime is read off the labels; a slice of the known ones is held out.
    2. The static views are fitted to the rest and blended (cross-fitted, so honestly), and teach
       their students (``static_blend``).
    3. The head learns from the rest and from labels recovered by the blend, in which the head's
       own EMA teacher is one more view. The held-out slice picks the epoch, weighs the head in
       the blend and calibrates.
    4. Everything is fitted once more with the held-out slice included, the head for a few
       gentle epochs from where it is.

Letters: N images, C categories, V views.
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
from clsl_core.recovery.ensemble import Evidence, StaticBlend, StaticFitter
from clsl_core.recovery.head.clsl import CLSLHead
from clsl_core.recovery.head.training import (
    Learner,
    Learning,
    Lesson,
    one_cycle,
    resume,
    save_epoch,
    start_learning,
)
from clsl_core.recovery.head.warm_start import inherit
from clsl_core.recovery.identity import pair_draws
from clsl_core.recovery.judging import (
    BLEND,
    ENSEMBLE,
    WHOLE,
    PartCheck,
    better_part,
    log_loss,
    pooled_ap,
    rank_quality,
)
from clsl_core.recovery.label_correlation import no_label_context
from clsl_core.recovery.label_graph import build_graph
from clsl_core.recovery.linear import PooledLogistic
from clsl_core.recovery.model import Recovery, head_logits
from clsl_core.recovery.optimise import counting_fits
from clsl_core.recovery.positive_unlabelled import (
    Entries,
    Regime,
    class_priors,
    detect_regime,
    fit_stack,
    pick_entries,
    recovered_targets,
    split_labels,
    unknown_as_negative,
)
from clsl_core.recovery.self_training import plain_joint
from clsl_core.recovery.text_prior import TextPrior
from clsl_core.recovery.ticker import Ticker
from clsl_core.types import Origin, Progress

__all__ = ["TrainConfig", "fit"]

log = logging.getLogger(__name__)


def fit(  # noqa: PLR0913 - one call is the whole interface of training
    features: FeatureView,
    labels: npt.NDArray[np.int8],
    *,
    category_vectors: npt.NDArray[np.float32] | None,
    text: bool,
    config: TrainConfig,
    progress: Progress,
    resume_dir: Path | None = None,
    warm_start: Recovery | None = None,
    device: str | None = None,
    background_vectors: npt.NDArray[np.float32] | None = None,
    origins: npt.NDArray[np.int8] | None = None,
) -> Recovery:
    """Train on what is known.

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
        self.learner = Learner(features, config, device, self.tick)
        self.fitter = StaticFitter(
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
        static = self.fitter.blend(evidence)
        head, curves = self._train(evidence, static, entries)
        z = head_logits(head, self.features, self.rows, self.tick)
        pair = fit_stack(static.logits, z, entries, settings)
        parts = self._parts(evidence, static)
        parts[WHOLE] = pair.apply(np.stack([static.logits, z]))
        check = self._check_parts(parts, entries)
        logits = parts[check.ordered_by]
        calibration = self._calibrate(logits, entries)
        start = {name: value.clone() for name, value in head.state_dict().items()}
        final = self.fitter.gather(self.labels)
        static = self.fitter.blend(final)
        self._refit(head, final, static, pair, len(curves))
        return Recovery(
            config=self.config,
            text=self.text,
            head=head.eval(),
            views=final.views,
            blend=static.weights,
            known_share=static.share,
            students=static.students,
            joint=static.joint,
            label_context=static.label_context,
            stack=pair,
            ordered_by=check.ordered_by,
            calibration=calibration,
            grid=self.features.grid,
            regime=regime,
            metrics={
                **self._measure(evidence, z, logits, entries),
                "parts": check.to_json(),
                "ordered_by": check.ordered_by,
                "unknown_as_negative": unknown_weight,
                "known_share": static.share,
                "calibrated": calibration is not None,
            },
            curves=curves,
            start=start,
            unseen=np.where(split.train != 0, np.float32(np.nan), logits),
        )

    def _text_only(self) -> Recovery:
        """No label is known: the blend is the text prior, as it is."""
        count = self.labels.shape[1]
        head = self._make_head(np.full(count, 0.5, np.float32), self.labels, 1.0)
        evidence = self.fitter.gather(self.labels)
        views, names = evidence.views, evidence.views.names(text=True)
        weights = np.zeros(len(names) + 1, np.float32)
        weights[names.index("text")] = 1.0
        return Recovery(
            config=self.config,
            text=self.text,
            head=head.eval(),
            views=views,
            blend=PooledLogistic(weights, np.zeros((count, len(weights)), np.float32)),
            known_share=1.0,
            students=None,
            joint=plain_joint(0.0, count),
            label_context=no_label_context(count),
            stack=PooledLogistic(np.array([1, 0, 0], np.float32), np.zeros((count, 3), np.float32)),
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
        self, evidence: Evidence, static: StaticBlend, entries: Entries
    ) -> tuple[CLSLHead, list[dict[str, float]]]:
        """Train the head; the EMA weights of the best epoch and the curves."""
        priors = class_priors(evidence.labels, evidence.unknown_weight, static.share)
        head = self._make_head(priors, evidence.labels, evidence.unknown_weight)
        if not self.config.use_head:
            return head, []
        warm = self.warm_start is not None and inherit(head, self.warm_start)
        epochs = self.learner.epochs(warm)
        state = start_learning(head, self.config)
        fingerprint = self._fingerprint(evidence, head)
        if self.resume_dir is not None:
            resume(self.resume_dir, state, fingerprint, self.device)
        while state.epoch < epochs:
            self._epoch(state, evidence, static, entries, epochs)
            if self.resume_dir is not None:
                save_epoch(self.resume_dir, state, fingerprint)
        state.teacher.load_state_dict(state.best)
        return state.teacher, state.curves

    def _epoch(
        self,
        state: Learning,
        evidence: Evidence,
        static: StaticBlend,
        entries: Entries,
        epochs: int,
    ) -> None:
        """One pass: recover labels with the teacher, learn, judge the teacher."""
        _, logits = self._judge(state, static, entries)
        done, config = state.epoch / epochs, self.config
        ramp = min(1.0, (state.epoch + 1) / max(1.0, config.ramp * epochs))
        lesson = self._lesson(
            logits,
            evidence,
            static.share,
            strength=config.loss.recovered * max(ramp, evidence.unknown_weight),
            reject=config.loss.large_loss * done * evidence.unknown_weight,
        )
        loss = self.learner.learn(
            state,
            lesson,
            rate=lambda share: one_cycle(done + share / epochs),
            title=f"training, epoch {state.epoch + 1} of {epochs}",
            epochs=epochs,
        )
        z, logits = self._judge(state, static, entries)
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
        self, state: Learning, static: StaticBlend, entries: Entries
    ) -> tuple[Floats, Floats]:
        """Logits (N, C) of the teacher alone and of the blend it is part of."""
        if state.z is None:
            state.z = head_logits(state.teacher, self.features, self.rows, self.tick)
        pair = fit_stack(static.logits, state.z, entries, self.config.recovery)
        return state.z, pair.apply(np.stack([static.logits, state.z]))

    def _lesson(
        self, logits: Floats, evidence: Evidence, share: float, *, strength: float, reject: float
    ) -> Lesson:
        """What the blended logits (N, C) have to teach."""
        targets = recovered_targets(
            logits,
            evidence.labels,
            evidence.unknown_weight,
            self.config.loss.weak_negative,
            self.config.recovery,
        )
        return Lesson(
            evidence.labels,
            targets,
            class_priors(evidence.labels, evidence.unknown_weight, share),
            evidence.unknown_weight,
            strength,
            reject,
        )

    def _refit(
        self,
        head: CLSLHead,
        evidence: Evidence,
        static: StaticBlend,
        pair: PooledLogistic,
        epochs: int,
    ) -> None:
        """A few gentle epochs with the held-out labels back in; changes ``head``."""
        count, config = round(self.config.refit * epochs), self.config
        state = start_learning(deepcopy(head), config)
        state.teacher, state.epoch = head, epochs
        for index in range(count):
            z = head_logits(head, self.features, self.rows, self.tick)
            lesson = self._lesson(
                pair.apply(np.stack([static.logits, z])),
                evidence,
                static.share,
                strength=config.loss.recovered,
                reject=config.loss.large_loss * evidence.unknown_weight,
            )
            self.learner.learn(
                state,
                lesson,
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

    def _parts(self, evidence: Evidence, static: StaticBlend) -> dict[str, Floats]:
        """What each part says of all entries, (N, C) logits, by its name."""
        names = evidence.views.names(self.text is not None)
        return {
            **dict(zip(names, evidence.values, strict=True)),
            BLEND: static.first,
            ENSEMBLE: static.logits,
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
        self, evidence: Evidence, head: Floats, blended: Floats, entries: Entries
    ) -> dict[str, Any]:
        """Facts for the model run's page, as JSON values."""
        names = evidence.views.names(evidence.context.text is not None)
        views = {**dict(zip(names, evidence.values, strict=True)), "head": head, "blend": blended}
        known = self.labels[entries.rows, entries.columns] != 0
        return {
            "known_present": int((self.labels > 0).sum()),
            "known_absent": int((self.labels < 0).sum()),
            "held_out": int(known.sum()),
            "held_out_ap": {name: pooled_ap(z, entries) for name, z in views.items()},
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

"""Fine-tuning an image tower on known labels: for those who have a GPU.

The recipe is the usual one of multi-label recognition: pictures of 448 pixels varied by
RandAugment and Cutout, AdamW under a one-cycle schedule, an exponential moving average (EMA) of
the weights as the result, and the asymmetric loss. What is unknown is left out of the loss, or
stands for a weak negative as far as known negatives are missing (``unknown_as_negative``).

The tower learns through a small head that is thrown away afterwards: a category's score is the
scaled cosine of its vector with the pooled embedding and with the patches, these weighted by a
softmax over their own scores. The vectors start from the category names, so that what the tower
learns stays near the texts it can be asked with.

Letters: B pictures, C categories, P patches, d width.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clsl_core.adaptation.config import FinetuneConfig
from clsl_core.adaptation.pictures import PictureReader, Pictures
from clsl_core.adaptation.state import TowerTraining
from clsl_core.adaptation.tower import Tower, TowerHead
from clsl_core.arrays import Floats, Ids, Labels
from clsl_core.errors import TrainingError
from clsl_core.recovery.head.losses import asymmetric_loss
from clsl_core.recovery.head.training import one_cycle
from clsl_core.recovery.positive_unlabelled import unknown_as_negative
from clsl_core.statistics.metrics import mean_average_precision
from clsl_core.types import Finetune, Progress, no_progress

__all__ = ["FinetuneConfig", "Finetuned", "Pictures", "TowerHead", "finetune"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finetuned:
    """What came of it.

    Attributes:
        curves: For each epoch its number and mean loss.
        held_out_before, held_out_after: Mean average precision on the pictures kept out, nan
            where they hold too little; with the head as it started and as it ended.
        unusable: Indices of pictures that could not be used.
        part: Pictures that went through the tower at once in the end.
    """

    curves: list[dict[str, float]]
    held_out_before: float
    held_out_after: float
    unusable: list[int]
    part: int


def finetune(
    tower: Tower,
    pictures: Pictures,
    labels: Labels,
    vectors: Floats,
    config: FinetuneConfig,
    *,
    progress: Progress = no_progress,
    resume_dir: Path | None = None,
) -> Finetuned:
    """Train a tower on known labels, then merge it.

    Args:
        tower: Changed in place; frozen and merged when this returns.
        pictures: N of them.
        labels: (N, C) in {-1, 0, +1}.
        vectors: (C, d) category vectors to start from.
        config: How.
        progress: Called at every step; raises to stop the work.
        resume_dir: Where an epoch's checkpoint is kept; what is there is taken up.

    Raises:
        TrainingError: Nothing is known to learn from, or the loss is not finite.
        BackboneError: LORA without peft.
    """
    if not (labels > 0).any():
        raise TrainingError(
            "fine-tuning learns from known labels and there is none PRESENT: decide some first."
        )
    tower.unfreeze(config.mode, config.rank, config.alpha, config.seed)
    with ThreadPoolExecutor(max_workers=4) as pool:
        work = _Finetuning(tower, pictures, labels, vectors, config, progress, pool)
        return work.run(resume_dir)


class _Finetuning:
    """The state of one call of ``finetune``."""

    def __init__(
        self,
        tower: Tower,
        pictures: Pictures,
        labels: Labels,
        vectors: Floats,
        config: FinetuneConfig,
        progress: Progress,
        pool: Executor,
    ) -> None:
        self.tower, self.pictures, self.labels, self.config = tower, pictures, labels, config
        self.progress, self.reader = progress, PictureReader(pictures, config, pool)
        self.unknown_weight = unknown_as_negative(labels, config.recovery)
        teaching = np.arange(len(labels))
        if self.unknown_weight == 0:
            teaching = np.flatnonzero((labels != 0).any(1))
        order = np.random.default_rng(config.seed).permutation(teaching)
        kept = round(config.held_out * len(order))
        self.held_out, self.rows = np.sort(order[:kept]), np.sort(order[kept:])
        self.steps = math.ceil(len(self.rows) / config.batch_size)
        self.head = TowerHead(vectors, _priors(labels, self.unknown_weight)).to(tower.device)
        self.vectors = vectors

    def run(self, resume_dir: Path | None) -> Finetuned:
        """All epochs, the average put in place, the tower merged."""
        torch.manual_seed(self.config.seed)
        self.tower.visual.train()
        fingerprint = self._fingerprint()
        state = self._start()
        if resume_dir is None or not state.resume(resume_dir, fingerprint, self.tower.device):
            self._centre()
            state.average = {n: p.detach().clone() for n, p in state.learning.items()}
            state.before = self._judge("measuring the backbone as it is")
        while state.epoch < self.config.epochs:
            self._epoch(state)
            if resume_dir is not None:
                state.save(resume_dir, fingerprint)
        state.put(state.average)
        after = self._judge("measuring the fine-tuned backbone")
        self.tower.merge()
        self.tower.visual.eval()
        unusable = sorted(self.reader.unusable)
        return Finetuned(state.curves, state.before, after, unusable, state.part)

    def _start(self) -> TowerTraining:
        """A training that has not begun."""
        config = self.config
        rate = config.lora_rate if config.mode is Finetune.LORA else config.full_rate
        parts = {"tower": self.tower.parameters(), "head": dict(self.head.named_parameters())}
        groups = [
            {
                "params": [p for p in parts[part].values() if (p.ndim > 1) is matrices],
                "peak": peak,
                "weight_decay": config.weight_decay if matrices else 0.0,
            }
            for part, peak in (("tower", rate), ("head", config.head_rate))
            for matrices in (True, False)
        ]
        learning = {f"{part}.{n}": p for part, own in parts.items() for n, p in own.items()}
        optimiser = torch.optim.AdamW(groups, lr=rate)
        average = {name: p.detach().clone() for name, p in learning.items()}
        return TowerTraining(learning, average, optimiser, part=config.batch_size)

    @torch.no_grad()
    def _centre(self) -> None:
        """Let the bias bring the mean score of a first batch to the categories' priors."""
        rows = self.rows[:: max(1, len(self.rows) // self.config.batch_size)]
        scores = [
            self.head(*self._through(self.reader.plain(part)))
            for part in _parts(rows, self.config.batch_size)
        ]
        self.head.b.sub_(torch.cat(scores).mean(0) - self.head.b)

    def _epoch(self, state: TowerTraining) -> None:
        """One pass over the pictures, in an order that the seed and the epoch alone decide."""
        seed = self.config.seed * 100_003 + state.epoch
        order = np.random.default_rng(seed).permutation(self.rows)
        batches = np.array_split(order, self.steps)
        losses = []
        for step, (rows, pixels) in enumerate(self.reader.varied(batches, state.epoch)):
            done = state.epoch * self.steps + step
            total = self.config.epochs * self.steps
            self.progress(
                done, total, f"fine-tuning, epoch {state.epoch + 1} of {self.config.epochs}"
            )
            for group in state.optimiser.param_groups:
                group["lr"] = group["peak"] * one_cycle(done / total)
            losses.append(self._step(state, rows, pixels))
            if not math.isfinite(losses[-1]):
                raise TrainingError(
                    f"the loss stopped being a number in epoch {state.epoch + 1} of the "
                    "fine-tuning; a lower learning rate may help."
                )
            state.follow(self.config.ema, done)
        state.epoch += 1
        state.curves.append({"epoch": state.epoch, "loss": float(np.mean(losses))})

    def _step(self, state: TowerTraining, rows: Ids, pixels: Tensor) -> float:
        """One step on a batch, in parts that fit into memory; its loss."""
        loss = None
        while loss is None:
            with suppress(torch.OutOfMemoryError):
                loss = self._gradient(state, rows, pixels)
            if loss is None:
                self._halve(state)
        torch.nn.utils.clip_grad_norm_(state.learning.values(), 1.0)
        state.optimiser.step()
        return loss

    def _halve(self, state: TowerTraining) -> None:
        """After the memory ran out: half as many pictures at once from now on."""
        if state.part == 1:
            raise TrainingError(
                f"a single picture of {self.config.image_size} pixels does not fit into the memory "
                "of the device: choose a smaller backbone or picture size."
            )
        state.part = math.ceil(state.part / 2)
        log.warning("out of memory: going on with %d pictures at once", state.part)
        if self.tower.device.type == "cuda":
            torch.cuda.empty_cache()

    def _gradient(self, state: TowerTraining, rows: Ids, pixels: Tensor) -> float:
        """Sum the gradients of a batch, ``state.part`` pictures at a time."""
        state.optimiser.zero_grad(set_to_none=True)
        labels = torch.from_numpy(self._usable_labels(rows))
        weights = self._weights(labels, rows).to(self.tower.device)
        wanted = (labels > 0).float().to(self.tower.device)
        total = 0.0
        for start in range(0, len(rows), state.part):
            part = slice(start, start + state.part)
            z = self.head(*self._through(pixels[part]))
            loss = (asymmetric_loss(z, wanted[part], self.config.loss) * weights[part]).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def _weights(self, labels: Tensor, rows: Ids) -> Tensor:
        """What each entry of a batch counts: the known ones sum to 1, (B, C).

        Unknown entries sum to what they stand for as negatives: 0 where known negatives abound.
        """
        usable = torch.tensor([row not in self.reader.unusable for row in rows.tolist()]).unsqueeze(
            1
        )
        known = (labels != 0).float()
        unknown = (1 - known) * usable
        share = self.unknown_weight * self.config.loss.weak_negative
        return known / known.sum().clamp_min(1) + share * unknown / unknown.sum().clamp_min(1)

    def _through(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        device = self.tower.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            return self.tower.forward(pixels.to(device, non_blocking=True))

    def _usable_labels(self, rows: Ids) -> Labels:
        """The labels (B, C) of pictures, nothing being known of those that cannot be used."""
        labels = self.labels[rows].copy()
        labels[[row in self.reader.unusable for row in rows.tolist()]] = 0
        return labels

    @torch.no_grad()
    def _judge(self, title: str) -> float:
        """Mean average precision on the pictures kept out, as the tower is now."""
        scores = []
        self.tower.visual.eval()
        for start in range(0, len(self.held_out), self.config.batch_size):
            self.progress(start, len(self.held_out), title)
            rows = self.held_out[start : start + self.config.batch_size]
            for part in _parts(rows, max(1, self.config.batch_size // 4)):
                scores.append(
                    self.head(*self._through(self.reader.plain(part))).float().cpu().numpy()
                )
        self.tower.visual.train()
        labels = self._usable_labels(self.held_out)
        if not (labels > 0).any():
            return float("nan")
        judged = (labels != 0) | (self.unknown_weight > 0)
        return mean_average_precision(labels > 0, np.concatenate(scores), judged)

    def _fingerprint(self) -> str:
        """Of everything the training depends on."""
        found = hashlib.sha256(json.dumps(asdict(self.config)).encode())
        found.update(json.dumps(list(self.pictures.keys)).encode())
        found.update(self.labels.tobytes())
        found.update(self.vectors.tobytes())
        found.update(self.tower.backbone.spec.key.encode())
        return found.hexdigest()


def _priors(labels: Labels, unknown_weight: float) -> Floats:
    """(C,) share of positives, with one of each kind added so that none is 0 or 1."""
    positive = (labels > 0).sum(0)
    counted = (labels != 0).sum(0) + unknown_weight * (labels == 0).sum(0)
    return np.asarray((positive + 1) / (counted + 2), np.float32)


def _parts(rows: Ids, size: int) -> list[Ids]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]

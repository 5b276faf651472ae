"""Gradient training of the head: steps, the EMA teacher, the schedule, checkpoints, warm starts.

What to learn in an epoch is its ``Supervision``; choosing that and judging the result is the
business of ``train``.

Sources: a teacher whose weights are the exponential moving average of the learner's (Mean Teacher,
arXiv 1703.01780); mixing images (mixup, arXiv 1710.09412); the one-cycle schedule (Smith 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clsl_core.arrays import Floats, Ids, Labels
from clsl_core.checkpoint import load_checkpoint, save_checkpoint, select
from clsl_core.compute import Pieces
from clsl_core.errors import InputError, TrainingError
from clsl_core.features import FeatureView
from clsl_core.recovery.config import TrainConfig
from clsl_core.recovery.head.clsl import CLSLHead
from clsl_core.recovery.head.losses import (
    Structure,
    blending_loss,
    expected_positives_loss,
    ranking_loss,
    recovery_loss,
    reject_large_losses,
    structure_loss,
)
from clsl_core.recovery.model import Recovery
from clsl_core.recovery.pseudo_labels import Targets
from clsl_core.recovery.ticker import Ticker

__all__ = [
    "HeadTrainer",
    "Supervision",
    "TrainingState",
    "inherit",
    "one_cycle",
    "resume",
    "save_epoch",
    "start_training",
]

_BY_CATEGORY = (
    "a",
    "b",
    "vectors",
    "patch_out.weight",
    "patch_out.bias",
    "auxiliary.weight",
    "auxiliary.bias",
)


@dataclass(frozen=True)
class Supervision:
    """What one pass over the images teaches.

    Attributes:
        labels: (N, C) in {-1, 0, +1}.
        targets: ỹ and w of the unknown entries.
        priors: (C,) estimated share of positives.
        unknown_weight: How far unknown entries stand for negatives, in [0, 1].
        strength: λ(t).
        reject: Share of the weak negatives with the largest loss to reject.
    """

    labels: Labels
    targets: Targets
    priors: Floats
    unknown_weight: float
    strength: float
    reject: float


@dataclass(frozen=True)
class _Side:
    """One set of labels for a batch: (B, C) each; a mixed batch has two."""

    share: float
    labels: Tensor
    values: Tensor
    weights: Tensor


@dataclass
class TrainingState:
    """The state of a training after some epochs."""

    head: CLSLHead
    teacher: CLSLHead
    optimiser: torch.optim.Optimizer
    best: dict[str, Tensor]
    curves: list[dict[str, float]]
    epoch: int = 0
    best_quality: float = -1.0
    best_epoch: int = 0
    z: Floats | None = None  # (N, C) of the teacher as it is


class HeadTrainer:
    """Takes gradient steps.

    Args:
        features: Of N images.
        config: Rates, sizes, augmentation.
        device: Of torch.
        tick: Called at every step.
    """

    def __init__(
        self, features: FeatureView, config: TrainConfig, device: str, tick: Ticker
    ) -> None:
        self.features, self.config, self.device, self.tick = features, config, device, tick
        count = len(features)
        self.batch = int(np.clip(count // 64, config.batch_size, 8 * config.batch_size))
        self.steps = math.ceil(count / self.batch)
        self._structure: Structure | None = None
        self.pieces = Pieces(self.batch, "training")

    def epochs(self, warm: bool) -> int:
        """How many epochs this collection gets."""
        config = self.config
        cold = int(np.clip(config.max_steps // self.steps, config.min_epochs, config.epochs))
        return max(1, math.ceil(cold * config.warm_epochs)) if warm else cold

    def train_epoch(
        self,
        state: TrainingState,
        supervision: Supervision,
        rate: Callable[[float], float],
        title: str,
        epochs: int,
    ) -> float:
        """One pass over all images.

        Args:
            state: Changed in place; the teacher follows the head.
            supervision: What to learn.
            rate: Learning rate over its peak, from the share of the pass that is done.
            title: For the screen.
            epochs: For the screen: how many there will be.

        Returns:
            The mean loss.

        Raises:
            TrainingError: The loss is not finite.
        """
        seed = self.config.seed * 100_003 + state.epoch
        draw = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        order = torch.randperm(len(self.features), generator=draw).numpy()
        losses = []
        state.head.train()
        if self.config.loss.structure and self._structure is None and bool(state.head.given):
            vectors = state.head.vectors.cpu().numpy()
            self._structure = Structure.of(vectors, self.device)
        for step, rows in enumerate(np.array_split(order, self.steps)):
            self.tick.at(state.epoch * self.steps + step, epochs * self.steps, title)
            for group in state.optimiser.param_groups:
                group["lr"] = self.config.learning_rate * rate(step / self.steps)
            losses.append(self._gradients(state, rows, supervision, draw))
            torch.nn.utils.clip_grad_norm_(state.head.parameters(), 1.0)
            state.optimiser.step()
            _follow(state.teacher, state.head, self.config.ema, state.epoch * self.steps + step)
        state.epoch, state.z = state.epoch + 1, None
        return float(np.mean(losses))

    def _gradients(
        self, state: TrainingState, rows: Ids, supervision: Supervision, draw: torch.Generator
    ) -> float:
        """Gradients of one batch, added up over parts of it once memory ran out.

        Returns:
            The loss.
        """
        losses: list[float] = []

        def descend(parts: list[Ids]) -> None:
            losses.clear()
            state.optimiser.zero_grad(set_to_none=True)
            for part in parts:
                loss = self._loss(state.head, part, supervision, draw) * (len(part) / len(rows))
                losses.append(float(loss.detach()))
                if not math.isfinite(losses[-1]):
                    raise TrainingError(
                        f"the loss stopped being a number in epoch {state.epoch + 1}; lower "
                        f"learning_rate (now {self.config.learning_rate}) and train again."
                    )
                loss.backward()  # type: ignore[no-untyped-call]

        while True:
            count = math.ceil(len(rows) / self.pieces.size)
            parts = np.array_split(rows, count)
            if self.pieces.fits(partial(descend, parts), len(parts[0])):
                return sum(losses)

    def _loss(
        self, head: CLSLHead, rows: Ids, supervision: Supervision, draw: torch.Generator
    ) -> Tensor:
        """Loss of one batch, with token dropout and mix-up of images."""
        tokens = torch.from_numpy(self.features.tokens(rows)).to(self.device).float()
        P = tokens.shape[1]
        kept = max(1, round(P * (1 - self.config.token_dropout)))
        patches = torch.randperm(P, generator=draw)[:kept].sort().values.to(self.device)
        tokens = tokens[:, patches]  # (B, kept, d)
        arrays = (
            supervision.labels[rows],
            supervision.targets.values[rows],
            supervision.targets.weights[rows],
        )
        labels, values, weights = (torch.from_numpy(a).to(self.device) for a in arrays)
        share = self._mixture(draw) if len(rows) > 1 else 1.0
        sides = [_Side(share, labels, values, weights)]
        if share < 1.0:
            # Every loss is a mean over labels, so the loss of a mixture is the mixed loss.
            tokens = share * tokens + (1 - share) * tokens.flip(0)
            sides.append(_Side(1 - share, labels.flip(0), values.flip(0), weights.flip(0)))
        with torch.autocast("cuda", torch.bfloat16, enabled=tokens.is_cuda):
            out = head(tokens, patches)
        parts = [side.share * self._side(out.z1, out.z0, side, supervision, draw) for side in sides]
        return torch.stack(parts).sum()

    def _mixture(self, draw: torch.Generator) -> float:
        """Share of the first image in a mixed batch, 1 where images are not mixed."""
        if float(torch.rand((), generator=draw)) >= self.config.mixup:
            return 1.0
        seed = int(torch.randint(2**31, (), generator=draw))
        alpha = self.config.mixup_alpha
        return float(np.random.default_rng(seed).beta(alpha, alpha))

    def _side(
        self, z1: Tensor, z0: Tensor, side: _Side, supervision: Supervision, draw: torch.Generator
    ) -> Tensor:
        """The loss of both heads against one set of labels."""
        config, labels = self.config.loss, side.labels
        values, weights = reject_large_losses(
            torch.sigmoid(z1),
            labels,
            side.values,
            side.weights,
            supervision.reject,
            config.flip_above,
        )
        loss = recovery_loss(z1, labels, values, weights, supervision.strength, config)
        auxiliary = recovery_loss(z0, labels, values, weights, supervision.strength, config)
        loss = loss + config.auxiliary * auxiliary
        if config.blending and side.share == 1.0:  # pictures that are mixed already are left alone
            blended = blending_loss(
                z1, labels, values, supervision.strength * weights, config, draw
            )
            loss = loss + config.blending * blended
        if self._structure is not None:
            agreed = structure_loss(z1, labels, self._structure, config.structure_strength)
            loss = loss + config.structure * agreed
        if supervision.unknown_weight:
            priors = torch.from_numpy(supervision.priors).to(z1.device)
            count = expected_positives_loss(z1, labels, priors)
            order = ranking_loss(z1, labels, values, config.rivals, draw)
            extra = config.expected_positives * count + config.ranking * order
            loss = loss + supervision.unknown_weight * extra
        return loss


def start_training(head: CLSLHead, config: TrainConfig) -> TrainingState:
    """A training that has not begun."""
    matrices = [p for p in head.parameters() if p.ndim > 1]
    others = [p for p in head.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate)
    best = {name: value.clone() for name, value in head.state_dict().items()}
    return TrainingState(head, deepcopy(head), optimiser, best, [])


def one_cycle(share: float, warm: float = 0.25) -> float:
    """Learning rate over its peak after this share of the training (Smith 2018)."""
    if share < warm:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * share / warm))
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (share - warm) / (1 - warm))))


def save_epoch(directory: Path, state: TrainingState, fingerprint: str) -> None:
    """Write a checkpoint from which ``resume`` goes on exactly."""
    parts = {
        "head": state.head.state_dict(),
        "teacher": state.teacher.state_dict(),
        "best": state.best,
    }
    tensors = {f"{p}.{n}": v.clone() for p, part in parts.items() for n, v in part.items()}
    for index, moments in state.optimiser.state_dict()["state"].items():
        for name, value in moments.items():
            tensors[f"optimiser.{index}.{name}"] = value
    record = {
        "fingerprint": fingerprint,
        "epoch": state.epoch,
        "best_quality": state.best_quality,
        "best_epoch": state.best_epoch,
        "curves": state.curves,
    }
    save_checkpoint(directory, "epoch", tensors, record)


def resume(directory: Path, state: TrainingState, fingerprint: str, device: str) -> None:
    """Take up the checkpoint in ``directory`` where there is a whole one with this fingerprint."""
    try:
        tensors, record = load_checkpoint(directory, "epoch", device)
    except InputError:
        return  # none yet, or cut short by the kill: start from the beginning
    if record["fingerprint"] != fingerprint:
        return
    state.head.load_state_dict(select(tensors, "head."))
    state.teacher.load_state_dict(select(tensors, "teacher."))
    state.best = select(tensors, "best.")
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in select(tensors, "optimiser.").items():
        index, key = name.split(".")
        moments.setdefault(int(index), {})[key] = value
    groups = state.optimiser.state_dict()["param_groups"]
    state.optimiser.load_state_dict({"state": moments, "param_groups": groups})
    state.epoch, state.curves = int(record["epoch"]), list(record["curves"])
    state.best_quality, state.best_epoch = float(record["best_quality"]), int(record["best_epoch"])


@torch.no_grad()
def _follow(teacher: CLSLHead, head: CLSLHead, decay: float, step: int) -> None:
    """Move the teacher's weights towards the head's; faster in the first steps."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    for own, other in zip(teacher.parameters(), head.parameters(), strict=True):
        own.lerp_(other, share)


def inherit(head: CLSLHead, earlier: Recovery) -> bool:
    """Copy an earlier head's weights where they fit; per-category rows go to their categories."""
    old, new = earlier.start, head.state_dict()
    pairs = _matches(earlier.head, head)
    fixed = ("given", "graph.", "text.")
    for name, value in new.items():
        source = old.get(name)
        if source is None or name.startswith(fixed) or (name == "vectors" and bool(head.given)):
            continue
        source = source.to(value.device)
        if name in _BY_CATEGORY and source.shape[1:] == value.shape[1:]:
            value[pairs[:, 1]] = source[pairs[:, 0]]
        elif source.shape == value.shape:
            value.copy_(source)
        elif name in ("patch_in.weight", "token_in.weight"):
            return False
    return True


def _matches(old: CLSLHead, new: CLSLHead) -> Ids:
    """(K, 2) pairs of category numbers, old and new, that are the same category."""
    if bool(old.given) and bool(new.given) and old.vectors.shape[1] == new.vectors.shape[1]:
        places = {row.tobytes(): i for i, row in enumerate(old.vectors.cpu().numpy())}
        found = [
            (places.get(row.tobytes(), -1), i) for i, row in enumerate(new.vectors.cpu().numpy())
        ]
        return np.array([pair for pair in found if pair[0] >= 0], np.int64).reshape(-1, 2)
    both = np.arange(min(len(old.b), len(new.b)))
    return np.stack([both, both], 1)

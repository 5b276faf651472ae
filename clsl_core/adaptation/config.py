"""Everything that decides a fine-tuning, in one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field

from clsl_core.recovery.head.losses import LossConfig
from clsl_core.recovery.positive_unlabelled import RecoveryConfig
from clsl_core.types import Finetune

__all__ = ["FinetuneConfig"]


@dataclass(frozen=True)
class FinetuneConfig:
    """How a tower is trained.

    Attributes:
        mode: LORA or FULL.
        image_size: Side of the pictures in pixels.
        epochs: Passes over the pictures.
        batch_size: Pictures in a step; a GPU that is too small for it does it in parts.
        lora_rate, full_rate, head_rate: Peaks of the one-cycle schedule.
        weight_decay: Of matrices only.
        ema: Decay of the moving average, in steps; faster in the first ones.
        rank, alpha: Of the low-rank updates.
        operations, magnitude: Of RandAugment.
        cutout: Side of the hole over the picture's side.
        held_out: Share of the pictures the tower does not learn from, to compare it before and
            after.
        loss: Of ASL; ``weak_negative`` scales the unknown entries where they stand for negatives.
        recovery: Decides how far they do.
        seed: Of everything random.
    """

    mode: Finetune = Finetune.LORA
    image_size: int = 448
    epochs: int = 10
    batch_size: int = 32
    lora_rate: float = 2e-4
    full_rate: float = 1e-5
    head_rate: float = 1e-3
    weight_decay: float = 0.01
    ema: float = 0.999
    rank: int = 8
    alpha: float = 16.0
    operations: int = 2
    magnitude: int = 9
    cutout: float = 0.5
    held_out: float = 0.1
    loss: LossConfig = field(default_factory=LossConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    seed: int = 0

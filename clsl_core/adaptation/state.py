"""The state of a tower's training, and its checkpoint after each epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from clsl_core.checkpoint import load_checkpoint, save_checkpoint, select
from clsl_core.errors import InputError

__all__ = ["TowerTraining"]


@dataclass
class TowerTraining:
    """A training after some epochs.

    Attributes:
        learning: What learns, by name.
        average: Its exponential moving average.
        optimiser: Of what learns.
        epoch: Epochs done.
        part: Pictures that go through the tower at once.
        curves: For each epoch its number and mean loss.
        before: Mean average precision on the pictures kept out, before the first epoch.
    """

    learning: dict[str, nn.Parameter]
    average: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    epoch: int = 0
    part: int = 0
    curves: list[dict[str, float]] = field(default_factory=list)
    before: float = float("nan")

    @torch.no_grad()
    def follow(self, decay: float, step: int) -> None:
        """Move the average towards the weights; faster in the first steps."""
        share = 1 - min(decay, (1 + step) / (10 + step))
        for name, parameter in self.learning.items():
            self.average[name].lerp_(parameter, share)

    @torch.no_grad()
    def put(self, tensors: dict[str, Tensor]) -> None:
        """Give what learns these values."""
        for name, parameter in self.learning.items():
            parameter.copy_(tensors[name])

    def save(self, directory: Path, fingerprint: str) -> None:
        """Write a checkpoint from which the training goes on exactly."""
        tensors = {f"now.{n}": p.detach() for n, p in self.learning.items()}
        tensors |= {f"average.{n}": value for n, value in self.average.items()}
        for index, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
        record = {
            "fingerprint": fingerprint,
            "epoch": self.epoch,
            "part": self.part,
            "curves": self.curves,
            "before": self.before,
        }
        save_checkpoint(directory, "tower", tensors, record)

    def resume(self, directory: Path, fingerprint: str, device: torch.device) -> bool:
        """Take up a whole checkpoint with this fingerprint; whether there was one."""
        try:
            tensors, record = load_checkpoint(directory, "tower", str(device))
        except InputError:
            return False  # none yet, or cut short by a kill
        if record["fingerprint"] != fingerprint:
            return False
        self.put(select(tensors, "now."))
        self.average = select(tensors, "average.")
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in select(tensors, "optimiser.").items():
            index, key = name.split(".")
            # The count of steps is kept where AdamW keeps it, whatever the device.
            moments.setdefault(int(index), {})[key] = value.cpu() if key == "step" else value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.epoch, self.part = int(record["epoch"]), int(record["part"])
        self.curves, self.before = list(record["curves"]), float(record["before"])
        return True

"""Everything that decides a training, in one frozen dataclass saved beside the model.

Saved configurations keep the names that the parts had when the first was saved (``_STORED``), so
that every model and run opens, whichever release wrote it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, get_type_hints

from clsl_core.errors import InputError
from clsl_core.recovery.base_models import BaseModelConfig
from clsl_core.recovery.calibration import CalibrationConfig
from clsl_core.recovery.head.clsl import ModelConfig
from clsl_core.recovery.head.losses import LossConfig
from clsl_core.recovery.label_correlation import LabelCorrelationConfig
from clsl_core.recovery.label_graph import GraphConfig
from clsl_core.recovery.positive_unlabelled import RecoveryConfig
from clsl_core.recovery.self_training import SelfTrainingConfig

__all__ = ["TrainConfig"]

_STORED = {
    "base_models": "views",
    "self_training": "students",
    "label_correlation": "context",
    "stacking_entries": "blend_entries",
}
"""What fields are called where they are saved, where that is not their own name."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training; saved beside the model.

    Attributes:
        model, graph, loss, base_models, self_training, label_correlation, recovery, calibration:
            The parts' configurations.
        seed: Of everything random.
        use_head: Train the head; without it the base models alone are stacked.
        epochs: Of the head, at most ...
        max_steps: ... and about this many steps, but min_epochs in any case.
        min_epochs: See above.
        batch_size: Images in a step; grows to 8 times that on large collections.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: Of matrices only.
        ema: Decay of the teacher's weights.
        ramp: Share of the training after which λ(t) has its full strength.
        token_dropout: Share of the patches left out of each step.
        mixup: Share of the steps that mix images pairwise; mixup_alpha shapes the mixture.
        mixup_alpha: See above.
        refit: Length of the final pass over all known labels, as a share of the chosen epoch.
        warm_epochs: Share of the epochs a warm start takes.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    graph: GraphConfig = field(default_factory=GraphConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    base_models: BaseModelConfig = field(default_factory=BaseModelConfig)
    self_training: SelfTrainingConfig = field(default_factory=SelfTrainingConfig)
    label_correlation: LabelCorrelationConfig = field(default_factory=LabelCorrelationConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    seed: int = 0
    use_head: bool = True
    epochs: int = 20
    max_steps: int = 600
    min_epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    ema: float = 0.98
    ramp: float = 0.3
    token_dropout: float = 0.2
    mixup: float = 0.5
    mixup_alpha: float = 0.4
    refit: float = 0.25
    warm_epochs: float = 0.15

    def to_json(self) -> str:
        """The configuration as JSON."""
        return json.dumps(asdict(self, dict_factory=_to_record))

    @classmethod
    def from_json(cls, text: str) -> TrainConfig:
        """Read what ``to_json`` wrote; parts left out keep their defaults.

        Raises:
            InputError: Not JSON, or a name that no part has.
        """
        try:
            config = _from_record(cls, json.loads(text))
        except (ValueError, TypeError) as error:
            raise InputError(f"this is not a training configuration: {error}.") from error
        assert isinstance(config, cls)
        return config


def _to_record(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of one dataclass by the names they are saved under."""
    return {_STORED.get(name, name): value for name, value in items}


def _from_record(kind: type[Any], record: dict[str, Any]) -> Any:
    """A dataclass from its asdict, nested ones and tuples included."""
    hints = get_type_hints(kind)
    names = {_STORED.get(part.name, part.name): part.name for part in fields(kind)}
    if not set(record) <= set(names):
        raise ValueError(f"{kind.__name__} has the fields {sorted(names)}, got {record!r}")
    values = {}
    for stored, value in record.items():
        name = names[stored]
        part = hints[name]
        if isinstance(part, type) and is_dataclass(part):
            values[name] = _from_record(part, value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)

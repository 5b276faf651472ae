"""A Recovery on disk: recovery.json and one safetensors file, all of it or nothing.

What is saved keeps the names of the first release (``views`` are the base models, ``students`` what
self-trained, ``labels`` label correlation, ``blend`` and ``stack`` the weights of stacking,
``known_share`` the label frequency), so that every model opens.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clsl_core.checkpoint import load_checkpoint, save_checkpoint, select
from clsl_core.errors import InputError
from clsl_core.recovery.base_models import BaseModelConfig, BaseModels
from clsl_core.recovery.config import TrainConfig
from clsl_core.recovery.head.clsl import CLSLHead, ModelConfig
from clsl_core.recovery.judging import WHOLE
from clsl_core.recovery.label_correlation import LabelCorrelation
from clsl_core.recovery.label_graph import LabelGraph
from clsl_core.recovery.model import Recovery
from clsl_core.recovery.patch_linear import PatchConfig
from clsl_core.recovery.positive_unlabelled import Regime
from clsl_core.recovery.self_training import SelfTraining, plain_joint
from clsl_core.recovery.stacking import PooledLogistic
from clsl_core.recovery.text_prior import TextPrior

__all__ = ["load_recovery", "save_recovery"]

_VERSION = 3
_READABLE = (2, 3)  # models of version 2 that had text are not: their text score saturated


def save_recovery(recovery: Recovery, directory: Path) -> None:
    """Write recovery.json and one safetensors file into ``directory``."""
    record = {
        "version": _VERSION,
        "config": json.loads(recovery.config.to_json()),
        "grid": list(recovery.grid),
        "text": recovery.text is not None,
        "regime": recovery.regime.value,
        "views": {
            "config": asdict(recovery.base_models.config),
            "unknown_weight": recovery.base_models.unknown_weight,
        },
        "known_share": recovery.label_frequency,
        "ordered_by": recovery.ordered_by,
        "metrics": recovery.metrics,
        "curves": recovery.curves,
    }
    save_checkpoint(directory, "recovery", _tensors(recovery), record)


def load_recovery(directory: Path, device: str | None = None) -> Recovery:
    """Read what ``save_recovery`` wrote.

    Raises:
        InputError: A file is missing or damaged, or another version of the program wrote it.
    """
    tensors, record = load_checkpoint(directory, "recovery")
    version = record.get("version")
    if version not in _READABLE or (version == 2 and record.get("text")):
        raise InputError(
            f"{directory} holds a model of version {version}"
            f"{' that scored words otherwise' if version in _READABLE else ''}, expected "
            f"{_VERSION}; train again."
        )
    try:
        return _recovery(tensors, record, device or "cpu")
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{directory}/recovery.json does not describe a model ({error!r}); train again."
        ) from error


def _recovery(tensors: dict[str, Tensor], record: dict[str, Any], device: str) -> Recovery:
    config = TrainConfig.from_json(json.dumps(record["config"]))
    grid = (int(record["grid"][0]), int(record["grid"][1]))
    text = _load_text(select(tensors, "text.")) if record["text"] else None
    joint = _load_logistic("joint", tensors)
    return Recovery(
        config=config,
        text=None if text is None else text.to(device),
        head=_load_head(config.model, grid, text, tensors).to(device),
        base_models=_load_base_models(record["views"], tensors),
        stacking=_required("blend", tensors),
        self_training=(
            SelfTraining(**{"text_slope": np.zeros(1, np.float32), **_arrays("students", tensors)})
            if "students.linear" in tensors
            else None
        ),
        label_frequency=float(record.get("known_share", 1.0)),
        joint=joint or plain_joint(config.self_training.share, tensors["labels.prior"].numel()),
        label_correlation=LabelCorrelation(
            **_arrays("labels", tensors), guess=config.label_correlation.guess
        ),
        head_stacking=_required("stack", tensors),
        ordered_by=str(record.get("ordered_by", WHOLE)),
        calibration=_load_logistic("calibration", tensors),
        grid=grid,
        regime=Regime(record["regime"]),
        metrics=record["metrics"],
        curves=record["curves"],
        start=select(tensors, "start."),
    )


def _tensors(recovery: Recovery) -> dict[str, Tensor]:
    tensors = {f"head.{name}": value for name, value in recovery.head.state_dict().items()}
    tensors.update({f"start.{name}": value for name, value in recovery.start.items()})
    if recovery.text is not None:
        tensors.update({f"text.{n}": value for n, value in recovery.text.state_dict().items()})
    holders = {
        "views": recovery.base_models,
        "students": recovery.self_training,
        "labels": recovery.label_correlation,
    }
    for name, holder in holders.items():
        for part in fields(holder) if holder is not None else ():
            value = getattr(holder, part.name)
            if isinstance(value, np.ndarray):
                tensors[f"{name}.{part.name}"] = torch.from_numpy(np.array(value))
    maps = {
        "blend": recovery.stacking,
        "joint": recovery.joint,
        "stack": recovery.head_stacking,
        "calibration": recovery.calibration,
    }
    for name, map_ in maps.items():
        if map_ is not None:
            tensors[f"{name}.pooled"] = torch.from_numpy(map_.pooled)
            tensors[f"{name}.deviations"] = torch.from_numpy(map_.deviations)
    return tensors


def _load_text(state: dict[str, Tensor]) -> TextPrior:
    text = TextPrior(state["words"].numpy(), state["others"].numpy())
    text.load_state_dict(state)
    return text


def _load_head(
    config: ModelConfig, grid: tuple[int, int], text: TextPrior | None, tensors: dict[str, Tensor]
) -> CLSLHead:
    state = select(tensors, "head.")
    state.pop("background", None)  # of version 2, where the head held what the text prior holds
    graph = None
    if "graph.index" in state:
        graph = LabelGraph(state["graph.index"].numpy(), state["graph.weight"].numpy())
    learned = not bool(state["given"])
    head = CLSLHead(
        config,
        grid,
        len(state["token_mean"]),
        np.full(len(state["b"]), 0.5, np.float32),
        vectors=None if learned else state["vectors"].numpy(),
        graph=graph,
        text=text,
    )
    head.load_state_dict(state)
    return head


def _load_base_models(record: dict[str, Any], tensors: dict[str, Tensor]) -> BaseModels:
    found: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in record["config"].items()
    }
    config = BaseModelConfig(**{**found, "patches": PatchConfig(**found["patches"])})
    weight = float(record["unknown_weight"])
    none = np.zeros(1, np.float32)  # version 2 had no slopes, and no text where it is read
    arrays = {"text_slope": none, "patch_text_slope": none, **_arrays("views", tensors)}
    return BaseModels(config=config, unknown_weight=weight, **arrays)


def _arrays(name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {part: value.numpy() for part, value in select(tensors, f"{name}.").items()}


def _required(name: str, tensors: dict[str, Tensor]) -> PooledLogistic:
    found = _load_logistic(name, tensors)
    if found is None:
        raise KeyError(name)
    return found


def _load_logistic(name: str, tensors: dict[str, Tensor]) -> PooledLogistic | None:
    if f"{name}.pooled" not in tensors:
        return None
    return PooledLogistic(tensors[f"{name}.pooled"].numpy(), tensors[f"{name}.deviations"].numpy())

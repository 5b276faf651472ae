"""Fine-tuning: a backbone of the dataset's own, made from what is known now."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from app.services.pictures.places import images_of
from app.services.workspace import Workspace
from clsl_core.errors import TrainingError
from clsl_core.files import atomic_file, atomic_text, load_array, load_object
from clsl_core.types import Finetune, JsonObject, LabelMatrix, Progress, no_progress
from db.models import Dataset
from db.queries import datasets, images, labels, stored

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow

    from clsl_core.pictures.loading import ImageLoader

__all__ = ["FinetuneRequest", "finetune_backbone", "forget_job"]


@dataclass(frozen=True, slots=True)
class FinetuneRequest:
    """What a training is asked to do with the backbone first.

    Attributes:
        mode: NONE leaves it as it is.
        epochs: Passes over the pictures.
        image_size: Side of the pictures in pixels.
    """

    mode: Finetune = Finetune.NONE
    epochs: int = 10
    image_size: int = 448

    @classmethod
    def from_payload(cls, payload: JsonObject) -> FinetuneRequest:
        """Read a job's payload; what it does not name keeps its default."""
        asked = payload.get("finetune") or {}
        return cls(**{**asked, "mode": Finetune(asked.get("mode", Finetune.NONE))})

    def to_json(self) -> JsonObject:
        """For a job's payload."""
        return {"mode": self.mode.value, "epochs": self.epochs, "image_size": self.image_size}


@dataclass(frozen=True)
class _Start:
    """What a fine-tuning starts from; kept as it was then, so that it can be taken up exactly.

    ``files`` and ``keys`` (fingerprints) belong to the N pictures, ``names`` to the C categories.
    """

    backbone: str
    pretrained: str | None
    files: list[str]
    keys: list[str]
    names: list[str]
    labels: npt.NDArray[np.int8]  # (N, C)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / "labels.npy") as file:
            np.save(file, self.labels, allow_pickle=False)
        words = {name: getattr(self, name) for name in _WORDS}
        with atomic_text(folder / "lesson.json") as text:
            json.dump(words, text)

    @classmethod
    def read(cls, folder: Path) -> _Start | None:
        words = load_object(folder / "lesson.json")
        labels = load_array(folder / "labels.npy", 2)
        return None if words is None or labels is None else cls(**words, labels=labels)


_WORDS = ("backbone", "pretrained", "files", "keys", "names")


class _Pictures:
    """The pictures that a fine-tuning starts from, as clsl_core.adaptation.finetune wants them."""

    def __init__(self, start: _Start, loader: ImageLoader, image_size: int) -> None:
        self.keys: Sequence[str] = start.keys
        self._files, self._loader, self._size = start.files, loader, image_size

    def load(self, index: int) -> Pillow:
        """See Pictures."""
        return self._loader.load(self._files[index], self._size)


def finetune_backbone(
    workspace: Workspace,
    dataset_id: int,
    request: FinetuneRequest,
    job_id: int | None = None,
    progress: Progress = no_progress,
) -> JsonObject:
    """Fine-tune the dataset's backbone and let the dataset use the result from now on.

    A job that was interrupted goes on after its last epoch, from the labels it began with; one
    that was interrupted later does not tune its result once more.

    Raises:
        BackboneError: The backbone cannot be loaded or has nothing that can be trained.
        TrainingError: Nothing is known to learn from, or there are no pictures.
    """
    home = workspace.data_dir / "backbones" / str(dataset_id)
    scratch = home / f"job-{job_id}"
    done = scratch / "done.json"
    outcome = None if job_id is None else load_object(done)
    if outcome is None:
        progress(0, 1, "reading labels")
        start = _Start.read(scratch) if job_id is not None else None
        if start is None:
            start = _collect(workspace, dataset_id)
            start.write(scratch)
        outcome = _tune(workspace, dataset_id, start, request, home, scratch, progress)
        with atomic_text(done) as text:
            json.dump(outcome, text)
    with workspace.database.write(dataset_id) as session:
        dataset = stored.one(session, Dataset, dataset_id)
        dataset.backbone, dataset.pretrained = outcome["backbone"], outcome["pretrained"]
    return outcome


def forget_job(workspace: Workspace, dataset_id: int, job_id: int | None) -> None:
    """Remove what a job keeps to be taken up; the backbone it made stays."""
    folder = workspace.data_dir / "backbones" / str(dataset_id) / f"job-{job_id}"
    shutil.rmtree(folder, ignore_errors=True)


def _collect(workspace: Workspace, dataset_id: int) -> _Start:
    """Read what is known of a dataset, in one transaction."""
    with workspace.database.read() as session:
        dataset = stored.one(session, Dataset, dataset_id)
        rows = images.files(session, dataset_id)
        if not rows:
            raise TrainingError(f"{dataset.name!r} has no pictures to learn from: import some")
        categories = datasets.categories(session, dataset_id)
        matrix = LabelMatrix.from_triples(
            [row.id for row in rows],
            [category.id for category in categories],
            labels.triples(session, dataset_id),
        )
        return _Start(
            dataset.backbone,
            dataset.pretrained,
            [row.file_name for row in rows],
            [f"{row.id}-{row.fingerprint}" for row in rows],
            [category.name for category in categories],
            matrix.values,
        )


def _tune(
    workspace: Workspace,
    dataset_id: int,
    start: _Start,
    request: FinetuneRequest,
    home: Path,
    scratch: Path,
    progress: Progress,
) -> JsonObject:
    """Train, merge, write; a record of it as JSON values."""
    from clsl_core.adaptation.finetune import FinetuneConfig, finetune
    from clsl_core.adaptation.tower import Tower

    progress(0, 1, "loading the backbone")
    config = FinetuneConfig(mode=request.mode, epochs=request.epochs, image_size=request.image_size)
    device = workspace.settings.device
    tower = Tower.load(start.backbone, start.pretrained, config.image_size, device)
    with workspace.database.read() as session:
        loader = images_of(workspace, stored.one(session, Dataset, dataset_id))
    outcome = finetune(
        tower,
        _Pictures(start, loader, config.image_size),
        start.labels,
        tower.backbone.encode_categories(start.names),
        config,
        progress=progress,
        resume_dir=scratch,
    )
    path = tower.save(home)
    before, after = outcome.held_out_before, outcome.held_out_after
    return {
        "backbone": tower.settings["model"],
        "pretrained": str(path.absolute()),
        "before": {"backbone": start.backbone, "pretrained": start.pretrained},
        "held_out_before": None if math.isnan(before) else before,
        "held_out_after": None if math.isnan(after) else after,
        "curves": outcome.curves,
        "unusable": len(outcome.unusable),
        "message": _told(start, before, after, path),
    }


def _told(start: _Start, before: float, after: float, path: Path) -> str:
    """One sentence on what came of it, and the way back where it did harm."""
    told = f"fine-tuned backbone {path.name}"
    if math.isnan(before) or math.isnan(after):
        return told
    told += f": mean average precision on pictures kept out {before:.3f} before, {after:.3f} after"
    if after < before:
        weights = f" --pretrained {start.pretrained}" if start.pretrained else ""
        told += (
            f"; it did harm: go back with `clsl embed NAME --backbone {start.backbone}{weights}`"
        )
    return told

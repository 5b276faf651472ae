"""How a dataset's category names are put into words for the text tower.

Normally by neutral sentences. Descriptions from a file and learned context words come on top;
both are kept in the data directory, the context beside the features it was learned on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from app.services.workspace import Workspace
from clsl_core.errors import BackboneError, InputError
from clsl_core.files import atomic_file, atomic_text, load_array, load_object
from clsl_core.types import JsonObject, LabelMatrix, Progress
from db.models import EmbeddingRun
from db.queries import datasets, labels, stored

if TYPE_CHECKING:
    from clsl_core.adaptation.prompts import PromptReader
    from clsl_core.backbones.spec import Backbone
    from clsl_core.features import FeatureView

__all__ = [
    "CategoryText",
    "forget_context",
    "forget_descriptions",
    "keep_descriptions",
    "learn_prompts",
]

_CONTEXT = "prompt-context.npy"


@dataclass(frozen=True)
class CategoryText:
    """The words for a dataset's categories.

    Attributes:
        descriptions: Sentences by category name; may be empty.
        context: (4, w) learned word vectors, or None for the neutral sentences.
    """

    descriptions: dict[str, list[str]]
    context: npt.NDArray[np.float32] | None

    @classmethod
    def of(cls, workspace: Workspace, dataset_id: int, features: Path) -> CategoryText:
        """What is kept for a dataset and the features in a folder."""
        file, context = _descriptions(workspace, dataset_id), features / _CONTEXT
        return cls(load_object(file) or {}, load_array(context, 2))

    def digest(self, words: Sequence[str]) -> str:
        """Sixteen hex digits of the words and of how they are put."""
        found = hashlib.sha256(json.dumps(list(words)).encode())
        if self.descriptions:
            found.update(json.dumps(self.descriptions, sort_keys=True).encode())
        if self.context is not None:
            found.update(self.context.tobytes())
        return found.hexdigest()[:16]

    def encode(
        self, backbone: Backbone, names: Sequence[str], others: Sequence[str]
    ) -> npt.NDArray[np.float32] | None:
        """Unit vectors (C + K, d) of category names and other words; None without a text tower."""
        from clsl_core.backbones.descriptions import blend_descriptions

        vectors = backbone.encode_categories([*names, *others])
        if vectors is None:
            return None
        own = vectors[: len(names)]
        if self.context is not None:
            import torch

            reader = _reader(backbone)
            own = reader.vectors(names, torch.from_numpy(self.context))
        own = blend_descriptions(backbone, names, own, self.descriptions)
        return np.concatenate([own, vectors[len(names) :]])


def keep_descriptions(workspace: Workspace, dataset_id: int, file: Path) -> list[str]:
    """Take a file of descriptions for a dataset, in the place of an earlier one.

    Returns:
        The names in it that are no category of the dataset.

    Raises:
        InputError: It cannot be read, or describes no category of the dataset.
    """
    from clsl_core.backbones.descriptions import read_descriptions

    found = read_descriptions(file)
    with workspace.database.read() as session:
        names = {row.name for row in datasets.categories(session, dataset_id)}
    unknown = [name for name in found if name not in names]
    if len(unknown) == len(found):
        raise InputError(
            f"{file} describes no category of this dataset; its names: {', '.join(unknown[:5])}."
        )
    path = _descriptions(workspace, dataset_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_text(path) as text:
        json.dump(found, text, ensure_ascii=True)
    return unknown


def forget_descriptions(workspace: Workspace, dataset_id: int) -> None:
    """Go back to the names alone."""
    _descriptions(workspace, dataset_id).unlink(missing_ok=True)


def forget_context(workspace: Workspace, run_id: int) -> None:
    """Go back to the neutral sentences."""
    with workspace.database.read() as session:
        folder = workspace.data_dir / stored.one(session, EmbeddingRun, run_id).directory
    (folder / _CONTEXT).unlink(missing_ok=True)


def learn_prompts(
    workspace: Workspace,
    run_id: int,
    backbone: Backbone,
    features: FeatureView,
    image_ids: Sequence[int],
    progress: Progress,
) -> JsonObject:
    """Learn context words for an embedding run; kept only where they do better than sentences.

    Returns:
        ``message`` and the mean average precisions ``before`` and ``after`` on images kept out.

    Raises:
        BackboneError: The backbone has no text tower of open_clip's own.
        TrainingError: Nothing is known to learn from.
    """
    from clsl_core.adaptation.prompts import PromptConfig, learn_context
    from clsl_core.backbones.choice import BACKGROUND_WORDS

    with workspace.database.read() as session:
        run = stored.one(session, EmbeddingRun, run_id)
        folder = workspace.data_dir / run.directory
        categories = datasets.categories(session, run.dataset_id)
        names, ids = [row.name for row in categories], [row.id for row in categories]
        matrix = LabelMatrix.from_triples(image_ids, ids, labels.triples(session, run.dataset_id))
    taken = {name.lower() for name in names}
    background = [word for word in BACKGROUND_WORDS if word not in taken]
    found = learn_context(
        _reader(backbone), features, matrix.values, names, background, PromptConfig(), progress
    )
    figures = f"{found.before:.3f} with sentences, {found.after:.3f} with learned prompts"
    if not found.better:
        (folder / _CONTEXT).unlink(missing_ok=True)
        message = f"prompts not kept: mean average precision on images kept out {figures}"
    else:
        with atomic_file(folder / _CONTEXT) as file:
            np.save(file, found.context, allow_pickle=False)
        message = f"prompts learned: mean average precision on images kept out {figures}"
    return {"message": message, "kept": found.better}


def _reader(backbone: Backbone) -> PromptReader:
    from clsl_core.adaptation.prompts import PromptReader
    from clsl_core.backbones.open_clip import OpenClipBackbone

    if not isinstance(backbone, OpenClipBackbone):
        raise BackboneError(
            f"{backbone.spec.name} cannot learn prompts: choose an open_clip model, for instance "
            "with `clsl embed NAME --backbone ViT-B-16`."
        )
    return PromptReader(backbone)


def _descriptions(workspace: Workspace, dataset_id: int) -> Path:
    return workspace.data_dir / "descriptions" / f"{dataset_id}.json"

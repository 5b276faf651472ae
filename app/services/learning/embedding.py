"""Embedding: every usable picture becomes patch tokens, kept shard by shard."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.services.jobs.table import JobContext
from app.services.learning.category_text import CategoryText, forget_context, learn_prompts
from app.services.learning.losses import LostPictures, require_features
from app.services.pictures.places import images_of
from app.services.workspace import Workspace
from clsl_core.errors import ImageError, TrainingError
from clsl_core.files import DamagedFile, atomic_file, load_array
from clsl_core.types import JsonObject, Progress, no_progress
from db.models import (
    Dataset,
    EmbeddingRun,
    ImageStatus,
    RunStatus,
)
from db.queries import datasets, images, runs, stored
from db.queries.images import ImageFile
from db.types import now

if TYPE_CHECKING:
    from PIL.Image import Image as Pillow

    from clsl_core.backbones.spec import Backbone, ImageFeatures
    from clsl_core.features import FeatureStore, FeatureView
    from clsl_core.pictures.loading import ImageLoader

log = logging.getLogger(__name__)

SHARD_IMAGES = 256
READ_BATCH = 32
ENCODE_BATCH = 32
ENOUGH = 1024
"""Pixels of a side: more than any backbone reads, and what is held of a batch stays bounded."""
ENCODE_BATCH_CPU = 8  # about a second's work, so that a cancel is heard soon


def run_embed(workspace: Workspace, context: JobContext) -> JsonObject:
    """Job handler of JobKind.EMBED."""
    payload = context.job.payload
    return embed(
        workspace,
        context.dataset_id,
        payload.get("backbone"),
        payload.get("pretrained"),
        context.progress,
        prompts=payload.get("prompts"),
        accept_missing=payload.get("accept_missing") is True,
    )


def embed(
    workspace: Workspace,
    dataset_id: int,
    backbone_name: str | None = None,
    pretrained: str | None = None,
    progress: Progress = no_progress,
    *,
    prompts: str | None = None,
    accept_missing: bool = False,
) -> JsonObject:
    """Embed every image that has no features of this backbone yet.

    Pictures that cannot be used are marked with their reason; the rest goes on.

    Args:
        workspace: Where the dataset is.
        dataset_id: Which.
        backbone_name: None for the dataset's own.
        pretrained: Its weights.
        progress: Called all the while; raises to stop.
        prompts: ``learned`` learns context words for the category names, ``sentences`` goes back
            to the neutral sentences, None leaves it as it is.
        accept_missing: Go on though most pictures that could be used before are gone.

    Raises:
        BackboneError: The backbone cannot be loaded.
        TrainingError: No picture at all could be used, or most that could be before are gone.
    """
    from clsl_core.backbones.choice import choose_backbone

    progress(0, 1, "loading the backbone")
    with workspace.database.read() as session:
        dataset = stored.one(session, Dataset, dataset_id)
        name, weights = dataset.backbone, dataset.pretrained
        loader = images_of(workspace, dataset)
        pictures = images.files(session, dataset_id)
        usable = {picture.id for picture in pictures if picture.fingerprint is not None}
        lost = LostPictures(dataset.name, usable, accept_missing)
    if backbone_name is not None:
        name, weights = backbone_name, pretrained
    weights = _here(workspace, dataset_id, weights)
    backbone, notice = choose_backbone(name, weights, workspace.settings.device)
    with workspace.database.write(dataset_id) as session:
        dataset = stored.one(session, Dataset, dataset_id)
        dataset.backbone, dataset.pretrained = name, weights
    run_id, was_ready, store = _open_embedding_run(workspace, dataset_id, backbone, notice)
    try:
        store.drop_damaged()
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            embedder = _Embedder(loader, store, backbone, pool, _device(workspace))
            for start in range(0, len(pictures), SHARD_IMAGES):

                def tick(done: int, start: int = start) -> None:
                    progress(start + done, len(pictures), f"embedding with {backbone.spec.name}")

                outcome = embedder.embed(pictures[start : start + SHARD_IMAGES], tick)
                _note_pictures(workspace, dataset_id, lost.without(outcome))
        _note_pictures(workspace, dataset_id, lost.held)
        result = _finish_embedding(workspace, dataset_id, run_id, notice)
        if prompts is not None:
            result["message"] += _word(workspace, run_id, backbone, prompts, progress)
        text_vectors(workspace, run_id, backbone)
    except BaseException:
        _break_off(workspace, run_id, was_ready)
        raise
    return result


def _word(
    workspace: Workspace, run_id: int, backbone: Backbone, prompts: str, progress: Progress
) -> str:
    """Learn context words, or forget them; what to add to the message."""
    if prompts != "learned":
        forget_context(workspace, run_id)
        return ""
    with workspace.database.read() as session:
        features, ids = usable_features(
            workspace, session, stored.one(session, EmbeddingRun, run_id)
        )
    learned = learn_prompts(workspace, run_id, backbone, features, ids, progress)
    return f"; {learned['message']}"


class _Embedder:
    """Reads pictures on several threads, encodes them in batches, keeps them shard by shard."""

    def __init__(
        self,
        loader: ImageLoader,
        store: FeatureStore,
        backbone: Backbone,
        pool: Executor,
        device: str,
    ) -> None:
        from clsl_core.compute import Pieces

        self._loader = loader
        self._store = store
        self._backbone = backbone
        self._pool = pool
        size = ENCODE_BATCH_CPU if device == "cpu" else ENCODE_BATCH
        self._pieces = Pieces(size, "reading pictures")

    def embed(
        self, pictures: Sequence[ImageFile], tick: Callable[[int], None]
    ) -> dict[int, str | ImageError]:
        """Embed those of one shard that are new.

        Returns:
            For each picture's id its fingerprint, or why it cannot be used.
        """
        outcome: dict[int, str | ImageError] = {}
        keys: list[str] = []
        parts: list[ImageFeatures] = []
        tick(0)
        for start in range(0, len(pictures), READ_BATCH):
            batch = pictures[start : start + READ_BATCH]
            fresh: list[Pillow] = []
            for picture, (found, image) in zip(
                batch, self._pool.map(self._load, batch), strict=True
            ):
                tick(start)
                outcome[picture.id] = found
                if image is not None and isinstance(found, str):
                    fresh.append(image)
                    keys.append(_feature_key(picture.id, found))
            parts += self._encode(fresh, partial(tick, start))
            tick(start + len(batch))
        if keys:
            self._store.append(keys, _concatenate(parts))
        return outcome

    def _encode(self, pictures: Sequence[Pillow], tick: Callable[[], None]) -> list[ImageFeatures]:
        """The features of some pictures, in as many parts as memory asks for."""
        parts: list[ImageFeatures] = []

        def encode(part: slice) -> None:
            tick()
            parts.append(self._backbone.encode_images(pictures[part]))

        self._pieces.run(len(pictures), encode)
        return parts

    def _load(self, picture: ImageFile) -> tuple[str | ImageError, Pillow | None]:
        """A picture's fingerprint, and the picture itself where its features are missing."""
        try:
            fingerprint = self._loader.fingerprint(picture.file_name)
            if not self._store.missing([_feature_key(picture.id, fingerprint)]):
                return fingerprint, None
            return fingerprint, self._loader.load(picture.file_name, at_least=ENOUGH)
        except ImageError as error:
            return error, None


def _device(workspace: Workspace) -> str:
    import torch

    return workspace.settings.device or ("cuda" if torch.cuda.is_available() else "cpu")


def _feature_key(image_id: int, fingerprint: str) -> str:
    return f"{image_id}-{fingerprint}"


def _concatenate(parts: Sequence[ImageFeatures]) -> ImageFeatures:
    from clsl_core.backbones.spec import ImageFeatures

    return ImageFeatures(
        np.concatenate([part.tokens for part in parts]),
        np.concatenate([part.pooled for part in parts]),
    )


def _note_pictures(
    workspace: Workspace, dataset_id: int, outcome: Mapping[int, str | ImageError]
) -> None:
    rows: list[JsonObject] = []
    for image_id, found in outcome.items():
        failed = isinstance(found, ImageError)
        rows.append(
            {
                "id": image_id,
                "status": ImageStatus.PROBLEM if failed else ImageStatus.OK,
                "reason": found.reason if isinstance(found, ImageError) else None,
                "problem": str(found) if failed else None,
                "fingerprint": None if failed else found,
            }
        )
    if not rows:
        return
    with workspace.database.write(dataset_id) as session:
        images.change(session, rows)


def _open_embedding_run(
    workspace: Workspace, dataset_id: int, backbone: Backbone, notice: str | None
) -> tuple[int, bool, FeatureStore]:
    """The run's id, whether it was complete before, and its store."""
    from clsl_core.features import FeatureStore

    spec = backbone.spec
    folder = f"features/{dataset_id}/{spec.key}"
    store = FeatureStore.open(workspace.data_dir / folder, spec)
    with workspace.database.write(dataset_id) as session:
        run = runs.embedding_run(session, dataset_id, spec.key)
        if run is None:
            run = EmbeddingRun(dataset_id=dataset_id, backbone_key=spec.key)
            stored.add(session, run)
        run.spec, run.description, run.notice = spec.to_json(), spec.describe(), notice
        was_ready = run.status is RunStatus.READY
        run.directory, run.status = folder, RunStatus.RUNNING
        session.flush()
        return run.id, was_ready, store


def _break_off(workspace: Workspace, run_id: int, was_ready: bool) -> None:
    """What is embedded stays and can be used, if it could before."""
    with workspace.database.write() as session:
        run = stored.one(session, EmbeddingRun, run_id)
        run.status = RunStatus.READY if was_ready else RunStatus.FAILED


def _finish_embedding(
    workspace: Workspace, dataset_id: int, run_id: int, notice: str | None
) -> JsonObject:
    with workspace.database.write(dataset_id) as session:
        counts = datasets.image_status_counts(session, dataset_id)
        usable, broken = counts.get(ImageStatus.OK, 0), counts.get(ImageStatus.PROBLEM, 0)
        run = stored.one(session, EmbeddingRun, run_id)
        run.image_count, run.finished_at = usable, now()
        run.status = RunStatus.READY if usable else RunStatus.FAILED
        root = stored.one(session, Dataset, dataset_id).image_root
    if not usable:
        raise TrainingError(
            f"none of the {broken} pictures could be used; the first ones are listed with their "
            f"reasons under Datasets. Is {root!r} the right image folder?"
        )
    message = f"{usable} images embedded" + (f", {broken} cannot be used" if broken else "")
    return {"message": message, "images": usable, "problems": broken, "notice": notice}


@dataclass(frozen=True)
class TextVectors:
    """Text embeddings of a dataset's words.

    Attributes:
        categories: (C, E) float32, in the categories' order.
        background: (K, E) float32, of words that are no category here.
    """

    categories: npt.NDArray[np.float32]
    background: npt.NDArray[np.float32]


def text_vectors(
    workspace: Workspace, run_id: int, backbone: Backbone | None = None
) -> TextVectors | None:
    """Embeddings of the category names and of background words; None without a text tower.

    They are kept beside the features and made again when the categories change.
    """
    from clsl_core.backbones.choice import BACKGROUND_WORDS, load_backbone

    with workspace.database.read() as session:
        run = stored.one(session, EmbeddingRun, run_id)
        spec, folder = run.spec, workspace.data_dir / run.directory
        dataset_id = run.dataset_id
        names = [row.name for row in datasets.categories(session, run.dataset_id)]
    if not spec["has_text"]:
        return None
    taken = {name.lower() for name in names}
    words = names + [word for word in BACKGROUND_WORDS if word not in taken]
    text = CategoryText.of(workspace, dataset_id, folder)
    path = folder / f"text-{text.digest(words)}.npy"
    vectors = _kept_vectors(path)
    if vectors is None:
        if backbone is None:
            weights = _here(workspace, dataset_id, spec["pretrained"])
            backbone = load_backbone(spec["name"], weights, workspace.settings.device)
        encoded = text.encode(backbone, names, words[len(names) :])
        if encoded is None:
            return None
        vectors = encoded
        with atomic_file(path) as file:
            np.save(file, vectors, allow_pickle=False)
    return TextVectors(vectors[: len(names)], vectors[len(names) :])


def _kept_vectors(path: Path) -> npt.NDArray[np.float32] | None:
    """Text embeddings that were kept; None to make them anew, also where they are damaged."""
    try:
        return load_array(path, 2)
    except DamagedFile as error:
        log.warning("text embeddings are made anew: %s", error)
        return None


def _here(workspace: Workspace, dataset_id: int, pretrained: str | None) -> str | None:
    """Where fine-tuned weights are today, should the data directory have moved."""
    if pretrained is None or Path(pretrained).is_file():
        return pretrained
    moved = workspace.data_dir / "backbones" / str(dataset_id) / Path(pretrained).name
    return str(moved.absolute()) if moved.is_file() else pretrained


def usable_features(
    workspace: Workspace, session: Session, embedding: EmbeddingRun
) -> tuple[FeatureView, list[int]]:
    """Features of every usable image, with the image ids in the same order.

    Raises:
        TrainingError: Those of most images are gone.
    """
    from clsl_core.backbones.spec import BackboneSpec
    from clsl_core.features import FeatureStore

    store = FeatureStore.open(
        workspace.data_dir / embedding.directory, BackboneSpec.from_json(embedding.spec)
    )
    keys = {
        _feature_key(picture.id, picture.fingerprint): picture.id
        for picture in images.files(session, embedding.dataset_id)
        if picture.fingerprint is not None
    }
    absent = set(store.missing(list(keys)))
    require_features(embedding.directory, len(absent), len(keys))
    present = {key: id_ for key, id_ in keys.items() if key not in absent}
    return store.gather(list(present)), list(present.values())


def embedding_in_use(session: Session, dataset: Dataset) -> EmbeddingRun:
    """The embedding run that training reads.

    Raises:
        TrainingError: There is none yet.
    """
    run = runs.latest_embedding_run(session, dataset.id)
    if run is None:
        raise TrainingError(
            f"the pictures of {dataset.name!r} are not embedded yet: run `clsl embed "
            f"{dataset.name}` or press “Train now”, which does it first"
        )
    return run

"""Pictures for the screen: thumbnails made once, and heat maps as tiny coloured PNGs."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from app.services.access.grants import Grant
from app.services.pictures.places import images_of
from app.services.workspace import Workspace
from clsl_core.errors import NotFoundError
from clsl_core.files import load_array
from clsl_core.pictures import loading
from db.models import Dataset, EmbeddingRun, Image, ModelRun, Proposal
from db.queries import stored

SIZES = (240, 480, 960, 1920)
"""Longest sides that are kept: a grid's cell, a large cell, the review card, zoomed in."""

LOOK = 2
"""Raised when pictures come to look otherwise than those that were kept."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Encoded bytes with what HTTP wants to know of them."""

    content: bytes
    media_type: str
    etag: str


def thumbnail(workspace: Workspace, grant: Grant, image_id: int, size: int) -> Picture:
    """One picture as WebP, its longest side at most ``size`` pixels; made once, then kept.

    Raises:
        NotFoundError: The image is not in the dataset the grant is for.
        ImageError: The file cannot be used.
    """
    size = min(SIZES, key=lambda known: abs(known - size))
    with workspace.database.read() as session:
        image = stored.find(session, Image, image_id)
        if image is None or image.dataset_id != grant.dataset_id:
            raise NotFoundError(f"there is no image {image_id} in this dataset")
        loader = images_of(workspace, stored.one(session, Dataset, image.dataset_id))
        file_name = image.file_name
    fingerprint = loader.fingerprint(file_name)
    name = f"{image_id}-{size}-{fingerprint}-{LOOK}"
    kept = f"{grant.dataset_id}/{name}.webp"
    content = workspace.thumbnails.get_or_make(
        kept,
        (grant.dataset_id, image_id),
        lambda: loading.thumbnail(loader.load(file_name, at_least=size), size),
    )
    return Picture(content, "image/webp", f'"{name}"')


def heatmap(workspace: Workspace, grant: Grant, proposal_id: int) -> Picture:
    """Where the model looked: one pixel for each patch, to be stretched over the picture.

    Raises:
        NotFoundError: The proposal is gone, or is of another dataset, or has no heat map.
        DamagedFile: The file of heat maps is damaged.
    """
    missing = NotFoundError(f"there is no heat map for proposal {proposal_id}")
    with workspace.database.read() as session:
        proposal = stored.find(session, Proposal, proposal_id)
        if proposal is None or proposal.heatmap_row is None:
            raise missing
        run = stored.one(session, ModelRun, proposal.model_run_id)
        if run.dataset_id != grant.dataset_id or run.directory is None:
            raise missing
        rows, columns = stored.one(session, EmbeddingRun, run.embedding_run_id).spec["grid"]
        row, path = proposal.heatmap_row, workspace.data_dir / run.directory / "heatmaps.npy"
    maps = load_array(path, 2, mapped=True)
    if maps is None or row >= len(maps) or maps.shape[1] != rows * columns:
        raise missing
    content = colour(np.asarray(maps[row]).reshape(rows, columns))
    return Picture(content, "image/png", f'"{proposal_id}-{run.checksum}"')


def colour(values: npt.NDArray[np.uint8]) -> bytes:
    """A grid [rows, columns] of 0–255 as PNG: transparent where low, yellow to red where high."""
    strength = values.astype(np.float32) / 255.0
    pixels = np.zeros((*values.shape, 4), np.uint8)
    pixels[..., 0] = 255
    pixels[..., 1] = (220 * (1.0 - strength)).astype(np.uint8)
    # Squared, so that the picture stays visible where the model hardly looked.
    pixels[..., 3] = (180 * strength**2).astype(np.uint8)
    buffer = io.BytesIO()
    Pillow.fromarray(pixels, "RGBA").save(buffer, "PNG")
    return buffer.getvalue()

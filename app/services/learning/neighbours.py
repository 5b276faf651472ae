"""Which images look alike: a table made while proposing, read without torch or faiss."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.services.workspace import Workspace
from clsl_core.files import DamagedFile, atomic_file, load_array
from db.models import ModelRun

log = logging.getLogger(__name__)

COUNT = 20
FILE = "neighbours.npy"


def store(folder: Path, image_ids: Sequence[int], rows: npt.NDArray[np.int64]) -> None:
    """Keep a table of neighbours in a model run's folder.

    Args:
        folder: The run's.
        image_ids: (N,) ids, rising.
        rows: (N, K) the K nearest images of each, nearest first, as places in ``image_ids``.
    """
    ids = np.asarray(image_ids, np.int64)
    order = np.argsort(ids)
    with atomic_file(folder / FILE) as file:
        np.save(file, np.column_stack([ids, ids[rows]])[order], allow_pickle=False)


def nearest_images(workspace: Workspace, run: ModelRun, image_id: int) -> list[int]:
    """The images nearest to one, nearest first; empty when it has no row in the run's table.

    A damaged table is logged, and taken for none.
    """
    if run.directory is None:
        return []
    path = workspace.data_dir / run.directory / FILE
    try:
        table = load_array(path, 2, mapped=True)
    except DamagedFile as error:
        log.warning("%s", error)
        return []
    if table is None or not table.shape[1]:
        return []
    row = int(np.searchsorted(table[:, 0], image_id))
    if row == len(table) or table[row, 0] != image_id:
        return []
    return [int(near) for near in table[row, 1:]]

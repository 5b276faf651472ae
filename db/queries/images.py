"""Pictures: their files, and what was found when they were read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.models import Image


class ImageFile(NamedTuple):
    """Where a picture's file is; ``fingerprint`` is None until it was read."""

    id: int
    file_name: str
    fingerprint: str | None


def files(session: Session, dataset_id: int) -> list[ImageFile]:
    """The files of all pictures of a dataset, in source order."""
    query = select(Image.id, Image.file_name, Image.fingerprint)
    rows = session.execute(query.where(Image.dataset_id == dataset_id).order_by(Image.position))
    return [ImageFile(*row) for row in rows]


def ids_by_name(session: Session, dataset_id: int) -> dict[str, list[int]]:
    """Image ids by file name; a name may stand for several."""
    query = select(Image.file_name, Image.id).where(Image.dataset_id == dataset_id)
    found: dict[str, list[int]] = {}
    for file_name, id_ in session.execute(query):
        found.setdefault(file_name, []).append(id_)
    return found


def change(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Write new values of some pictures; each row names its ``id``, and the same columns."""
    session.execute(update(Image), rows)

"""Images whose pictures could not be reached, and their records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db.models import Image, ImageStatus


def count_problems(session: Session, dataset_id: int) -> int:
    """How many images cannot be used."""
    query = select(func.count()).select_from(Image).where(*_problem(dataset_id))
    return session.scalar(query) or 0


def problems(session: Session, dataset_id: int) -> list[tuple[int, str]]:
    """Ids and file names of the images that cannot be used."""
    query = select(Image.id, Image.file_name).where(*_problem(dataset_id)).order_by(Image.id)
    return [(id_, file_name) for id_, file_name in session.execute(query)]


def try_again(session: Session, image_ids: Sequence[int]) -> None:
    """Let pictures be decoded again when their dataset is next embedded."""
    session.execute(
        update(Image)
        .where(Image.id.in_(image_ids), Image.status == ImageStatus.PROBLEM)
        .values(status=ImageStatus.UNCHECKED, reason=None, problem=None, fingerprint=None)
    )


def record_of(session: Session, dataset_id: int, file_name: str) -> dict[str, Any] | None:
    """The record of the first image of that file name."""
    query = select(Image.record).where(Image.dataset_id == dataset_id, Image.file_name == file_name)
    return session.scalar(query.order_by(Image.id).limit(1))


def _problem(dataset_id: int) -> tuple[Any, ...]:
    return Image.dataset_id == dataset_id, Image.status == ImageStatus.PROBLEM

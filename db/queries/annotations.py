"""Annotations: the source file's boxes and masks, carried through."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Annotation


def of_image(
    session: Session, image_id: int, limit: int
) -> list[tuple[dict[str, Any], int | None]]:
    """Record and category id of an image's first annotations, in source order."""
    query = (
        select(Annotation.record, Annotation.category_id)
        .where(Annotation.image_id == image_id)
        .order_by(Annotation.position)
        .limit(limit)
    )
    return [(record, category_id) for record, category_id in session.execute(query)]

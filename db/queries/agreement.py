"""What several people said of the same pairs, and what they said of pairs with a known answer."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from clsl_core.types import LabelState
from db.models import Category, Decision, Gold, Panel, PanelStatus, Verdict, Voice
from db.queries.panels import JUDGED


class Said(NamedTuple):
    """What one person said of a pair, and the known answer; UNKNOWN where there is none."""

    image_id: int
    category_id: int
    annotator_id: int
    present: bool
    answer: LabelState


def of_panels(session: Session, dataset_id: int) -> list[Said]:
    """The verdicts that count, of pairs on which all have spoken: the others stay blind."""
    query = (
        select(Decision)
        .join(
            Panel,
            (Panel.image_id == Decision.image_id) & (Panel.category_id == Decision.category_id),
        )
        .join(Category, (Category.id == Decision.category_id) & Category.merged_into_id.is_(None))
        .where(Panel.dataset_id == dataset_id, Panel.status != PanelStatus.WAITING)
        .where(Decision.voice == Voice.PANEL)
    )
    found: dict[tuple[int, int, int], Said] = {}
    standing = query.where(Decision.verdict.in_(JUDGED), Decision.undone_by_id.is_(None))
    for one in session.scalars(standing.order_by(Decision.id)):
        key = (one.image_id, one.category_id, one.annotator_id)
        found[key] = Said(*key, one.verdict is Verdict.PRESENT, LabelState.UNKNOWN)
    return list(found.values())


def of_gold(session: Session, dataset_id: int) -> list[Said]:
    """The newest standing verdict of each person on each pair with a known answer."""
    query = (
        select(Decision, Gold.state)
        .join(
            Gold, (Gold.image_id == Decision.image_id) & (Gold.category_id == Decision.category_id)
        )
        .join(Category, (Category.id == Decision.category_id) & Category.merged_into_id.is_(None))
        .where(
            Gold.dataset_id == dataset_id,
            Decision.voice == Voice.GOLD,
            Decision.verdict.in_(JUDGED),
            Decision.undone_by_id.is_(None),
        )
    )
    found: dict[tuple[int, int, int], Said] = {}
    for one, answer in session.execute(query.order_by(Decision.id)):
        key = (one.image_id, one.category_id, one.annotator_id)
        found[key] = Said(*key, one.verdict is Verdict.PRESENT, answer)
    return list(found.values())

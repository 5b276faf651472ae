"""Panels: pairs that several people judge, and the label that follows from their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Subquery, and_, case, exists, func, or_, select
from sqlalchemy.orm import Session

from clsl_core.types import LabelSource, LabelState
from db.models import (
    Annotator,
    Category,
    Dataset,
    Decision,
    Gold,
    Image,
    Label,
    Panel,
    PanelStatus,
    Verdict,
    Voice,
)
from db.queries import waiting

Pair = tuple[int, int]
JUDGED = (Verdict.PRESENT, Verdict.ABSENT)


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a dataset is shared out: how many judge a pair, and whether some pairs are special."""

    overlap: int
    panels: bool
    gold: bool

    @property
    def plain(self) -> bool:
        """Every verdict is its pair's label."""
        return self.overlap == 1 and not self.panels and not self.gold


def sharing(session: Session, dataset_id: int) -> Sharing:
    """How a dataset is shared out, in one statement."""
    row = session.execute(
        select(
            Dataset.overlap,
            exists().where(Panel.dataset_id == dataset_id),
            exists().where(Gold.dataset_id == dataset_id),
        ).where(Dataset.id == dataset_id)
    ).one()
    return Sharing(row[0], bool(row[1]), bool(row[2]))


def voices(session: Session, pair: Pair, voice: Voice) -> dict[int, Decision]:
    """The newest standing verdict of each person on a pair, oldest first: by annotator id."""
    query = select(Decision).where(
        Decision.image_id == pair[0],
        Decision.category_id == pair[1],
        Decision.voice == voice,
        Decision.verdict.in_(JUDGED),
        Decision.undone_by_id.is_(None),
    )
    found: dict[int, Decision] = {}
    for one in session.scalars(query.order_by(Decision.id)):
        found.pop(one.annotator_id, None)
        found[one.annotator_id] = one
    return found


def begin(session: Session, dataset_id: int, pair: Pair, size: int, label: Label | None) -> Panel:
    """A panel that nobody has spoken in yet, on a pair with its label as it is."""
    panel = Panel(
        image_id=pair[0],
        category_id=pair[1],
        dataset_id=dataset_id,
        size=size,
        base_state=label.state if label else LabelState.UNKNOWN,
        base_source=label.source if label else None,
        base_decision_id=label.decision_id if label else None,
    )
    session.add(panel)
    session.flush()
    return panel


def derive(session: Session, pair: Pair) -> Label | None:
    """Bring a panel, its pair's label and proposals in line with the verdicts that stand.

    The label is that of the adjudication, else of the majority once all have spoken; it rests on
    the newest verdict that says so. Before that, and in a tie, it is what it was before the panel.
    A panel in which nobody speaks any more is no more.

    Returns:
        The label as it is now.
    """
    panel = session.get_one(Panel, pair)
    said = voices(session, pair, Voice.PANEL).values()
    ruling = list(voices(session, pair, Voice.ADJUDICATION).values())
    panel.present = sum(one.verdict is Verdict.PRESENT for one in said)
    panel.absent = len(said) - panel.present
    panel.status, ground = _outcome(panel, list(said), ruling)
    label = _label(session, panel, ground)
    session.flush()
    if panel.status is not PanelStatus.WAITING:
        waiting.close(session, [pair])
    elif panel.base_source is None:
        waiting.reopen(session, [pair])
    else:
        waiting.dispute(session, pair, panel.base_state)
    if not said and not ruling:
        session.delete(panel)
        session.flush()
    return label


def _outcome(
    panel: Panel, said: list[Decision], ruling: list[Decision]
) -> tuple[PanelStatus, Decision | None]:
    """How a panel stands, and the decision that its label rests on."""
    status = _status(panel.size, panel.present, len(said), ruled=bool(ruling))
    if status is PanelStatus.ADJUDICATED:
        return status, ruling[-1]
    if status is not PanelStatus.AGREED:
        return status, None
    most = Verdict.PRESENT if panel.present > panel.absent else Verdict.ABSENT
    return status, [one for one in said if one.verdict is most][-1]


def _label(session: Session, panel: Panel, ground: Decision | None) -> Label | None:
    """Write the label of a panel's pair: by a decision, or as it was before the panel."""
    pair = (panel.image_id, panel.category_id)
    label = session.get(Label, pair)
    if ground is None and panel.base_source is None:
        if label is not None:
            session.delete(label)
        return None
    if label is None:
        label = Label(image_id=pair[0], category_id=pair[1], provenance=None)
        session.add(label)
    if ground is not None:
        label.state, label.source = ground.verdict.state, LabelSource.HUMAN
        label.decision_id = ground.id
    elif panel.base_source is not None:
        label.state, label.source = panel.base_state, panel.base_source
        label.decision_id = panel.base_decision_id
    return label


def unfinished(session: Session, dataset_id: int) -> Sequence[Panel]:
    """The panels of a dataset in which verdicts are still missing."""
    query = select(Panel).where(Panel.dataset_id == dataset_id, Panel.status == PanelStatus.WAITING)
    return session.scalars(query).all()


def conflicts(
    session: Session, dataset_id: int, limit: int, *, outvoted: bool, after: Pair | None = None
) -> Sequence[tuple[Panel, Image, Category]]:
    """Panels that are tied, with ``outvoted`` also those with a minority, in a fixed order."""
    wanted = Panel.status == PanelStatus.CONFLICT
    if outvoted:
        split = (Panel.status == PanelStatus.AGREED) & (Panel.present > 0) & (Panel.absent > 0)
        wanted = or_(wanted, split)
    query = (
        select(Panel, Image, Category)
        .join(Image, Image.id == Panel.image_id)
        .join(Category, Category.id == Panel.category_id)
        .where(Panel.dataset_id == dataset_id, wanted, Category.merged_into_id.is_(None))
        .order_by(Panel.image_id, Panel.category_id)
        .limit(limit)
    )
    if after is not None:
        later = (Panel.image_id == after[0]) & (Panel.category_id > after[1])
        query = query.where(or_(Panel.image_id > after[0], later))
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def names(session: Session, annotator_ids: Sequence[int]) -> dict[int, str]:
    """Names of people by id."""
    query = select(Annotator.id, Annotator.name).where(Annotator.id.in_(annotator_ids))
    return {row[0]: row[1] for row in session.execute(query)}


def images_judged(session: Session, category_id: int) -> set[int]:
    """The images of which a panel judges, or has judged, one category."""
    return set(session.scalars(select(Panel.image_id).where(Panel.category_id == category_id)))


def out_of_line(session: Session) -> list[Pair]:
    """The panels, of all datasets, that are not what follows from the verdicts that stand."""
    stands = (Decision.verdict.in_(JUDGED), Decision.undone_by_id.is_(None))
    newest = (
        select(func.max(Decision.id))
        .where(Decision.voice == Voice.PANEL, *stands)
        .group_by(Decision.image_id, Decision.category_id, Decision.annotator_id)
    )
    pair = (Decision.image_id, Decision.category_id)
    said = (
        select(
            *pair,
            func.sum(case((Decision.verdict == Verdict.PRESENT, 1), else_=0)).label("present"),
            func.count().label("all"),
        )
        .where(Decision.id.in_(newest))
        .group_by(*pair)
        .subquery()
    )
    ruled = (
        select(*pair)
        .where(Decision.voice == Voice.ADJUDICATION, *stands)
        .group_by(*pair)
        .subquery()
    )
    query = (
        select(
            Panel, func.coalesce(said.c.present, 0), func.coalesce(said.c.all, 0), ruled.c.image_id
        )
        .outerjoin(said, _same(said))
        .outerjoin(ruled, _same(ruled))
    )
    return [
        (panel.image_id, panel.category_id)
        for panel, present, count, ruling in session.execute(query)
        if (panel.present, panel.absent) != (present, count - present)
        or panel.status is not _status(panel.size, present, count, ruled=ruling is not None)
    ]


def _same(found: Subquery) -> ColumnElement[bool]:
    """The condition that a subquery is about a panel's pair."""
    return and_(found.c.image_id == Panel.image_id, found.c.category_id == Panel.category_id)


def _status(size: int, present: int, count: int, *, ruled: bool) -> PanelStatus:
    if ruled:
        return PanelStatus.ADJUDICATED
    if count < size:
        return PanelStatus.WAITING
    return PanelStatus.CONFLICT if 2 * present == count else PanelStatus.AGREED

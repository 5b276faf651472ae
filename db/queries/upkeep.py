"""What should be true of the rows together, and is counted where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, case, delete, exists, func, or_, select, text
from sqlalchemy.orm import Session

from clsl_core.types import LabelSource, LabelState
from db.models import (
    Category,
    CategoryChange,
    CategoryChangeLabel,
    Dataset,
    Decision,
    EmbeddingRun,
    Job,
    JobStatus,
    Label,
    Lease,
    ModelRun,
    Panel,
    RunStatus,
    Voice,
)


def damage(session: Session) -> list[str]:
    """What SQLite's check of integrity finds; nothing on PostgreSQL, which checks its pages."""
    if session.get_bind().dialect.name != "sqlite":
        return []
    found = session.execute(text("PRAGMA integrity_check(10)")).scalars().all()
    return [] if found == ["ok"] else [str(line) for line in found]


def orphans(session: Session) -> list[str]:
    """Tables with rows that point nowhere (SQLite; PostgreSQL lets none arise)."""
    if session.get_bind().dialect.name != "sqlite":
        return []
    found = session.execute(text("PRAGMA foreign_key_check")).all()
    return sorted({str(row[0]) for row in found})


def contradicting_labels(session: Session) -> int:
    """Labels given here that are not what their decision said."""
    merged = exists().where(
        Category.id == Decision.category_id, Category.merged_into_id.is_not(None)
    )
    asked = case((Decision.verdict == "present", 1), (Decision.verdict == "absent", -1), else_=0)
    query = (
        select(func.count())
        .select_from(Label)
        .outerjoin(Decision, Decision.id == Label.decision_id)
        .where(
            Label.source.in_((LabelSource.HUMAN, LabelSource.MODEL_AUDITED)),
            or_(
                Decision.id.is_(None),
                Decision.source != Label.source,
                Decision.undone_by_id.is_not(None),
                Decision.image_id != Label.image_id,
                and_(Decision.category_id != Label.category_id, ~merged),
                case((Label.state == LabelState.PRESENT, 1), else_=-1) != asked,
            ),
        )
    )
    return session.scalar(query) or 0


def verdicts_without_label(session: Session) -> int:
    """Pairs of one judge whose newest standing verdict is not the one their label rests on.

    Labels that follow from a merge of categories rest on what the merge found.
    """
    followed = exists().where(
        CategoryChangeLabel.image_id == Decision.image_id,
        CategoryChange.id == CategoryChangeLabel.change_id,
        CategoryChange.category_id == Decision.category_id,
        CategoryChange.undone_by.is_(None),
    )
    judged_together = exists().where(
        Panel.image_id == Decision.image_id, Panel.category_id == Decision.category_id
    )
    newest = (
        select(func.max(Decision.id).label("id"))
        .where(
            Decision.verdict.in_(("present", "absent")),
            Decision.undone_by_id.is_(None),
            Decision.voice == Voice.SOLE,
            ~judged_together,
            ~followed,
        )
        .group_by(Decision.image_id, Decision.category_id)
        .subquery()
    )
    query = (
        select(func.count())
        .select_from(newest)
        .outerjoin(Label, Label.decision_id == newest.c.id)
        .where(Label.image_id.is_(None))
    )
    return session.scalar(query) or 0


def useless_leases(session: Session, moment: datetime, latest: datetime) -> int:
    """Leases that are over, or that end later than any lease can: a clock was put back."""
    condition = or_(Lease.expires_at <= moment, Lease.expires_at > latest)
    return session.scalar(select(func.count()).select_from(Lease).where(condition)) or 0


def delete_useless_leases(session: Session, moment: datetime, latest: datetime) -> None:
    """Remove what ``useless_leases`` counts."""
    session.execute(delete(Lease).where(or_(Lease.expires_at <= moment, Lease.expires_at > latest)))


def interrupted_jobs(session: Session, stale_before: datetime) -> int:
    """Running jobs whose process has not shown up for some time."""
    silent = or_(Job.heartbeat_at.is_(None), Job.heartbeat_at < stale_before)
    condition = and_(Job.status == JobStatus.RUNNING, silent)
    return session.scalar(select(func.count()).select_from(Job).where(condition)) or 0


def folders(session: Session) -> set[str]:
    """The folders of the data directory that embedding runs and model runs name."""
    found = set(session.scalars(select(EmbeddingRun.directory)))
    return found | {one for one in session.scalars(select(ModelRun.directory)) if one}


def ready_embeddings(session: Session) -> Sequence[EmbeddingRun]:
    """The embedding runs that are finished."""
    return session.scalars(select(EmbeddingRun).where(EmbeddingRun.status == RunStatus.READY)).all()


def ready_models(session: Session) -> Sequence[ModelRun]:
    """The model runs that are finished and have a checkpoint."""
    query = select(ModelRun).where(ModelRun.status == RunStatus.READY)
    return session.scalars(query.where(ModelRun.directory.is_not(None))).all()


def image_roots(session: Session) -> Sequence[str]:
    """Where the pictures of all datasets are, also of those that are being brought in."""
    rows = session.execute(select(Dataset.image_root, Dataset.more_roots))
    return sorted({root for first, more in rows for root in (first, *more)})

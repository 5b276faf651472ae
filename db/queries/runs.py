"""Embedding runs and model runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, case, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from db.models import (
    Category,
    EmbeddingRun,
    Job,
    JobKind,
    Label,
    ModelRun,
    Panel,
    PanelStatus,
    Proposal,
    ProposalStatus,
    RunStatus,
)

BEGUN_WITH = "begun_with"
"""In the payload of a training that decisions start: id of the newest of them."""


def embedding_run(session: Session, dataset_id: int, backbone_key: str) -> EmbeddingRun | None:
    """The embedding run of one backbone."""
    query = select(EmbeddingRun).where(
        EmbeddingRun.dataset_id == dataset_id, EmbeddingRun.backbone_key == backbone_key
    )
    return session.scalar(query)


def latest_embedding_run(session: Session, dataset_id: int) -> EmbeddingRun | None:
    """The embedding run that finished last: the one in use."""
    query = select(EmbeddingRun).where(
        EmbeddingRun.dataset_id == dataset_id, EmbeddingRun.status == RunStatus.READY
    )
    return session.scalar(query.order_by(EmbeddingRun.finished_at.desc()).limit(1))


def model_runs(session: Session, dataset_id: int) -> Sequence[ModelRun]:
    """All model runs, newest first."""
    query = select(ModelRun).where(ModelRun.dataset_id == dataset_id)
    return session.scalars(query.order_by(ModelRun.id.desc())).all()


def serving_run(session: Session, dataset_id: int) -> ModelRun | None:
    """The model run whose proposals people see."""
    query = select(ModelRun).where(ModelRun.dataset_id == dataset_id, ModelRun.serving)
    return session.scalar(query)


def shown() -> ColumnElement[bool]:
    """The condition of a model run whose proposals people see: the serving one, and outside ones.

    An outside run stays beside whatever run of ours serves.
    """
    return or_(ModelRun.serving, ModelRun.status == RunStatus.OUTSIDE)


def shown_runs(session: Session, dataset_id: int) -> tuple[int, ...]:
    """Ids of the runs whose proposals people see, the serving one first."""
    query = select(ModelRun.id).where(ModelRun.dataset_id == dataset_id, shown())
    return tuple(session.scalars(query.order_by(ModelRun.serving.desc(), ModelRun.id)))


def outside_runs(session: Session, dataset_id: int) -> Sequence[ModelRun]:
    """The runs of models that are not ours, oldest first."""
    query = select(ModelRun).where(
        ModelRun.dataset_id == dataset_id, ModelRun.status == RunStatus.OUTSIDE
    )
    return session.scalars(query.order_by(ModelRun.id)).all()


def outside_names(session: Session, run_ids: Collection[int]) -> dict[int, str]:
    """The names of models that are not ours, by the ids of their runs."""
    query = select(ModelRun.id, ModelRun.config).where(
        ModelRun.id.in_(run_ids), ModelRun.status == RunStatus.OUTSIDE
    )
    return {id_: str(config.get("model")) for id_, config in session.execute(query)}


def add_outside_run(session: Session, dataset_id: int, name: str) -> ModelRun:
    """A run for the proposals of a model that is not ours.

    It has no features here: the embedding run that it hangs on holds nothing but its name.
    """
    key = f"outside:{name}"
    features = embedding_run(session, dataset_id, key)
    if features is None:
        features = EmbeddingRun(
            dataset_id=dataset_id,
            backbone_key=key,
            spec={"name": name},
            description=f"outside model {name}",
            directory="",
            status=RunStatus.OUTSIDE,
        )
        session.add(features)
        session.flush()
    run = ModelRun(
        dataset_id=dataset_id,
        embedding_run_id=features.id,
        status=RunStatus.OUTSIDE,
        trigger=f"outside model {name}",
        new_decisions=0,
        last_decision_id=0,
        known_present=0,
        known_absent=0,
        config={"model": name},
        seed=0,
        code_version="",
    )
    session.add(run)
    session.flush()
    return run


def latest_ready_run(session: Session, dataset_id: int) -> ModelRun | None:
    """The newest model run that finished training."""
    query = select(ModelRun).where(
        ModelRun.dataset_id == dataset_id, ModelRun.status == RunStatus.READY
    )
    return session.scalar(query.order_by(ModelRun.id.desc()).limit(1))


def with_files(session: Session, dataset_id: int) -> Sequence[ModelRun]:
    """The finished model runs that have their files, newest first."""
    query = select(ModelRun).where(
        ModelRun.dataset_id == dataset_id,
        ModelRun.status == RunStatus.READY,
        ModelRun.directory.is_not(None),
    )
    return session.scalars(query.order_by(ModelRun.id.desc())).all()


def has_ready_run(session: Session, dataset_id: int) -> bool:
    """Whether a training has ever finished; asked with every verdict, so no run is read for it."""
    ready = exists().where(ModelRun.dataset_id == dataset_id, ModelRun.status == RunStatus.READY)
    return bool(session.scalar(select(ready)))


def run_of_job(session: Session, job_id: int) -> ModelRun | None:
    """The model run that a job (perhaps interrupted) has begun."""
    return session.scalar(select(ModelRun).where(ModelRun.job_id == job_id))


def last_decision_seen(session: Session, dataset_id: int, besides: int | None = None) -> int:
    """Id of the newest decision that any training, finished or running, has taken in.

    ``besides`` is a run that does not count.
    """
    query = select(func.max(ModelRun.last_decision_id)).where(
        ModelRun.dataset_id == dataset_id, ModelRun.status != RunStatus.FAILED
    )
    if besides is not None:
        query = query.where(ModelRun.id != besides)
    return session.scalar(query) or 0


def last_decision_tried(session: Session, dataset_id: int) -> int:
    """Id of the newest decision that any training has tried to take in, whatever came of it.

    A training that fails before it has read the decisions has no run; what it was begun with stands
    with its job.
    """
    of_runs = select(func.max(ModelRun.last_decision_id)).where(ModelRun.dataset_id == dataset_id)
    newest = select(Job.payload).where(Job.dataset_id == dataset_id, Job.kind == JobKind.TRAIN)
    payload = session.scalar(newest.order_by(Job.id.desc()).limit(1)) or {}
    return max(session.scalar(of_runs) or 0, int(payload.get(BEGUN_WITH, 0)))


def run_to_propose(session: Session, dataset_id: int) -> ModelRun | None:
    """The run that proposes when none is named.

    The newest one where it is newer than the serving run and was not judged yet, else the serving
    run.
    """
    serving, newest = serving_run(session, dataset_id), latest_ready_run(session, dataset_id)
    if newest is None or serving is None:
        return newest
    return newest if newest.id > serving.id and newest.gate is None else serving


def serve(session: Session, run: ModelRun) -> None:
    """Make one run the serving one, in the caller's transaction; a pin on another is lost.

    Pairs that were answered while the run was trained and proposed are closed first.
    """
    close_answered(session, run)
    session.execute(
        update(ModelRun)
        .where(ModelRun.dataset_id == run.dataset_id, ModelRun.serving)
        .values(serving=False)
    )
    session.execute(
        update(ModelRun)
        .where(ModelRun.dataset_id == run.dataset_id, ModelRun.id != run.id)
        .values(pinned=False)
    )
    session.flush()
    run.serving = True


def close_answered(session: Session, run: ModelRun) -> None:
    """Close a run's proposals for pairs that were answered since it read the labels."""
    hidden = select(Category.id).where(
        Category.dataset_id == run.dataset_id, Category.merged_into_id.is_not(None)
    )
    merged = session.scalars(hidden).all()
    if merged:
        # They were merged while the run proposed: nobody is asked about them.
        unanswered = Proposal.status != ProposalStatus.DECIDED
        session.execute(
            delete(Proposal).where(
                Proposal.model_run_id == run.id, Proposal.category_id.in_(merged), unanswered
            )
        )
    pair = (Label.image_id == Proposal.image_id, Label.category_id == Proposal.category_id)
    still_disputed = exists().where(*pair, Label.state != Proposal.state)
    answered = case(
        (Proposal.disputes, ~still_disputed),
        else_=exists().where(*pair),
    )
    close = update(Proposal).where(Proposal.model_run_id == run.id)
    session.execute(close.where(answered).values(status=ProposalStatus.DECIDED))
    # A tie has no label, and is no question for the queue any more. Few datasets have panels, and
    # looking for one of each proposal takes long while nobody else may write.
    if session.scalar(select(exists().where(Panel.dataset_id == run.dataset_id))):
        settled = exists().where(
            Panel.image_id == Proposal.image_id,
            Panel.category_id == Proposal.category_id,
            Panel.status != PanelStatus.WAITING,
        )
        session.execute(close.where(settled).values(status=ProposalStatus.DECIDED))


class Kept(NamedTuple):
    """What stays of a run's proposals when it proposes again.

    Attributes:
        pairs: Image and category ids.
        images: Those from which the control arm that stays was drawn.
    """

    pairs: set[tuple[int, int]]
    images: set[int]


def clear_for_proposing(session: Session, run: ModelRun) -> Kept:
    """Remove a run's unanswered proposals, before it proposes again.

    Those that were answered stay, since decisions refer to them; their heat maps go. A control arm
    drawn anew around answers would be no random sample: that of a serving run stays as it is, that
    of another is drawn anew as a whole.
    """
    of_run = Proposal.model_run_id == run.id
    unanswered = and_(of_run, Proposal.status != ProposalStatus.DECIDED)
    images: set[int] = set()
    if run.serving:
        images = set(session.scalars(select(Proposal.image_id).where(of_run).distinct()))
        unanswered = and_(unanswered, Proposal.control.is_(False))
    else:
        session.execute(update(Proposal).where(of_run, Proposal.control).values(control=False))
    session.execute(delete(Proposal).where(unanswered))
    session.execute(update(Proposal).where(of_run).values(heatmap_row=None))
    pairs = session.execute(select(Proposal.image_id, Proposal.category_id).where(of_run))
    return Kept({(image_id, category_id) for image_id, category_id in pairs}, images)


def delete_open_proposals_of_others(
    session: Session, run: ModelRun, limit: int, before: int | None = None
) -> int:
    """Remove up to ``limit`` unanswered proposals of runs that no longer serve.

    Args:
        session: Writes.
        run: The one that serves.
        limit: How many at most.
        before: Id of the run that served before it: older runs and this one are swept. A newer
            one may be proposing.

    Returns:
        How many were removed; 0 means that nothing is left to remove.
    """
    old = (
        select(Proposal.id)
        .join(ModelRun, ModelRun.id == Proposal.model_run_id)
        .where(
            ModelRun.dataset_id == run.dataset_id,
            or_(ModelRun.id < run.id, ModelRun.id == (before or 0)),
            ModelRun.id != run.id,
            ModelRun.status != RunStatus.OUTSIDE,
            Proposal.status != ProposalStatus.DECIDED,
        )
        .limit(limit)
    )
    ids = list(session.scalars(old))
    session.execute(delete(Proposal).where(Proposal.id.in_(ids)))
    return len(ids)


def backbone_name(session: Session, run: ModelRun) -> str:
    """Name of the backbone whose features a model run was trained on."""
    spec = session.get_one(EmbeddingRun, run.embedding_run_id).spec
    return str(spec.get("name", "unknown"))

"""Accepting many proposals of a category at once, with a guarantee.

The statistics are in ``clsl_core.statistics.bulk_audit``.

An audit is about what the serving run holds to be present among all unknown pairs of a category.
It fixes these pairs, their scores and the lots that decide who is checked when it begins;
the scores are the model run's own, which no verdict moves. People then check what it asks for, as
ordinary verdicts, and what qualifies becomes one batch of decisions that the history undoes. A
later training changes nothing about an audit that has begun.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, replace

import numpy as np
from sqlalchemy.orm import Session

from app.services.access import audit_log, rights
from app.services.access.grants import Grant
from app.services.access.rights import Right
from app.services.quality.audit_pairs import Check, find_checks, open_table, unknown_pairs
from app.services.reviewing import repeats
from app.services.reviewing.verdicts import Receipt, check_id, member_id
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import InputError, NotFoundError
from clsl_core.statistics.bulk_audit import AuditConfig, Qualification, draw_lots, qualify
from clsl_core.types import LabelSource
from db.models import AcceptanceAudit, Category, Decision, ModelRun, Verdict
from db.queries import acceptance, datasets, decisions, leases, panels, runs, stored
from db.types import now

MOST = 20_000


@dataclass(frozen=True, slots=True)
class Offer:
    """What may be accepted of one category, or what is needed first.

    Attributes:
        proposals: Pairs in the audit, or that it would be about where none has begun.
        positives: Known ones.
        target: Share of right ones that is promised.
        begun: Whether an audit has begun.
        state: As in ``Qualification``.
        qualify: How many may be accepted unseen now.
        precision_low: Lower confidence bound of the share of right ones among these.
        checked, wrong: Verdicts behind that bound, and wrong ones among them.
        ask: How many verdicts are asked for next.
        may_be_wrong: How many of these may be wrong.
        reason: Plain words with the numbers.
    """

    category_id: int
    category: str
    proposals: int
    positives: int
    target: float
    begun: bool
    state: str
    qualify: int
    precision_low: float | None
    checked: int
    wrong: int
    ask: int
    may_be_wrong: int
    reason: str


def offers(workspace: Workspace, name: str, config: AuditConfig | None = None) -> list[Offer]:
    """Every category of a dataset, in source order.

    Args:
        workspace: Where.
        name: Of the dataset.
        config: The promise for audits that begin now; one that has begun keeps its own.

    Raises:
        NotFoundError: There is no such dataset.
    """
    config = config or AuditConfig()
    with workspace.database.read() as session:
        dataset_id = find_dataset(session, name).id
        run = runs.serving_run(session, dataset_id)
        begun = acceptance.open_audits(session, dataset_id)
        rows = datasets.category_counts(session, dataset_id)
        fresh = [row.category_id for row in rows if row.category_id not in begun]
        counts = _counts(workspace, session, run, fresh)
        found = []
        for row in rows:
            state = _state(session, begun[row.category_id]) if row.category_id in begun else None
            count = counts.get(row.category_id, 0) if state is None else len(state.images)
            config_of = config if state is None else state.config
            result = _plan(count, row.present, config) if state is None else state.result
            found.append(_offer(row.category_id, row.name, row.present, count, config_of, result))
        return [replace(one, begun=one.category_id in begun) for one in found]


def begin(
    workspace: Workspace,
    grant: Grant,
    category_id: int,
    config: AuditConfig | None = None,
    seed: int | None = None,
) -> int:
    """Begin an audit with the proposals that are open now; one that had begun ends.

    Args:
        workspace: Where.
        grant: Who, on which dataset.
        category_id: Of what.
        config: The promise.
        seed: Of the lots; unpredictable unless given.

    Returns:
        How many proposals it is about.

    Raises:
        NotFoundError: No such category in the dataset, or no model run serves.
        Forbidden: Whoever acts may not decide.
    """
    rights.require(Right.DECIDE)
    config = config or AuditConfig()
    with workspace.database.write(grant.dataset_id) as session:
        _category(session, grant, category_id)
        run = runs.serving_run(session, grant.dataset_id)
        if run is None:
            raise NotFoundError("no model run serves: train before accepting many at once")
        _end(session, acceptance.open_audits(session, grant.dataset_id).get(category_id))
        images, scores = _frame(workspace, session, run, category_id)
        frame = {
            "model_run": run.id,
            "images": images,
            "scores": scores,
            "config": {**asdict(config), "allowed": list(config.allowed)},
        }
        stored.add(
            session,
            AcceptanceAudit(
                dataset_id=grant.dataset_id,
                category_id=category_id,
                annotator_id=grant.annotator_id,
                frame=frame,
                seed=secrets.randbits(31) if seed is None else seed,
                last_decision_id=decisions.last_id(session, grant.dataset_id),
            ),
        )
        return len(images)


def checks(workspace: Workspace, grant: Grant, category_id: int, limit: int = 12) -> list[Check]:
    """The next pairs that an audit asks for, by image; their answers are ordinary verdicts.

    Raises:
        NotFoundError: No audit of the category has begun.
    """
    with workspace.database.read() as session:
        state = _state(session, _begun(session, grant, category_id))
        wanted = sorted(state.images[place] for place in state.result.ask)[:limit]
        return find_checks(session, grant.dataset_id, [(id_, category_id) for id_ in wanted])


def apply(workspace: Workspace, grant: Grant, category_id: int, client_id: str) -> Receipt:
    """Accept what qualifies, as one batch of decisions called ``client_id``; the audit ends.

    Raises:
        InputError: The batch's id cannot be used, or nothing qualifies.
        NotFoundError: No audit of the category has begun.
        Forbidden: Whoever acts may not decide.
    """
    rights.require(Right.DECIDE)
    check_id(client_id)
    with workspace.database.write(grant.dataset_id) as session:
        same = repeats.accepts_unseen(client_id, category_id)
        again = repeats.repeated(session, grant, client_id, same)
        if again is not None:
            return Receipt(client_id, *again)
        begun = _begun(session, grant, category_id)
        state = _state(session, begun)
        if not len(state.result.accept):
            raise InputError(f"nothing can be accepted unseen yet: {state.result.reason}")
        images = [state.images[place] for place in state.result.accept]
        run = runs.serving_run(session, grant.dataset_id)
        if panels.sharing(session, grant.dataset_id).overlap > 1:
            raise InputError(
                "several people judge each pair of this dataset, so that nothing is accepted "
                "unseen: set the overlap to 1 first (`clsl overlap NAME 1`)"
            )
        judged = panels.images_judged(session, category_id)
        images = [image_id for image_id in images if image_id not in judged]
        shown = acceptance.shown(session, run.id if run else None, category_id, images)
        made = [
            Decision(
                client_id=member_id(client_id, image_id),
                dataset_id=grant.dataset_id,
                image_id=image_id,
                category_id=category_id,
                annotator_id=grant.annotator_id,
                proposal_id=shown[image_id][1],
                verdict=Verdict.PRESENT,
                source=LabelSource.MODEL_AUDITED,
                batch_id=client_id,
            )
            for image_id in images
            if image_id in shown
        ]
        decisions.require_new(session, [one.client_id for one in made])
        leases.release(session, {(one.image_id, one.category_id): None for one in made})
        decisions.apply(session, [(one, None) for one in made])
        _end(session, begun, client_id)
        low = state.result.precision_low
        audit_log.record(
            session,
            "accept in bulk",
            f"category {category_id}",
            batch=client_id,
            labels=len(made),
            target=state.config.target,
            precision_low=low,
        )
    return Receipt(client_id, "saved", count=len(made))


def _counts(
    workspace: Workspace, session: Session, run: ModelRun | None, category_ids: list[int]
) -> dict[int, int]:
    """How many pairs an audit that begins now would be about."""
    if run is None:
        return {}
    table = open_table(workspace, run)
    if table is None:
        return acceptance.candidate_counts(session, run.id)
    control = acceptance.control_images(session, run.id)
    return {
        one.category_id: len(one.likely(control.get(one.category_id, ()), MOST)[0])
        for one in unknown_pairs(session, table, category_ids)
    }


def _frame(
    workspace: Workspace, session: Session, run: ModelRun, category_id: int
) -> tuple[list[int], list[float]]:
    """What an audit is about: image ids and scores, best first.

    A run stores proposals of the likeliest pairs alone; with its scores of all of them at hand
    the audit goes beyond those.
    """
    table = open_table(workspace, run)
    if table is None:
        found = acceptance.candidates(session, run.id, category_id)
        return [one.image_id for one in found], [one.score for one in found]
    control = acceptance.control_images(session, run.id).get(category_id, ())
    (one,) = unknown_pairs(session, table, [category_id])
    images, scores = one.likely(control, MOST)
    return images.tolist(), scores.tolist()


@dataclass(frozen=True, slots=True)
class _State:
    """An audit with what was said since it began."""

    images: list[int]
    config: AuditConfig
    result: Qualification


def _state(session: Session, begun: AcceptanceAudit) -> _State:
    images: list[int] = begun.frame["images"]
    promised = begun.frame["config"]
    config = AuditConfig(**{**promised, "allowed": tuple(promised["allowed"])})
    said = acceptance.said_since(session, begun.category_id, begun.last_decision_id)
    # A category that was common enough when the audit began is so until it ends.
    result = qualify(
        np.array(begun.frame["scores"], np.float64),
        draw_lots(len(images), begun.seed),
        np.array([said.get(image_id, 0) for image_id in images], np.int8),
        config.min_positives,
        config,
    )
    return _State(images, config, result)


def _plan(count: int, positives: int, config: AuditConfig) -> Qualification:
    """What an audit of so many proposals would ask for first."""
    falling = np.linspace(1.0, 0.0, count)
    nothing_said = np.zeros(count, np.int8)
    return qualify(falling, draw_lots(count, 0), nothing_said, positives, config)


def _offer(
    category_id: int,
    name: str,
    positives: int,
    count: int,
    config: AuditConfig,
    result: Qualification,
) -> Offer:
    return Offer(
        category_id=category_id,
        category=name,
        proposals=count,
        positives=positives,
        target=config.target,
        begun=False,
        state=result.state,
        qualify=len(result.accept),
        precision_low=result.precision_low,
        checked=result.checked,
        wrong=result.wrong,
        ask=len(result.ask),
        may_be_wrong=result.may_be_wrong,
        reason=result.reason,
    )


def _category(session: Session, grant: Grant, category_id: int) -> Category:
    found = stored.find(session, Category, category_id)
    if found is None or found.dataset_id != grant.dataset_id or found.merged_into_id is not None:
        raise NotFoundError(f"there is no category {category_id} in this dataset")
    return found


def _begun(session: Session, grant: Grant, category_id: int) -> AcceptanceAudit:
    name = _category(session, grant, category_id).name
    found = acceptance.open_audits(session, grant.dataset_id).get(category_id)
    if found is None:
        raise NotFoundError(f"no audit of {name!r} has begun: begin one first")
    return found


def _end(session: Session, begun: AcceptanceAudit | None, batch_id: str | None = None) -> None:
    if begun is not None:
        begun.ended_at, begun.batch_id = now(), batch_id
        session.flush()

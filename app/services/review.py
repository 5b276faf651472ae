"""What people do: take the next proposals, decide, undo. Nothing they said is ever lost."""

from __future__ import annotations

import csv
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import learning
from app.services.access import Grant
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import FormatError, InputError, NotFoundError
from clsl_core.types import JsonObject, LabelSource, LabelState, ValidationReport
from db.models import Category, Decision, Image, Label, ModelRun, Proposal, ProposalStatus, Verdict
from db.queries import datasets as dataset_queries
from db.queries import decisions as decision_queries
from db.queries import proposals as proposal_queries
from db.queries import runs
from db.types import now

LEASE = timedelta(minutes=5)
MAX_CARDS = 100
MAX_DECISIONS = 100
IMAGE_SIZE = 960


@dataclass(frozen=True, slots=True)
class KnownLabel:
    """A label of the same image that is known already."""

    category: str
    state: str
    source: str


@dataclass(frozen=True, slots=True)
class Card:
    """One question for a person: is this category in this image?"""

    proposal_id: int
    image_id: int
    category_id: int
    category: str
    supercategory: str | None
    state: str
    score: float
    probability: float | None
    model_run_id: int
    file_name: str
    width: int | None
    height: int | None
    image_url: str
    heatmap_url: str | None
    known: list[KnownLabel]


@dataclass(frozen=True, slots=True)
class QueuePage:
    """The next cards, and how many proposals the queue holds in all."""

    cards: list[Card]
    remaining: int
    model_run_id: int | None

    def to_json(self) -> JsonObject:
        """As the route sends it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict as a client sends it. The same ``client_id`` again is the same verdict."""

    client_id: str
    image_id: int
    category_id: int
    verdict: str
    proposal_id: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an answer: saved, duplicate, stale or refused."""

    client_id: str
    status: str
    message: str | None = None
    card: Card | None = None


@dataclass(frozen=True, slots=True)
class DecideReport:
    """What a file of verdicts changed."""

    saved: int = 0
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)


def enter(workspace: Workspace, dataset_name: str, annotator_name: str) -> Grant:
    """Let somebody begin on a dataset; the annotator is made when new.

    Raises:
        NotFoundError: There is no such dataset.
        InputError: The name cannot be an annotator's.
    """
    name = check_annotator(annotator_name)
    with workspace.database.write() as session:
        dataset = find_dataset(session, dataset_name)
        return Grant(decision_queries.annotator(session, name).id, dataset.id)


def check_annotator(name: str) -> str:
    """An annotator's name as it is stored.

    Raises:
        InputError: Empty, too long, or with control characters.
    """
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise InputError(f"{name[:40]!r} cannot be an annotator's name: use 1 to 100 characters")
    return name


def next_cards(
    workspace: Workspace,
    grant: Grant,
    strategy: str,
    *,
    category_id: int | None = None,
    limit: int = 20,
    exclude: Collection[int] = (),
) -> QueuePage:
    """The next cards for one annotator, leased for five minutes.

    Raises:
        InputError: There is no such strategy.
    """
    if strategy not in proposal_queries.ORDERS:
        known = ", ".join(proposal_queries.ORDERS)
        raise InputError(f"there is no queue {strategy!r}; there are: {known}")
    moment = now()
    with workspace.database.write() as session:
        run = runs.serving_run(session, grant.dataset_id)
        if run is None:
            return QueuePage([], 0, None)
        rows = proposal_queries.next_cards(
            session,
            run.id,
            grant.annotator_id,
            strategy,
            category_id=category_id,
            exclude=exclude,
            moment=moment,
            limit=min(limit, MAX_CARDS),
        )
        pairs = [(image.id, category.id) for _, image, category in rows]
        proposal_queries.renew_leases(
            session, grant.annotator_id, pairs, moment, expires_at=moment + LEASE
        )
        cards = _cards(session, rows)
        remaining = proposal_queries.count_open(session, run.id, strategy, category_id)
        return QueuePage(cards, remaining, run.id)


def _cards(session: Session, rows: Sequence[tuple[Proposal, Image, Category]]) -> list[Card]:
    known: dict[int, list[KnownLabel]] = {}
    image_ids = {image.id for _, image, _ in rows}
    for image_id, category, label in proposal_queries.known_labels(session, image_ids):
        entry = KnownLabel(category, label.state.word, label.source.value)
        known.setdefault(image_id, []).append(entry)
    return [
        Card(
            proposal_id=proposal.id,
            image_id=image.id,
            category_id=category.id,
            category=category.name,
            supercategory=category.supercategory,
            state=proposal.state.word,
            score=proposal.score,
            probability=proposal.probability,
            model_run_id=proposal.model_run_id,
            file_name=image.file_name,
            width=image.width,
            height=image.height,
            image_url=f"/api/images/{image.id}?size={IMAGE_SIZE}",
            heatmap_url=(None if proposal.heatmap_row is None else f"/api/heatmaps/{proposal.id}"),
            known=known.get(image.id, []),
        )
        for proposal, image, category in rows
    ]


def decide(workspace: Workspace, grant: Grant, answers: Sequence[Answer]) -> list[Receipt]:
    """Store verdicts and their labels in one transaction, each exactly once.

    Raises:
        InputError: More than MAX_DECISIONS at once.
    """
    if len(answers) > MAX_DECISIONS:
        raise InputError(f"{len(answers)} verdicts in one request: send at most {MAX_DECISIONS}")
    with workspace.database.write() as session:
        receipts = [_decide(session, grant, answer) for answer in answers]
        job_id = learning.due_retraining(session, grant.dataset_id)
    if job_id is not None:
        workspace.jobs.queue.ring(job_id)
    return receipts


def _decide(session: Session, grant: Grant, answer: Answer) -> Receipt:
    earlier = decision_queries.by_client_id(session, answer.client_id)
    if earlier is not None:
        return Receipt(answer.client_id, "duplicate")
    refusal = _refusal(session, grant, answer)
    if refusal is not None:
        return Receipt(answer.client_id, "refused", refusal)
    verdict = Verdict(answer.verdict)
    label = session.get(Label, (answer.image_id, answer.category_id))
    if label is not None and answer.proposal_id is not None and verdict is not Verdict.SKIP:
        author = _author(session, label)
        if author != grant.annotator_id:
            return Receipt(answer.client_id, "stale", "this pair has been decided meanwhile")
    proposal = session.get(Proposal, answer.proposal_id) if answer.proposal_id else None
    decision = Decision(
        client_id=answer.client_id,
        dataset_id=grant.dataset_id,
        image_id=answer.image_id,
        category_id=answer.category_id,
        annotator_id=grant.annotator_id,
        proposal_id=proposal.id if proposal else None,
        verdict=verdict,
        seconds=answer.seconds,
    )
    decision_queries.apply(session, decision)
    proposal_queries.release(session, (answer.image_id, answer.category_id))
    return Receipt(answer.client_id, "saved")


def _refusal(session: Session, grant: Grant, answer: Answer) -> str | None:
    """Why an answer can never be stored; None when it can."""
    if answer.verdict not in ("present", "absent", "skip"):
        return f"the verdict {answer.verdict!r} is none of present, absent, skip"
    if not 8 <= len(answer.client_id) <= 64:
        return "the verdict's own id must have 8 to 64 characters"
    image = session.get(Image, answer.image_id)
    category = session.get(Category, answer.category_id)
    if image is None or image.dataset_id != grant.dataset_id:
        return "this image is not in the dataset any more"
    if category is None or category.dataset_id != grant.dataset_id:
        return "this category is not in the dataset any more"
    return None


def _author(session: Session, label: Label) -> int | None:
    """The annotator whose decision a label is; None for an imported one."""
    if label.decision_id is None:
        return None
    return session.get_one(Decision, label.decision_id).annotator_id


def undo(workspace: Workspace, grant: Grant, client_id: str, undoes: str) -> Receipt:
    """Take one of the annotator's own decisions back; a new event, the old one stays.

    The label becomes exactly what it was before, unless somebody decided again since: then
    nothing changes and the receipt says ``stale``.
    """
    with workspace.database.write() as session:
        if decision_queries.by_client_id(session, client_id) is not None:
            return Receipt(client_id, "duplicate", card=_card_of(session, undoes))
        undone = decision_queries.by_client_id(session, undoes)
        refusal = _undo_refusal(grant, undone)
        if undone is None or refusal is not None:
            return Receipt(client_id, "refused", refusal)
        if undone.undone_by_id is not None:
            return Receipt(client_id, "stale", "this decision was already undone")
        label = session.get(Label, (undone.image_id, undone.category_id))
        current = label.decision_id if label else None
        if undone.verdict is not Verdict.SKIP and current != undone.id:
            return Receipt(client_id, "stale", "the pair was decided again since")
        event = Decision(
            client_id=client_id,
            dataset_id=undone.dataset_id,
            image_id=undone.image_id,
            category_id=undone.category_id,
            annotator_id=grant.annotator_id,
            proposal_id=undone.proposal_id,
            verdict=Verdict.UNDO,
            undoes_id=undone.id,
        )
        decision_queries.undo(session, event, undone)
        return Receipt(client_id, "saved", card=_card_of(session, undoes))


def _undo_refusal(grant: Grant, undone: Decision | None) -> str | None:
    if undone is None or undone.dataset_id != grant.dataset_id:
        return "there is no such decision in this dataset"
    if undone.annotator_id != grant.annotator_id:
        return "only the annotator who made a decision can undo it"
    if undone.verdict is Verdict.UNDO:
        return "an undo cannot be undone: decide again instead"
    return None


def _card_of(session: Session, client_id: str) -> Card | None:
    """The card a decision was made on, if the proposal is still on offer."""
    decision = decision_queries.by_client_id(session, client_id)
    if decision is None or decision.proposal_id is None:
        return None
    row = proposal_queries.card(session, decision.proposal_id)
    if row is None or row[0].status is not ProposalStatus.OPEN:
        return None
    serving = session.get_one(ModelRun, row[0].model_run_id).serving
    return _cards(session, [row])[0] if serving else None


def decide_file(
    workspace: Workspace, dataset_name: str, file: Path, annotator_name: str
) -> DecideReport:
    """Bring in a CSV of verdicts: ``file_name,category,verdict``. Twice is the same as once.

    All rows are checked before the first one is stored.

    Raises:
        NotFoundError: There is no such file or dataset.
        FormatError: Rows are wrong; the report lists each with its line.
    """
    grant = enter(workspace, dataset_name, annotator_name)
    rows = _read_verdicts(file)
    with workspace.database.read() as session:
        wanted, report = _resolve(session, grant.dataset_id, rows)
    if not report.ok:
        first = report.errors[0]
        raise FormatError(
            f"{file.name}: {len(report.errors)} rows cannot be used and nothing was stored; "
            f"the first: {first.where}: {first.message}",
            report,
        )
    counts: Counter[str] = Counter()
    for start in range(0, len(wanted), MAX_DECISIONS):
        batch = wanted[start : start + MAX_DECISIONS]
        with workspace.database.read() as session:
            fresh = [answer for answer in batch if not _already(session, answer)]
        counts["unchanged"] += len(batch) - len(fresh)
        for receipt in decide(workspace, grant, fresh):
            counts[receipt.status] += 1
    return DecideReport(saved=counts["saved"], unchanged=counts["unchanged"])


def _read_verdicts(file: Path) -> list[tuple[int, dict[str, str]]]:
    if not file.is_file():
        raise NotFoundError(f"there is no file {str(file)!r}")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = set(reader.fieldnames or ())
            missing = {"file_name", "category", "verdict"} - columns
            if missing:
                raise FormatError(
                    f"{file.name}: the first line must name the columns file_name, category and "
                    f"verdict; missing: {', '.join(sorted(missing))}"
                )
            return [(reader.line_num, {k: v or "" for k, v in row.items() if k}) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise FormatError(f"{file.name} is not a CSV file in UTF-8: {error}") from error


def _resolve(
    session: Session, dataset_id: int, rows: Sequence[tuple[int, dict[str, str]]]
) -> tuple[list[Answer], ValidationReport]:
    """Turn names into ids; a later row about the same pair replaces an earlier one."""
    report = ValidationReport()
    query = select(Image.file_name, Image.id).where(Image.dataset_id == dataset_id)
    images: dict[str, list[int]] = {}
    for file_name, id_ in session.execute(query):
        images.setdefault(file_name, []).append(id_)
    categories = dataset_queries.category_ids_by_name(session, dataset_id)
    answers: dict[tuple[int, int], Answer] = {}
    for line, row in rows:
        where = f"line {line}"
        image_id = _only(images, row["file_name"], "image", where, report)
        category_id = _only(categories, row["category"], "category", where, report)
        verdict = row["verdict"].strip().lower()
        if verdict not in ("present", "absent"):
            message = f"the verdict is {row['verdict']!r}, expected present or absent"
            report.error("verdict", where, message)
        elif image_id is not None and category_id is not None:
            pair = (image_id, category_id)
            answers[pair] = Answer(uuid.uuid4().hex, *pair, verdict)
    return list(answers.values()), report


def _only(
    known: dict[str, list[int]], name: str, what: str, where: str, report: ValidationReport
) -> int | None:
    ids = known.get(name, [])
    if len(ids) == 1:
        return ids[0]
    found = "no" if not ids else f"{len(ids)} different"
    report.error(f"{what}-name", where, f"the dataset has {found} {what} called {name!r}")
    return None


def _already(session: Session, answer: Answer) -> bool:
    label = session.get(Label, (answer.image_id, answer.category_id))
    if label is None:
        return False
    same = label.state is LabelState.from_word(answer.verdict)
    return same and (label.source is LabelSource.HUMAN)

"""The tables.

A collection is a dataset of images and categories. ``label`` is what is known of a pair of the
two; ``decision`` is the append-only list of what people said; ``label`` is its projection,
written in the same transaction. ``proposal`` is what a model run thinks. ``job`` is the truth
about background work.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Enum,
    ForeignKey,
    Index,
    MetaData,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from clsl_core.types import LabelSource, LabelState
from db.types import SmallState, UtcDateTime, VerbatimJson, now

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class ImageStatus(StrEnum):
    """What is known of a picture's file. UNCHECKED until it was first decoded."""

    UNCHECKED = "unchecked"
    OK = "ok"
    PROBLEM = "problem"


class ProposalStatus(StrEnum):
    """OPEN and, of a pair with a label, DISPUTED wait for a person; DECIDED is answered."""

    OPEN = "open"
    DISPUTED = "disputed"
    DECIDED = "decided"


class Verdict(StrEnum):
    """What a person said of one pair. UNDO takes an earlier decision back."""

    PRESENT = "present"
    ABSENT = "absent"
    SKIP = "skip"
    UNDO = "undo"

    @property
    def state(self) -> LabelState:
        """The label a verdict asks for; UNKNOWN for SKIP and UNDO."""
        if self in (Verdict.PRESENT, Verdict.ABSENT):
            return LabelState.from_word(self.value)
        return LabelState.UNKNOWN


class Voice(StrEnum):
    """What a decision is to its pair's label.

    SOLE: the label is what it says. PANEL: one of several verdicts from which the label is
    derived. ADJUDICATION: settles what a panel left open. GOLD: of a pair whose answer is known
    already; the label stays.
    """

    SOLE = "sole"
    PANEL = "panel"
    ADJUDICATION = "adjudication"
    GOLD = "gold"


class PanelStatus(StrEnum):
    """WAITING for verdicts; AGREED by majority; CONFLICT, a tie; ADJUDICATED by a reviewer."""

    WAITING = "waiting"
    AGREED = "agreed"
    CONFLICT = "conflict"
    ADJUDICATED = "adjudicated"


class ChangeKind(StrEnum):
    """What can be done to the categories of a dataset."""

    RENAME = "rename"
    MERGE = "merge"


class RunStatus(StrEnum):
    """State of an embedding run or a model run.

    OUTSIDE: not ours; proposals of a named model that came with a file hang on it.
    """

    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    OUTSIDE = "outside"


class Role(StrEnum):
    """What people may do: each may all that the one before may, and more."""

    VIEWER = "viewer"
    ANNOTATOR = "annotator"
    REVIEWER = "reviewer"
    ADMIN = "admin"


class JobKind(StrEnum):
    """The kinds of background work."""

    IMPORT = "import"
    EMBED = "embed"
    TRAIN = "train"
    PROPOSE = "propose"
    EXPORT = "export"
    DEMO = "demo"


class JobStatus(StrEnum):
    """QUEUED and RUNNING are live; the rest is history."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def live(self) -> bool:
        """Whether the job still has something to do."""
        return self in (JobStatus.QUEUED, JobStatus.RUNNING)


def _words(kind: type[StrEnum]) -> Enum:
    """A StrEnum as text; other words are refused before they reach the database."""
    return Enum(
        kind,
        native_enum=False,
        validate_strings=True,
        values_callable=lambda members: [member.value for member in members],
        length=16,
    )


class Base(DeclarativeBase):
    """Common ground of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        datetime: UtcDateTime(),
        dict[str, Any]: VerbatimJson(),
        list[dict[str, Any]]: VerbatimJson(),
        list[str]: VerbatimJson(),
        LabelState: SmallState(),
        LabelSource: _words(LabelSource),
        ImageStatus: _words(ImageStatus),
        ProposalStatus: _words(ProposalStatus),
        Verdict: _words(Verdict),
        RunStatus: _words(RunStatus),
        JobKind: _words(JobKind),
        JobStatus: _words(JobStatus),
        Role: _words(Role),
        Voice: _words(Voice),
        PanelStatus: _words(PanelStatus),
        ChangeKind: _words(ChangeKind),
    }


class Dataset(Base):
    """One collection. ``header`` holds the top level of its source files, lists left out.

    Pictures are looked for below ``image_root``, then below each of ``more_roots`` (folders or
    URLs), then at the URL that an image's record has under ``url_field``.

    ``schedule`` is a cron expression; a training is due at its first time after
    ``schedule_from``. While its rows are brought in, ``unfinished_at`` is the moment of the last
    ones, and nobody sees it.
    """

    __tablename__ = "dataset"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    format: Mapped[str]
    image_root: Mapped[str]
    more_roots: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    url_field: Mapped[str | None]
    header: Mapped[dict[str, Any]]
    absent: Mapped[str] = mapped_column(default="unknown")
    backbone: Mapped[str] = mapped_column(default="auto")
    pretrained: Mapped[str | None]
    retrain_after: Mapped[int] = mapped_column(default=50)
    overlap: Mapped[int] = mapped_column(default=1, server_default="1")
    schedule: Mapped[str | None]
    schedule_from: Mapped[datetime | None]
    unfinished_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (
        CheckConstraint("retrain_after >= 0", name="retrain_after"),
        CheckConstraint("absent IN ('unknown', 'negative')", name="absent"),
    )


class SourceFile(Base):
    """One file that was brought into a dataset, the first one included; none that changed nothing.

    Attributes:
        name: Of the file, without its folders.
        header: Its top level as it came, lists left out.
        declared: What was declared about it: ``absent``, ``exhaustive``, ``zero`` and others.
        matched: How its ids were read: ``ids``, ``names``, or ``auto`` where nothing was asked.
    """

    __tablename__ = "source_file"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    name: Mapped[str]
    header: Mapped[dict[str, Any]]
    declared: Mapped[dict[str, Any]]
    matched: Mapped[str]
    imported_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (Index(None, "dataset_id"),)


class Image(Base):
    """One picture. ``source_id`` is the file's own id as JSON text (``12`` or ``"12"``)."""

    __tablename__ = "image"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    position: Mapped[int]
    source_id: Mapped[str]
    file_name: Mapped[str]
    width: Mapped[int | None]
    height: Mapped[int | None]
    record: Mapped[dict[str, Any]]
    status: Mapped[ImageStatus] = mapped_column(default=ImageStatus.UNCHECKED)
    reason: Mapped[str | None]
    problem: Mapped[str | None]
    fingerprint: Mapped[str | None]
    split: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("dataset_id", "source_id"),
        Index(None, "dataset_id", "file_name"),
        Index(None, "dataset_id", "split"),
        Index(None, "dataset_id", "status"),
    )


class Category(Base):
    """One category. Names may repeat in a file; source ids may not.

    One with ``merged_into_id`` has become a part of that category and is hidden: what was known of
    it stays, and nobody sees it until the merge is undone.
    """

    __tablename__ = "category"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    position: Mapped[int]
    source_id: Mapped[str]
    name: Mapped[str]
    supercategory: Mapped[str | None]
    record: Mapped[dict[str, Any]]
    merged_into_id: Mapped[int | None]

    __table_args__ = (UniqueConstraint("dataset_id", "source_id"),)


class CategoryChange(Base):
    """A category was renamed, or others were merged into it. Append-only; an undo is noted here.

    Attributes:
        batch: Changes of one batch were made, and are undone, as one.
        category_id: The renamed one, or the one that stays.
        details: Of a rename the name before and after, and the record before; of a merge the ids
            and names of what was merged into it, the policy, and what it changed.
        last_decision_id: The newest decision when it was made.
        undone_by: Who took it back; NULL while it stands.
        undone_decision_id: The newest decision then.
    """

    __tablename__ = "category_change"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    batch: Mapped[str]
    kind: Mapped[ChangeKind]
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id", ondelete="CASCADE"))
    details: Mapped[dict[str, Any]]
    last_decision_id: Mapped[int]
    made_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    undone_by: Mapped[str | None]
    undone_at: Mapped[datetime | None]
    undone_decision_id: Mapped[int | None]

    __table_args__ = (Index(None, "dataset_id", "id"), Index(None, "category_id"))


class CategoryChangeLabel(Base):
    """A label of the category that stays, before and after a merge; UNKNOWN where there is none.

    ``restored``: the undo of the merge has put it back; others had been decided again.
    """

    __tablename__ = "category_change_label"

    change_id: Mapped[int] = mapped_column(
        ForeignKey("category_change.id", ondelete="CASCADE"), primary_key=True
    )
    image_id: Mapped[int] = mapped_column(
        ForeignKey("image.id", ondelete="CASCADE"), primary_key=True
    )
    before_state: Mapped[LabelState]
    before_source: Mapped[LabelSource | None]
    before_decision_id: Mapped[int | None]
    before_provenance: Mapped[dict[str, Any] | None] = mapped_column(VerbatimJson())
    after_state: Mapped[LabelState]
    after_source: Mapped[LabelSource | None]
    after_decision_id: Mapped[int | None]
    after_provenance: Mapped[dict[str, Any] | None] = mapped_column(VerbatimJson())
    restored: Mapped[bool] = mapped_column(default=False, server_default=text("false"))

    __table_args__ = (Index(None, "image_id"), {"sqlite_with_rowid": False})


class CategoryChangeProposal(Base):
    """A proposal that a merge closed, with its status before."""

    __tablename__ = "category_change_proposal"

    change_id: Mapped[int] = mapped_column(
        ForeignKey("category_change.id", ondelete="CASCADE"), primary_key=True
    )
    proposal_id: Mapped[int] = mapped_column(
        ForeignKey("proposal.id", ondelete="CASCADE"), primary_key=True
    )
    status: Mapped[ProposalStatus]

    __table_args__ = (Index(None, "proposal_id"), {"sqlite_with_rowid": False})


class Annotation(Base):
    """One box or mask, carried through verbatim; NULL ids where it points nowhere.

    ``source_id`` is what its file calls it (as JSON text) where its record has another id, since
    an annotation of another file had that one before.
    """

    __tablename__ = "annotation"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    position: Mapped[int]
    image_id: Mapped[int | None] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"))
    category_id: Mapped[int | None] = mapped_column(ForeignKey("category.id", ondelete="CASCADE"))
    record: Mapped[dict[str, Any]]
    source_id: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("dataset_id", "position"),
        Index(None, "image_id"),
        Index(None, "category_id"),
    )


class Annotator(Base):
    """A person who gives verdicts. ``keys`` are those of the review page that they changed.

    ``notices_seen`` is the id of the newest notice that they were shown. Who is not ``active`` is
    switched off: what they did stays, they may do and see nothing.
    """

    __tablename__ = "annotator"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    keys: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    notices_seen: Mapped[int] = mapped_column(default=0, server_default="0")
    role: Mapped[Role] = mapped_column(default=Role.ADMIN, server_default=Role.ADMIN.value)
    active: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Identity(Base):
    """How a person signs in: a subject of an issuer (OpenID Connect), and nothing else.

    ``name`` and ``email`` are what the issuer said at the sign-in of ``signed_in_at``. Those up to
    ``ended_at`` were ended by signing out; both are times of the issuer's clock.
    """

    __tablename__ = "identity"

    id: Mapped[int] = mapped_column(primary_key=True)
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id", ondelete="CASCADE"))
    issuer: Mapped[str]
    subject: Mapped[str]
    name: Mapped[str]
    email: Mapped[str | None]
    email_verified: Mapped[bool]
    signed_in_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (UniqueConstraint("issuer", "subject"), Index(None, "annotator_id"))


class ApiToken(Base):
    """A script's token, of which only the sha256 is kept: the script acts as the annotator."""

    __tablename__ = "api_token"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "annotator_id"),)


class AuditEvent(Base):
    """Who did what. Append-only; verdicts are not here, since decisions are events themselves."""

    __tablename__ = "audit_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Decision(Base):
    """What a person said, once and for ever. ``client_id`` makes sending it twice harmless.

    The ``previous_*`` columns hold the label as it was, so that an undo restores it exactly.
    Decisions of one ``batch_id`` were made, and are undone, as one. ``source`` is that of the
    label: MODEL_AUDITED where the person has not seen the pair.
    """

    __tablename__ = "decision"

    id: Mapped[int] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(unique=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"))
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id", ondelete="CASCADE"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id"))
    proposal_id: Mapped[int | None] = mapped_column(ForeignKey("proposal.id", ondelete="SET NULL"))
    verdict: Mapped[Verdict]
    source: Mapped[LabelSource] = mapped_column(
        default=LabelSource.HUMAN, server_default=LabelSource.HUMAN.value
    )
    voice: Mapped[Voice] = mapped_column(default=Voice.SOLE, server_default=Voice.SOLE.value)
    seconds: Mapped[float | None]
    previous_state: Mapped[LabelState]
    previous_source: Mapped[LabelSource | None]
    previous_decision_id: Mapped[int | None]
    undoes_id: Mapped[int | None] = mapped_column(
        ForeignKey("decision.id", ondelete="CASCADE"), unique=True
    )
    undone_by_id: Mapped[int | None]
    batch_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (
        CheckConstraint("(verdict = 'undo') = (undoes_id IS NOT NULL)", name="undo"),
        Index(None, "dataset_id", "id"),
        Index(None, "image_id", "category_id"),
        Index(None, "category_id"),
        Index(None, "proposal_id"),
        Index(None, "annotator_id", "id"),
        Index(None, "batch_id"),
    )


class Label(Base):
    """What is known of one pair. No row means UNKNOWN."""

    __tablename__ = "label"

    image_id: Mapped[int] = mapped_column(
        ForeignKey("image.id", ondelete="CASCADE"), primary_key=True
    )
    category_id: Mapped[int] = mapped_column(
        ForeignKey("category.id", ondelete="CASCADE"), primary_key=True
    )
    state: Mapped[LabelState]
    source: Mapped[LabelSource]
    decision_id: Mapped[int | None] = mapped_column(ForeignKey("decision.id", ondelete="SET NULL"))
    provenance: Mapped[dict[str, Any] | None] = mapped_column(VerbatimJson())

    __table_args__ = (
        CheckConstraint("state IN (-1, 1)", name="state"),
        Index(None, "category_id", "state"),
        Index(None, "decision_id"),
        {"sqlite_with_rowid": False},
    )


class Panel(Base):
    """A pair that several people judge: a projection of their decisions, as the label is.

    Attributes:
        size: How many people are asked.
        present, absent: Verdicts that count: of each person the newest that stands.
        base_state, base_source, base_decision_id: The label as it was before the first verdict;
            ``base_source`` is NULL where there was none.
    """

    __tablename__ = "panel"

    image_id: Mapped[int] = mapped_column(
        ForeignKey("image.id", ondelete="CASCADE"), primary_key=True
    )
    category_id: Mapped[int] = mapped_column(
        ForeignKey("category.id", ondelete="CASCADE"), primary_key=True
    )
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    size: Mapped[int]
    status: Mapped[PanelStatus] = mapped_column(default=PanelStatus.WAITING)
    present: Mapped[int] = mapped_column(default=0)
    absent: Mapped[int] = mapped_column(default=0)
    base_state: Mapped[LabelState]
    base_source: Mapped[LabelSource | None]
    base_decision_id: Mapped[int | None]

    __table_args__ = (
        Index(None, "dataset_id", "status", "image_id", "category_id"),
        Index(None, "category_id"),
    )


class Gold(Base):
    """A pair whose answer is known, put before people unannounced to see how they judge."""

    __tablename__ = "gold"

    image_id: Mapped[int] = mapped_column(
        ForeignKey("image.id", ondelete="CASCADE"), primary_key=True
    )
    category_id: Mapped[int] = mapped_column(
        ForeignKey("category.id", ondelete="CASCADE"), primary_key=True
    )
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    state: Mapped[LabelState]
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (
        CheckConstraint("state IN (-1, 1)", name="state"),
        Index(None, "dataset_id"),
        Index(None, "category_id"),
    )


class Assignment(Base):
    """A part of a dataset that somebody is to judge; NULL leaves that side open.

    ``exclusive``: they are offered nothing else; otherwise this comes first.
    """

    __tablename__ = "assignment"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id", ondelete="CASCADE"))
    category_id: Mapped[int | None] = mapped_column(ForeignKey("category.id", ondelete="CASCADE"))
    split: Mapped[str | None]
    prefix: Mapped[str | None]
    exclusive: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (
        Index(None, "dataset_id", "annotator_id"),
        Index(None, "annotator_id"),
        Index(None, "category_id"),
    )


class EmbeddingRun(Base):
    """One pass of a backbone over a dataset; grows when images are added."""

    __tablename__ = "embedding_run"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    backbone_key: Mapped[str]
    spec: Mapped[dict[str, Any]]
    description: Mapped[str]
    notice: Mapped[str | None]
    directory: Mapped[str]
    status: Mapped[RunStatus] = mapped_column(default=RunStatus.RUNNING)
    image_count: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]

    __table_args__ = (UniqueConstraint("dataset_id", "backbone_key"),)


class ModelRun(Base):
    """One training: what went in, what came out, where its checkpoint lies.

    People are shown the proposals of the one run that is ``serving``. While it is ``pinned`` no
    other takes its place.

    Attributes:
        new_decisions: Verdicts since the training before.
        last_decision_id: The newest decision that it learned from.
        snapshot: How many images, decisions and labels of each kind it saw, and the ids of its
            categories in the order of its scores.
        gate: Why it serves or does not; NULL until that was judged.
        seconds: Work of the attempt that finished it.
        peak_memory, peak_gpu_memory: Bytes; NULL where they cannot be measured.
    """

    __tablename__ = "model_run"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    embedding_run_id: Mapped[int] = mapped_column(
        ForeignKey("embedding_run.id", ondelete="CASCADE")
    )
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("model_run.id", ondelete="SET NULL"))
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id", ondelete="SET NULL"))
    status: Mapped[RunStatus] = mapped_column(default=RunStatus.RUNNING)
    serving: Mapped[bool] = mapped_column(default=False)
    pinned: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    trigger: Mapped[str]
    new_decisions: Mapped[int]
    last_decision_id: Mapped[int]
    known_present: Mapped[int]
    known_absent: Mapped[int]
    config: Mapped[dict[str, Any]]
    seed: Mapped[int]
    code_version: Mapped[str]
    device: Mapped[str | None]
    snapshot: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    gate: Mapped[dict[str, Any] | None] = mapped_column(VerbatimJson())
    seconds: Mapped[float | None]
    peak_memory: Mapped[int | None] = mapped_column(BigInteger)
    peak_gpu_memory: Mapped[int | None] = mapped_column(BigInteger)
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    curves: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    directory: Mapped[str | None]
    checksum: Mapped[str | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "dataset_id", "id"),
        Index(None, "embedding_run_id"),
        Index(
            "uq_model_run_serving",
            "dataset_id",
            unique=True,
            sqlite_where=text("serving"),
            postgresql_where=text("serving"),
        ),
    )


def _chance(context: DefaultExecutionContext) -> float:
    values: dict[str, Any] = context.get_current_parameters()  # type: ignore[no-untyped-call]
    probability = values.get("probability")
    return float(values["score"] if probability is None else probability)


def _margin(context: DefaultExecutionContext) -> float:
    return abs(_chance(context) - 0.5)


def _lot() -> int:
    return secrets.randbits(31)


class Proposal(Base):
    """What a model run thinks of one unknown pair, or of a label that it contradicts.

    Attributes:
        chance: The probability where there is one, else the score.
        margin: How far the chance is from one half.
        turn: Place in the mixed order, from 0.
        lot: Drawn at random: the order of the control arm.
        control: In the uniform random sample that calibration and completeness rest on.
        disputes: The pair had a label when this was proposed, and the model holds the opposite.
        heatmap_row: Row in the run's heat map file.
    """

    __tablename__ = "proposal"

    id: Mapped[int] = mapped_column(primary_key=True)
    model_run_id: Mapped[int] = mapped_column(ForeignKey("model_run.id", ondelete="CASCADE"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"))
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id", ondelete="CASCADE"))
    state: Mapped[LabelState]
    score: Mapped[float]
    probability: Mapped[float | None]
    chance: Mapped[float] = mapped_column(default=_chance, server_default="0")
    margin: Mapped[float] = mapped_column(default=_margin, server_default="0")
    turn: Mapped[int] = mapped_column(default=0, server_default="0")
    lot: Mapped[int] = mapped_column(default=_lot, server_default="0")
    control: Mapped[bool] = mapped_column(default=False)
    disputes: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    heatmap_row: Mapped[int | None]
    status: Mapped[ProposalStatus] = mapped_column(default=ProposalStatus.OPEN)

    __table_args__ = (
        UniqueConstraint("model_run_id", "image_id", "category_id"),
        CheckConstraint("state IN (-1, 1)", name="state"),
        CheckConstraint("score BETWEEN 0 AND 1", name="score"),
        CheckConstraint("probability BETWEEN 0 AND 1", name="probability"),
        Index("ix_proposal_likely", "model_run_id", "status", "state", "chance", "score", "id"),
        Index(
            "ix_proposal_category_likely",
            "model_run_id",
            "category_id",
            "status",
            "state",
            "chance",
            "score",
            "id",
        ),
        Index("ix_proposal_uncertain", "model_run_id", "status", "margin", "id"),
        Index(
            "ix_proposal_category_uncertain",
            "model_run_id",
            "category_id",
            "status",
            "margin",
            "id",
        ),
        Index("ix_proposal_mixed", "model_run_id", "status", "turn", "id"),
        Index(
            "ix_proposal_control",
            "model_run_id",
            "status",
            "lot",
            "id",
            sqlite_where=text("control"),
            postgresql_where=text("control"),
        ),
        Index(None, "image_id", "category_id"),
        Index(None, "category_id"),
    )


class AcceptanceAudit(Base):
    """Proposals of one category that may be accepted unseen once a sample of them is checked.

    It ends when they are accepted or when another one begins; it outlives the model run.

    Attributes:
        frame: The image ids and scores of the proposals when it began, best first, and the
            configuration of the promise.
        seed: Of the lots that decide who is checked.
        last_decision_id: Verdicts after this one count.
        batch_id: Of the decisions that it ended with.
    """

    __tablename__ = "acceptance_audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id", ondelete="CASCADE"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id"))
    frame: Mapped[dict[str, Any]]
    seed: Mapped[int]
    last_decision_id: Mapped[int]
    batch_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "dataset_id"),
        Index(None, "category_id"),
        Index(None, "annotator_id"),
        Index(
            "uq_acceptance_audit_open",
            "category_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )


class CompletenessAudit(Base):
    """A random sample of unknown pairs, stratified by score, drawn to tell what is missing.

    Attributes:
        category_id: NULL for a sample of all categories together.
        plan: Model run, the number of pairs of each stratum, the sampled pairs as ``[image id,
            category id, stratum]`` in the order to ask, and the highest image id among all pairs.
        last_decision_id: The newest decision when it was drawn.
    """

    __tablename__ = "completeness_audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    category_id: Mapped[int | None] = mapped_column(ForeignKey("category.id", ondelete="CASCADE"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id"))
    plan: Mapped[dict[str, Any]]
    last_decision_id: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (
        Index(None, "dataset_id", "category_id", "id"),
        Index(None, "category_id"),
        Index(None, "annotator_id"),
    )


class Lease(Base):
    """A pair that one window of somebody shows; no other is shown it until it expires."""

    __tablename__ = "lease"

    image_id: Mapped[int] = mapped_column(
        ForeignKey("image.id", ondelete="CASCADE"), primary_key=True
    )
    category_id: Mapped[int] = mapped_column(
        ForeignKey("category.id", ondelete="CASCADE"), primary_key=True
    )
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id", ondelete="CASCADE"))
    client: Mapped[str] = mapped_column(default="", server_default="")
    expires_at: Mapped[datetime]

    __table_args__ = (
        Index(None, "annotator_id"),
        Index(None, "category_id"),
        Index(None, "expires_at"),
    )


class Flag(Base):
    """Something is odd about an image: for later, or for somebody else."""

    __tablename__ = "flag"

    id: Mapped[int] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(unique=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"))
    category_id: Mapped[int | None] = mapped_column(ForeignKey("category.id", ondelete="SET NULL"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id"))
    comment: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    resolved_at: Mapped[datetime | None]
    resolved_by_id: Mapped[int | None] = mapped_column(ForeignKey("annotator.id"))

    __table_args__ = (
        Index(None, "dataset_id", "resolved_at"),
        Index(None, "image_id"),
        Index(None, "category_id"),
        Index(None, "annotator_id"),
        Index(None, "resolved_by_id"),
    )


class SplitChange(Base):
    """Images were divided into splits. Of a dataset, the newest that stands can be undone.

    Attributes:
        asked: The shares by name, the seed, and whether images kept the split they had.
        before: The splits that images had, each with their ids; those without one under "".
    """

    __tablename__ = "division"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    made_by: Mapped[str]
    asked: Mapped[dict[str, Any]]
    before: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    undone_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "dataset_id"),)


class Snapshot(Base):
    """The labels of a dataset as they were, never changed.

    Attributes:
        states: Packed; see ``app.services.datasets.snapshots``.
        checksum: SHA-256 of ``states``.
        last_decision_id: The last decision that they follow from; 0 for none.
    """

    __tablename__ = "snapshot"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    name: Mapped[str]
    taken_by: Mapped[str]
    last_decision_id: Mapped[int]
    present: Mapped[int]
    absent: Mapped[int]
    states: Mapped[bytes] = mapped_column(deferred=True)
    checksum: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (UniqueConstraint("dataset_id", "name"),)


class Notice(Base):
    """Something that happened in the background, told once to everybody who works here."""

    __tablename__ = "notice"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    good: Mapped[bool]
    message: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (Index(None, "dataset_id"),)


class Job(Base):
    """Background work. The queue only carries the id; everything else is here."""

    __tablename__ = "job"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int | None] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    kind: Mapped[JobKind]
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    status: Mapped[JobStatus] = mapped_column(default=JobStatus.QUEUED)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    message: Mapped[str] = mapped_column(default="")
    error: Mapped[str | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(VerbatimJson())
    attempts: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "status", "id"),
        Index(None, "dataset_id", "id"),
        Index(
            "uq_job_live_training",
            "dataset_id",
            "status",
            unique=True,
            sqlite_where=text("kind = 'train' AND status IN ('queued', 'running')"),
            postgresql_where=text("kind = 'train' AND status IN ('queued', 'running')"),
        ),
    )

"""Taking completed annotations out: the source file comes back, our labels are added."""

from __future__ import annotations

import json
import tempfile
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from app.services import audit, who
from app.services.category_effects import KEPT_WHOLE, Effects
from app.services.export_choice import ExportChoice
from app.services.jobs import JobContext
from app.services.stored_set import content_of
from app.services.who import Right
from app.services.workspace import Workspace, find_dataset
from clsl_core.atomic import atomic_file, atomic_text
from clsl_core.errors import InputError
from clsl_core.formats import get_format
from clsl_core.formats.capabilities import losses
from clsl_core.formats.table_source import table_line
from clsl_core.types import (
    AnnotationSet,
    JsonObject,
    LabelRecord,
    Progress,
    no_progress,
)
from db.models import Annotation, Annotator, Category, Dataset, Decision, Image, Label, Proposal
from db.queries import datasets, proposals, runs
from db.queries.datasets import category_counts
from db.types import now

SHOWN = 20
REARRANGED = "rearranged"
EVERYTHING = ExportChoice()
PROPOSAL_COLUMNS = ("file_name", "category", "state", "score", "probability", "model_run")


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export contains; ``category_changes`` in words, oldest first."""

    images: int
    categories: int
    annotations: int
    labels_added: dict[str, int]
    imported_present: int
    model_run: int | None
    exported_at: str
    proposals: int = 0
    category_changes: tuple[str, ...] = ()

    def to_json(self) -> JsonObject:
        """As the file states it."""
        changed = {"category_changes": list(self.category_changes)}
        return (changed if self.category_changes else {}) | {
            "labels_added": self.labels_added,
            "labels_from_the_source_file": self.imported_present,
            "proposals": self.proposals,
            "model_run": self.model_run,
            "exported_at": self.exported_at,
        }


def preview(
    workspace: Workspace, dataset_name: str, choice: ExportChoice = EVERYTHING
) -> ExportSummary:
    """What an export would contain now.

    Raises:
        NotFoundError: There is no such dataset.
    """
    with workspace.database.read() as session:
        return _summary(session, find_dataset(session, dataset_name), choice)


def newest_labels(
    workspace: Workspace, dataset_name: str, choice: ExportChoice = EVERYTHING
) -> list[tuple[str, str, str, str, str, datetime]]:
    """Labels given here that would be added, the newest first.

    Returns:
        ``(file name, category name, state, source, annotator, time)`` of at most ``SHOWN``.

    Raises:
        NotFoundError: There is no such dataset.
    """
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        query = (
            select(
                Image.file_name,
                Category.name,
                Label.state,
                Label.source,
                Annotator.name,
                Decision.created_at,
            )
            .join(Label, Label.decision_id == Decision.id)
            .join(Image, Image.id == Label.image_id)
            .join(Category, Category.id == Label.category_id)
            .join(Annotator, Annotator.id == Decision.annotator_id)
            .where(
                Decision.dataset_id == dataset.id,
                Category.merged_into_id.is_(None),
                Label.source.in_(choice.sources),
            )
            .order_by(Decision.id.desc())
            .limit(SHOWN)
        )
        return [
            (row[0], row[1], row[2].word, row[3].value, row[4], row[5])
            for row in session.execute(query)
        ]


def left_behind(
    workspace: Workspace,
    dataset_name: str,
    format_name: str,
    choice: ExportChoice = EVERYTHING,
) -> list[str]:
    """What an export into a format would lose, in words; nothing for the dataset's own format.

    Raises:
        NotFoundError: There is no such dataset or format.
    """
    get_format(format_name)
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        effects = Effects.of(session, dataset)
        if dataset.format == format_name and not _anew(dataset, effects):
            return []
        labels = [*_stored_labels(session, dataset, choice), *_our_labels(session, dataset, choice)]
        content = _named(content_of(session, dataset, no_progress, effects), dataset, effects)
        content = replace(content, labels=labels)
        return losses(content, format_name)


def export(
    workspace: Workspace,
    dataset_name: str,
    output: Path,
    format_name: str | None = None,
    progress: Progress = no_progress,
    choice: ExportChoice = EVERYTHING,
) -> ExportSummary:
    """Write a dataset to a file: whole, or not at all.

    Args:
        workspace: Where the dataset is.
        dataset_name: Which one.
        output: The file, or for some formats the folder, to write.
        format_name: None for the format it was imported from.
        progress: Told how far writing is.
        choice: What goes in. Proposals go into a table beside the file.

    Raises:
        NotFoundError: There is no such dataset or format.
        InputError: The file cannot be written there.
    """
    who.require(Right.EXPORT)
    progress(0, 1, "reading the dataset")
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        writer = get_format(format_name or dataset.format)
        effects = Effects.of(session, dataset)
        own = writer.name == dataset.format and not _anew(dataset, effects)
        content = _content(session, dataset, progress, effects, as_it_came=own)
        if not own:
            content = replace(content, labels=list(_stored_labels(session, dataset, choice)))
        ours = [
            *(_follow_from_merges(session, dataset, effects) if own else ()),
            *_our_labels(session, dataset, choice),
        ]
        summary, dataset_id = _summary(session, dataset, choice), dataset.id
        _check_output(output)
        with workspace.database.write("audit") as noting:
            audit.record(
                noting, "export", f"dataset {dataset_id}", format=writer.name, **choice.to_json()
            )
        progress(0, 1, f"writing {output.name}")
        if choice.proposals:
            _write_proposals(session, dataset, proposals_path(output))
        writer.write(content, ours, output, summary=summary.to_json())
    progress(1, 1, f"wrote {output.name}")
    return summary


def run_export(workspace: Workspace, context: JobContext) -> JsonObject:
    """Job handler of JobKind.EXPORT: one file below the data directory's exports.

    What a format writes as a folder, or as several files, is packed into a zip.
    """
    name = str(context.job.dataset)
    payload = context.job.payload
    wanted = get_format(str(payload.get("format", "coco")))
    choice = ExportChoice.of(payload.get("sources"), payload.get("proposals"))
    exports = workspace.data_dir / "exports"
    with tempfile.TemporaryDirectory(dir=exports, prefix=".") as scratch:
        output = Path(scratch) / f"completed{wanted.suffix}"
        summary = export(workspace, name, output, wanted.name, context.progress, choice)
        made = sorted(path for path in Path(scratch).rglob("*") if path.is_file())
        ready = exports / f"{uuid.uuid4().hex}{wanted.suffix if made == [output] else '.zip'}"
        if made == [output]:
            output.replace(ready)
        else:
            context.progress(0, 1, "packing the files")
            _pack(made, Path(scratch), ready)
    return {
        "message": "ready",
        "file": ready.name,
        "format": wanted.name,
        **summary.to_json(),
    }


def _pack(files: Sequence[Path], folder: Path, output: Path) -> None:
    with atomic_file(output) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as pack:
        for path in files:
            pack.write(path, path.relative_to(folder))


def _check_output(output: Path) -> None:
    if output.is_dir():
        raise InputError(f"{str(output)!r} is a folder: name the file to write")
    if not output.absolute().parent.is_dir():
        raise InputError(f"the folder {str(output.absolute().parent)!r} does not exist: make it")


def _anew(dataset: Dataset, effects: Effects) -> bool:
    """Whether the file is written anew even in its own format: its records hold changed names."""
    return effects.any and dataset.format not in KEPT_WHOLE


def _named(content: AnnotationSet, dataset: Dataset, effects: Effects) -> AnnotationSet:
    """The set under a format's name that no writer takes for its own where it is written anew."""
    return replace(content, format=REARRANGED) if _anew(dataset, effects) else content


def _content(
    session: Session,
    dataset: Dataset,
    progress: Progress,
    effects: Effects,
    *,
    as_it_came: bool,
) -> AnnotationSet:
    """A dataset without labels. Records are sent one by one only into COCO's own format.

    Other writers go over them more than once, and have them in memory.
    """
    content = _named(content_of(session, dataset, progress, effects), dataset, effects)
    if as_it_came and dataset.format == "coco":
        return content
    return replace(content, images=list(content.images), annotations=list(content.annotations))


def _follow_from_merges(
    session: Session, dataset: Dataset, effects: Effects
) -> Iterator[LabelRecord]:
    """What came with the file and is now known of categories that others went into.

    The records may say otherwise: a writer adds what they do not say.
    """
    if not effects.into:
        return
    query = (
        select(Image.source_id, Category.source_id, Label.state, Label.provenance)
        .join(Image, Image.id == Label.image_id)
        .join(Category, Category.id == Label.category_id)
        .where(Category.id.in_(set(effects.into.values())), Label.decision_id.is_(None))
        .order_by(Image.position, Category.position)
    )
    for image_id, category_id, state, provenance in session.execute(query):
        yield LabelRecord(
            json.loads(image_id), json.loads(category_id), state, **(provenance or {})
        )


def _stored_labels(
    session: Session, dataset: Dataset, choice: ExportChoice
) -> Iterator[LabelRecord]:
    """Every label of a dataset with the provenance it was imported with.

    Its own format finds them in the records and the header; another one cannot. What was given
    here and is not wanted leaves its pair unknown.
    """
    query = (
        select(Image.source_id, Category.source_id, Label.state, Label.source, Label.provenance)
        .join(Image, Image.id == Label.image_id)
        .join(Category, Category.id == Label.category_id)
        .where(
            Category.dataset_id == dataset.id,
            Category.merged_into_id.is_(None),
            or_(Label.decision_id.is_(None), Label.source.in_(choice.sources)),
        )
        .order_by(Image.position, Category.position)
    )
    for image_id, category_id, state, source, provenance in session.execute(query):
        known = {"source": source.value, **(provenance or {})}
        yield LabelRecord(json.loads(image_id), json.loads(category_id), state, **known)


def _our_labels(session: Session, dataset: Dataset, choice: ExportChoice) -> Iterator[LabelRecord]:
    """The labels that people gave here, with their provenance."""
    query = (
        select(
            Image.source_id,
            Category.source_id,
            Label.state,
            Label.source,
            Decision.created_at,
            Annotator.name,
            Proposal.model_run_id,
            Proposal.score,
        )
        .join(Image, Image.id == Label.image_id)
        .join(Category, Category.id == Label.category_id)
        .join(Decision, Decision.id == Label.decision_id)
        .join(Annotator, Annotator.id == Decision.annotator_id)
        .outerjoin(Proposal, Proposal.id == Decision.proposal_id)
        .where(
            Category.dataset_id == dataset.id,
            Category.merged_into_id.is_(None),
            Label.source.in_(choice.sources),
        )
        .order_by(Image.position, Category.position)
    )
    row: Any
    for row in session.execute(query):
        image_id, category_id, state, source, moment, annotator, run_id, score = row
        yield LabelRecord(
            image_id=json.loads(image_id),
            category_id=json.loads(category_id),
            state=state,
            source=source.value,
            model_run=None if run_id is None else str(run_id),
            score=score,
            annotator=annotator,
            decided_at=moment.isoformat(),
        )


def _summary(session: Session, dataset: Dataset, choice: ExportChoice) -> ExportSummary:
    def count(table: type[Image] | type[Annotation]) -> int:
        query = select(func.count()).select_from(table).where(table.dataset_id == dataset.id)
        return session.scalar(query) or 0

    run = runs.serving_run(session, dataset.id)
    given = (
        select(Label.source, Label.state, func.count())
        .join(Category, Category.id == Label.category_id)
        .where(
            Category.dataset_id == dataset.id,
            Category.merged_into_id.is_(None),
            Label.decision_id.is_not(None),
            Label.source.in_(choice.sources),
        )
        .group_by(Label.source, Label.state)
        .order_by(Label.source, Label.state.desc())
    )
    by_state = {
        f"{source.value} {state.word}": number for source, state, number in session.execute(given)
    }
    return ExportSummary(
        images=count(Image),
        categories=len(datasets.categories(session, dataset.id)),
        annotations=count(Annotation),
        labels_added=by_state,
        imported_present=sum(c.imported_present for c in category_counts(session, dataset.id)),
        model_run=run.id if run else None,
        exported_at=now().isoformat(timespec="seconds"),
        proposals=proposals.count_open(session, dataset.id) if choice.proposals else 0,
        category_changes=Effects.of(session, dataset, told_alone=True).told,
    )


def proposals_path(output: Path) -> Path:
    """Where the table of the open proposals goes, beside an export."""
    return output.with_name(f"{output.stem}.proposals.csv")


def write_proposals(workspace: Workspace, dataset_name: str, output: Path) -> int:
    """Write the open proposals as CSV, most likely first.

    Returns:
        How many rows were written.

    Raises:
        NotFoundError: There is no such dataset.
        InputError: The file cannot be written there.
    """
    who.require(Right.EXPORT)
    _check_output(output)
    with workspace.database.read() as session:
        return _write_proposals(session, find_dataset(session, dataset_name), output)


def _write_proposals(session: Session, dataset: Dataset, output: Path) -> int:
    count = 0
    with atomic_text(output) as file:
        file.write(table_line(PROPOSAL_COLUMNS))
        for file_name, category, state, score, probability, run in proposals.ranked(
            session, dataset.id
        ):
            shown = "" if probability is None else f"{probability:.6f}"
            cells = (file_name, category, state.word, f"{score:.6f}", shown, str(run))
            file.write(table_line(cells))
            count += 1
    return count

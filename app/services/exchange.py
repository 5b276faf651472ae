"""Taking completed annotations out: the source file comes back, our labels are added."""

from __future__ import annotations

import csv
import json
import tempfile
import uuid
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.services import audit, who
from app.services.jobs import JobContext
from app.services.stored_set import content_of
from app.services.who import Right
from app.services.workspace import Workspace, find_dataset
from clsl_core.atomic import atomic_file, atomic_text
from clsl_core.errors import InputError
from clsl_core.formats import get_format
from clsl_core.formats.capabilities import losses
from clsl_core.types import (
    AnnotationSet,
    JsonObject,
    LabelRecord,
    LabelSource,
    Progress,
    no_progress,
)
from db.models import Annotation, Annotator, Category, Dataset, Decision, Image, Label, Proposal
from db.queries import proposals, runs
from db.queries.datasets import category_counts
from db.types import now


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export contains."""

    images: int
    categories: int
    annotations: int
    labels_added: dict[str, int]
    imported_present: int
    model_run: int | None
    exported_at: str

    def to_json(self) -> JsonObject:
        """As the file states it."""
        return {
            "labels_added": self.labels_added,
            "labels_from_the_source_file": self.imported_present,
            "proposals": 0,
            "model_run": self.model_run,
            "exported_at": self.exported_at,
        }


def preview(workspace: Workspace, dataset_name: str) -> ExportSummary:
    """What an export would contain now.

    Raises:
        NotFoundError: There is no such dataset.
    """
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        return _summary(session, dataset, list(_our_labels(session, dataset)))


def left_behind(workspace: Workspace, dataset_name: str, format_name: str) -> list[str]:
    """What an export into a format would lose, in words; nothing for the dataset's own format.

    Raises:
        NotFoundError: There is no such dataset or format.
    """
    get_format(format_name)
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        if dataset.format == format_name:
            return []
        content = replace(
            _content(session, dataset, no_progress, as_it_came=False),
            labels=[*_stored_labels(session, dataset), *_our_labels(session, dataset)],
        )
    return losses(content, format_name)


def export(
    workspace: Workspace,
    dataset_name: str,
    output: Path,
    format_name: str | None = None,
    progress: Progress = no_progress,
) -> ExportSummary:
    """Write a dataset to a file: whole, or not at all.

    Args:
        workspace: Where the dataset is.
        dataset_name: Which one.
        output: The file, or for some formats the folder, to write.
        format_name: None for the format it was imported from.
        progress: Told how far writing is.

    Raises:
        NotFoundError: There is no such dataset or format.
        InputError: The file cannot be written there.
    """
    who.require(Right.EXPORT)
    progress(0, 1, "reading the dataset")
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        writer = get_format(format_name or dataset.format)
        own = writer.name == dataset.format
        content = _content(session, dataset, progress, as_it_came=own)
        if not own:
            content = replace(content, labels=list(_stored_labels(session, dataset)))
        ours = list(_our_labels(session, dataset))
        summary, dataset_id = _summary(session, dataset, ours), dataset.id
        _check_output(output)
        with workspace.database.write("audit") as noting:
            audit.record(noting, "export", f"dataset {dataset_id}", format=writer.name)
        progress(0, 1, f"writing {output.name}")
        writer.write(content, ours, output, summary=summary.to_json())
    progress(1, 1, f"wrote {output.name}")
    return summary


def run_export(workspace: Workspace, context: JobContext) -> JsonObject:
    """Job handler of JobKind.EXPORT: one file below the data directory's exports.

    What a format writes as a folder, or as several files, is packed into a zip.
    """
    name = str(context.job.dataset)
    wanted = get_format(str(context.job.payload.get("format", "coco")))
    exports = workspace.data_dir / "exports"
    with tempfile.TemporaryDirectory(dir=exports, prefix=".") as scratch:
        output = Path(scratch) / f"completed{wanted.suffix}"
        summary = export(workspace, name, output, wanted.name, context.progress)
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


def _content(
    session: Session, dataset: Dataset, progress: Progress, *, as_it_came: bool
) -> AnnotationSet:
    """A dataset without labels. Records are sent one by one only into COCO's own format.

    Other writers go over them more than once, and have them in memory.
    """
    content = content_of(session, dataset, progress)
    if as_it_came and dataset.format == "coco":
        return content
    return replace(content, images=list(content.images), annotations=list(content.annotations))


def _stored_labels(session: Session, dataset: Dataset) -> Iterator[LabelRecord]:
    """Every label of a dataset with the provenance it was imported with.

    Its own format finds them in the records and the header; another one cannot.
    """
    query = (
        select(Image.source_id, Category.source_id, Label.state, Label.source, Label.provenance)
        .join(Image, Image.id == Label.image_id)
        .join(Category, Category.id == Label.category_id)
        .where(Category.dataset_id == dataset.id)
        .order_by(Image.position, Category.position)
    )
    for image_id, category_id, state, source, provenance in session.execute(query):
        known = {"source": source.value, **(provenance or {})}
        yield LabelRecord(json.loads(image_id), json.loads(category_id), state, **known)


def _our_labels(session: Session, dataset: Dataset) -> Iterator[LabelRecord]:
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
        .where(Category.dataset_id == dataset.id, Label.source != LabelSource.IMPORT)
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


def _summary(session: Session, dataset: Dataset, ours: list[LabelRecord]) -> ExportSummary:
    def count(table: type[Image] | type[Category] | type[Annotation]) -> int:
        query = select(func.count()).select_from(table).where(table.dataset_id == dataset.id)
        return session.scalar(query) or 0

    run = runs.serving_run(session, dataset.id)
    by_state = Counter(f"{label.source} {label.state.word}" for label in ours)
    return ExportSummary(
        images=count(Image),
        categories=count(Category),
        annotations=count(Annotation),
        labels_added=dict(by_state),
        imported_present=sum(c.imported_present for c in category_counts(session, dataset.id)),
        model_run=run.id if run else None,
        exported_at=now().isoformat(timespec="seconds"),
    )


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
    count = 0
    with workspace.database.read() as session, atomic_text(output) as file:
        dataset = find_dataset(session, dataset_name)
        writer = csv.writer(file)
        writer.writerow(["file_name", "category", "state", "score", "probability", "model_run"])
        for file_name, category, state, score, probability, run in proposals.ranked(
            session, dataset.id
        ):
            shown = "" if probability is None else f"{probability:.6f}"
            writer.writerow([file_name, category, state.word, f"{score:.6f}", shown, run])
            count += 1
    return count

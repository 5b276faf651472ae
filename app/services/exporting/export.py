"""Taking completed annotations out: the source file comes back, our labels are added."""

from __future__ import annotations

import re
import tempfile
import uuid
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from app.services.access import audit_log, rights
from app.services.access.rights import Right
from app.services.categories.effects import KEPT_WHOLE, Effects
from app.services.exporting.labels import ExportLabels, labels_of
from app.services.exporting.part import WHOLE, ExportChoice, Selection
from app.services.exporting.stored_set import content_of
from app.services.jobs.table import JobContext
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import InputError
from clsl_core.files import atomic_file, atomic_text
from clsl_core.formats import get_format, sidecar
from clsl_core.formats.capabilities import losses
from clsl_core.formats.merging import terms_of
from clsl_core.formats.text.table_source import table_line
from clsl_core.types import (
    AnnotationSet,
    JsonObject,
    LabelRecord,
    Progress,
    no_progress,
)
from db.models import Dataset
from db.queries import datasets, export, imported, proposals, runs, splits
from db.types import now

SHOWN = 20
EVERYTHING = ExportChoice()
REARRANGED = "rearranged"
_FILE_NAME = re.compile(r"[\w][\w .-]*")
PROPOSAL_COLUMNS = ("file_name", "category", "state", "score", "probability", "model_run")


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export contains.

    Attributes:
        images, categories, annotations: Records that go out.
        labels_added: Labels given here, by source and state.
        imported_present: Labels that came as present.
        part: What was asked for of the dataset; empty for the whole.
        snapshot: Whose labels they are; None for those of now.
        left_out: Images, categories and annotations of the dataset that stay behind.
        category_changes: What was done to the categories, in words, oldest first.
    """

    images: int
    categories: int
    annotations: int
    labels_added: dict[str, int]
    imported_present: int
    model_run: int | None
    exported_at: str
    proposals: int = 0
    part: JsonObject = field(default_factory=dict)
    snapshot: str | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    category_changes: tuple[str, ...] = ()

    def to_json(self) -> JsonObject:
        """As the file states it."""
        said: JsonObject = {
            "labels_added": self.labels_added,
            "labels_from_the_source_file": self.imported_present,
            "proposals": self.proposals,
            "model_run": self.model_run,
            "exported_at": self.exported_at,
        }
        if self.part:
            said |= {"part": self.part, "left_out": self.left_out}
        if self.category_changes:
            said["category_changes"] = list(self.category_changes)
        if self.snapshot is not None:
            said["snapshot"] = self.snapshot
        return said


def preview(
    workspace: Workspace, dataset_name: str, choice: ExportChoice = EVERYTHING
) -> ExportSummary:
    """What an export would contain now.

    Raises:
        NotFoundError: There is no such dataset, snapshot, split or category.
    """
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        part = choice.part.select(session, dataset)
        return _summary(session, dataset, choice, part, labels_of(session, dataset, choice, part))


def newest_labels(
    workspace: Workspace, dataset_name: str, choice: ExportChoice = EVERYTHING
) -> list[tuple[str, str, str, str, str, datetime]]:
    """Labels given here that would be added, the newest first; none of a snapshot.

    Returns:
        ``(file name, category name, state, source, annotator, time)`` of at most ``SHOWN``.

    Raises:
        NotFoundError: There is no such dataset.
    """
    if choice.snapshot is not None:
        return []
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        part = choice.part.select(session, dataset)
        return [
            (file_name, category, state.word, source.value, annotator, moment)
            for file_name, category, state, source, annotator, moment in export.newest(
                session, part, choice.sources, SHOWN
            )
        ]


def left_behind(
    workspace: Workspace,
    dataset_name: str,
    format_name: str,
    choice: ExportChoice = EVERYTHING,
) -> list[str]:
    """What an export into a format would lose, in words; nothing for the dataset's own format.

    Raises:
        NotFoundError: There is no such dataset or format, or no such part or snapshot.
    """
    get_format(format_name)
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        effects = Effects.of(session, dataset)
        if _keeps_records(session, dataset, format_name, choice, effects):
            divided = splits.newest(session, dataset.id) is not None
            whole = divided and format_name not in KEPT_WHOLE
            return ["the splits given here (one file for each split does)"] if whole else []
        part = choice.part.select(session, dataset)
        labels = labels_of(session, dataset, choice, part)
        content = content_of(session, dataset, no_progress, part, effects)
        content = replace(content, labels=[*labels.every(), *labels.given_here()])
        lost = losses(_anew(content, format_name), format_name)
        drawn = len(content.annotations)
        if dataset.format == format_name and drawn:
            lost.insert(0, f"{drawn:,} annotations as they came: the file is written from labels")
        return lost


def export_dataset(
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
        NotFoundError: There is no such dataset or format, or no such part or snapshot.
        InputError: The file cannot be written there.
    """
    rights.require(Right.EXPORT)
    progress(0, 1, "reading the dataset")
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        writer = get_format(format_name or dataset.format)
        part = choice.part.select(session, dataset)
        labels = labels_of(session, dataset, choice, part)
        effects = Effects.of(session, dataset)
        own = _keeps_records(session, dataset, writer.name, choice, effects)
        content = content_of(session, dataset, progress, part, effects)
        if not (own and writer.name == "coco"):  # the others go over the records more than once
            images, annotations = list(content.images), list(content.annotations)
            content = replace(content, images=images, annotations=annotations)
        if not own:
            content = replace(_anew(content, writer.name), labels=list(labels.every()))
        ours = [*(_unsaid(session, dataset, labels, effects) if own else ()), *labels.given_here()]
        summary, dataset_id = _summary(session, dataset, choice, part, labels), dataset.id
        _check_output(output)
        _note(workspace, dataset_id, writer.name, choice)
        progress(0, 1, f"writing {output.name}")
        if choice.proposals:
            _write_proposals(session, dataset, proposals_path(output), part)
        writer.write(content, ours, output, summary=summary.to_json())
    progress(1, 1, f"wrote {output.name}")
    return summary


def export_splits(
    workspace: Workspace,
    dataset_name: str,
    output: Path,
    format_name: str | None = None,
    progress: Progress = no_progress,
    choice: ExportChoice = EVERYTHING,
) -> dict[str, ExportSummary]:
    """As ``export``, one file for each split: its name is put before the file's ending.

    Images without a split go nowhere; see ``left_out`` of the summaries.

    Raises:
        InputError: No image has a split, or a split's name cannot be part of a file's.
    """
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        names = datasets.splits(session, dataset.id)
    if not names:
        raise InputError(f"no image of {dataset_name!r} has a split: `clsl split` makes some")
    odd = [name for name in names if not _FILE_NAME.fullmatch(name)]
    if odd:
        raise InputError(
            f"the split {odd[0]!r:.60} cannot be part of a file's name: export it alone"
        )
    made = {}
    for name in names:
        path = path_of_split(output, name)
        wanted = replace(choice, part=replace(choice.part, split=name))
        made[name] = export_dataset(workspace, dataset_name, path, format_name, progress, wanted)
    return made


def path_of_split(output: Path, split: str) -> Path:
    """Where the file of a split goes."""
    return output.with_name(f"{output.stem}.{split}{output.suffix}")


def run_export(workspace: Workspace, context: JobContext) -> JsonObject:
    """Job handler of JobKind.EXPORT: one file below the data directory's exports.

    What a format writes as a folder, or as several files, is packed into a zip.
    """
    name = str(context.job.dataset)
    payload = context.job.payload
    wanted = get_format(str(payload.get("format", "coco")))
    choice = ExportChoice.of_payload(payload)
    exports = workspace.data_dir / "exports"
    with tempfile.TemporaryDirectory(dir=exports, prefix=".") as scratch:
        output = Path(scratch) / f"completed{wanted.suffix}"
        said = _export(workspace, name, output, wanted.name, context.progress, choice, payload)
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
        **said,
    }


def _export(
    workspace: Workspace,
    name: str,
    output: Path,
    format_name: str,
    progress: Progress,
    choice: ExportChoice,
    payload: JsonObject,
) -> JsonObject:
    """One file or one for each split; what they contain together."""
    if not payload.get("per_split"):
        return export_dataset(workspace, name, output, format_name, progress, choice).to_json()
    made = export_splits(workspace, name, output, format_name, progress, choice)
    added: Counter[str] = Counter()
    for one in made.values():
        added.update(one.labels_added)
    return {
        "labels_added": dict(added),
        "proposals": sum(one.proposals for one in made.values()),
        "splits": {split: one.images for split, one in made.items()},
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


def _keeps_records(
    session: Session, dataset: Dataset, format_name: str, choice: ExportChoice, effects: Effects
) -> bool:
    """Whether the records of the source file go out again.

    Those of a part, or with changed categories, do in COCO's family alone: its records stand by
    themselves.
    """
    whole = choice.as_it_came and not effects.any
    several = imported.count_sources(session, dataset.id) > 1
    if dataset.format != format_name or (several and not terms_of(format_name).unites):
        return False
    return whole or format_name in KEPT_WHOLE


def _unsaid(
    session: Session, dataset: Dataset, labels: ExportLabels, effects: Effects
) -> Iterator[LabelRecord]:
    """What came with files and the records may not say; a writer leaves out what they do say."""
    if imported.count_sources(session, dataset.id) > 1:
        return labels.imported(undrawn=terms_of(dataset.format).has_annotation_ids)
    return labels.of_merged(effects.into)


def _note(workspace: Workspace, dataset_id: int, format_name: str, choice: ExportChoice) -> None:
    """In a transaction of its own: the export reads in one that is long."""
    with workspace.database.write("audit") as session:
        said = {"format": format_name, **choice.to_json()}
        audit_log.record(session, "export", f"dataset {dataset_id}", **said)


def _anew(content: AnnotationSet, format_name: str) -> AnnotationSet:
    """The set for a writer that is to make the file from the labels.

    Provenance that came with it names ids of its own format, and the labels tell it.
    """
    header = {key: value for key, value in content.header.items() if key != sidecar.HEADER_KEY}
    format_ = REARRANGED if content.format == format_name else content.format
    return replace(content, format=format_, header=header)


def _summary(
    session: Session,
    dataset: Dataset,
    choice: ExportChoice,
    part: Selection,
    labels: ExportLabels,
) -> ExportSummary:
    run = runs.serving_run(session, dataset.id)
    counts = labels.counts()
    going = export.sizes(session, part)._asdict()
    left_out = {}
    if not part.whole:
        whole = export.sizes(session, WHOLE.select(session, dataset))._asdict()
        left_out = {what: whole[what] - count for what, count in going.items()}
    conditions = (part.images, part.categories)
    return ExportSummary(
        **going,
        labels_added=counts.given_here,
        imported_present=counts.imported_present,
        model_run=run.id if run else None,
        exported_at=now().isoformat(timespec="seconds"),
        proposals=proposals.count_open(session, dataset.id, *conditions) if choice.proposals else 0,
        part=choice.part.to_json(),
        snapshot=choice.snapshot,
        left_out=left_out,
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
    rights.require(Right.EXPORT)
    _check_output(output)
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        return _write_proposals(session, dataset, output, WHOLE.select(session, dataset))


def _write_proposals(session: Session, dataset: Dataset, output: Path, part: Selection) -> int:
    count = 0
    with atomic_text(output) as file:
        file.write(table_line(PROPOSAL_COLUMNS))
        for file_name, category, state, score, probability, run in proposals.ranked(
            session, dataset.id, part.images, part.categories
        ):
            shown = "" if probability is None else f"{probability:.6f}"
            cells = (file_name, category, state.word, f"{score:.6f}", shown, str(run))
            file.write(table_line(cells))
            count += 1
    return count

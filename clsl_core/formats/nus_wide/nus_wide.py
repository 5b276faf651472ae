"""NUS-WIDE's original lists: ``ImageList/*.txt`` and one ``Labels_<concept>_<split>.txt`` each.

Line n of a file of labels is about line n of its image list: ``1`` present, ``0`` absent. The
format has no word for unknown; files written here use ``-1`` for it. ``Labels_<concept>.txt``
without a split belongs to ``Imagelist.txt``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from clsl_core.formats import sidecar
from clsl_core.formats.conversion import checked_labels
from clsl_core.formats.findings import Findings
from clsl_core.formats.nus_wide.lists import LABELS, LIST_ENDING, ConceptLists, fresh_lists
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.text.folder_output import atomic_folder
from clsl_core.formats.text.folder_source import check_folder
from clsl_core.formats.text.json_source import text_of
from clsl_core.types import (
    AnnotationSet,
    JsonObject,
    LabelRecord,
    LabelState,
    Progress,
    ValidationReport,
    no_progress,
)

__all__ = ["read", "write"]

_STATES = {"1": LabelState.PRESENT, "0": LabelState.ABSENT, "-1": LabelState.UNKNOWN}


def read(
    path: Path, *, absent: Absent = "unknown", progress: Progress = no_progress
) -> tuple[AnnotationSet, ValidationReport]:
    """Read a folder of NUS-WIDE lists, at any depth.

    Args:
        path: The folder that holds ``ImageList``.
        absent: What is unknown otherwise.
        progress: Told the files of labels read so far.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    lists = ConceptLists(_texts(path, findings))
    builder = SetBuilder("nus-wide", findings)
    for name, split, lines in lists.image_lists():
        for number, line in enumerate(lines, start=1):
            record: JsonObject = {"file_name": line, **({"split": split} if split else {})}
            builder.image(f"{name} line {number}", line, record)
    files = list(lists.label_files())
    for done, (name, concept, images) in enumerate(files):
        progress(done, len(files), "reading labels")
        if images is None:
            message = f"no image list is for it; there are: {', '.join(lists.list_names)!a:.200}"
            findings.error("no-image-list", name, message)
        else:
            _read_labels(name, concept, lists.texts[name], images, builder, findings)
    return builder.finish({"lists": lists.texts}, absent, path)


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write the lists; only the lines of new labels change.

    What is unknown is written as ``-1``. Where labels came from is told in the sidecar.

    Args:
        annotation_set: What a reader gave.
        new_labels: The labels to add.
        output: A folder that does not exist yet, or is empty.
        summary: What the export contains.

    Raises:
        InputError: When a label names what the set does not have, two images share a file name,
            a file name has more than one line, or ``output`` exists or cannot be written.
    """
    new = checked_labels(annotation_set, new_labels)
    kept = annotation_set.header.get("lists") if annotation_set.format == "nus-wide" else None
    if isinstance(kept, dict):
        lists, told = ConceptLists(kept), list(new.values())
        values: dict[str, dict[str, str]] = {}
        for label in told:
            value = "1" if label.state is LabelState.PRESENT else "0"
            values.setdefault(str(label.category_id), {})[str(label.image_id)] = value
        for concept, known in values.items():
            lists.set_values(concept, known)
    else:
        lists, told = fresh_lists(annotation_set, new)
    with atomic_folder(output) as folder:
        for name, text in lists.texts.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode("utf-8", "replace"))
        sidecar.prepare(output)
    sidecar.write(annotation_set, told, output, summary, says_absent=True)


def _texts(path: Path, findings: Findings) -> dict[str, str]:
    """The lists of a folder by their relative path."""
    check_folder(path, findings, "ImageList")
    files = sorted(file for file in path.rglob("*.txt") if file.is_file())
    texts = {
        file.relative_to(path).as_posix(): text_of(file, findings, file.name)
        if file.stat().st_size
        else ""
        for file in files
        if file.name.lower().endswith(LIST_ENDING) or file.name.startswith(LABELS)
    }
    if not any(name.lower().endswith(LIST_ENDING) for name in texts):
        message = f"{path} holds no image list such as ImageList/TrainImagelist.txt"
        findings.refuse("not-nus-wide", "file", message)
    return texts


def _read_labels(
    name: str,
    concept: str,
    text: str,
    images: list[str],
    builder: SetBuilder,
    findings: Findings,
) -> None:
    category = builder.category(name, concept)
    values = text.split()
    if len(values) != len(images):
        message = f"{len(values):,} values for the {len(images):,} images of its list"
        findings.error("wrong-length", name, message + "; take the two from one release")
        return
    unknown = 0
    for number, (image, value) in enumerate(zip(images, values, strict=True), start=1):
        state = _STATES.get(value)
        if state is None:
            message = f"found {value[:40]!a}; expected 1, 0, or -1 for unknown"
            findings.error("bad-state", f"{name} line {number}", message)
        elif state is LabelState.UNKNOWN:
            unknown += 1
        elif category is not None and image in builder.images:
            builder.label(f"{name} line {number}", LabelRecord(image, category, state))
    if unknown:
        message = f"{unknown:,} of its lines are -1, which is read as unknown"
        findings.warn("minus-one", name, message)

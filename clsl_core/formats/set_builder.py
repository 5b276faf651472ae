"""Putting an annotation set together from what a reader finds, one statement at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from clsl_core.formats import sidecar
from clsl_core.formats.coco.records import UNSTORABLE, is_id, leaves_root
from clsl_core.formats.conversion import Pair
from clsl_core.formats.exhaustive import ExhaustiveLabels
from clsl_core.formats.findings import Findings
from clsl_core.formats.registry import Absent
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    JsonObject,
    LabelRecord,
    LabelState,
    SourceId,
    ValidationReport,
)

__all__ = ["SetBuilder"]


class SetBuilder:
    """Images, categories and labels by id, in the order in which they were named.

    Args:
        format_name: For the set.
        findings: Receives what is wrong with names and labels.

    Attributes:
        images, categories, annotations, labels, proposals: What the set will hold.
    """

    def __init__(self, format_name: str, findings: Findings) -> None:
        self.images: dict[SourceId, ImageRecord] = {}
        self.categories: dict[SourceId, CategoryRecord] = {}
        self.annotations: list[AnnotationRecord] = []
        self.labels: dict[Pair, LabelRecord] = {}
        self.proposals: list[LabelRecord] = []
        self._owners: dict[str, SourceId] = {}
        self._format = format_name
        self._findings = findings

    def image(
        self,
        where: str,
        file_name: object,
        record: JsonObject,
        *,
        source_id: SourceId | None = None,
        size: tuple[int | None, int | None] = (None, None),
    ) -> SourceId | None:
        """Add an image once; the record of the first time is kept.

        Args:
            where: The place in the file.
            file_name: A path relative to the image folder.
            record: Kept verbatim.
            source_id: The id; the file name where the format has no other.
            size: Width and height in pixels.

        Returns:
            The id, or None (with an error noted) for a name that cannot be used.
        """
        name = self._name(where, file_name, "file name")
        if name is None or not self._usable(where, source_id):
            return None
        key = name if source_id is None else source_id
        if key not in self.images:
            if leaves_root(name):
                message = f"file name {name!a:.200} leaves the image folder; it stays closed"
                self._findings.warn("unsafe-file-name", where, message)
            other = self._owners.setdefault(name, key)
            if other != key:
                message = f"file name {name!a:.200} is also that of {other!a:.100}: one picture"
                self._findings.warn("duplicate-file-name", where, message)
            self.images[key] = ImageRecord(key, name, *size, record)
        return key

    def category(
        self,
        where: str,
        name: object,
        *,
        source_id: SourceId | None = None,
        record: JsonObject | None = None,
    ) -> SourceId | None:
        """Add a category once.

        Args:
            where: The place in the file.
            name: What it is called.
            source_id: The id; the name where the format has no other.
            record: Kept verbatim.

        Returns:
            The id, or None (with an error noted) for a name that cannot be used.
        """
        text = self._name(where, name, "category name")
        if text is None or not self._usable(where, source_id):
            return None
        key = text if source_id is None else source_id
        if key not in self.categories:
            kept = {"name": text} if record is None else record
            self.categories[key] = CategoryRecord(key, text, None, kept)
        return key

    def label(self, where: str, label: LabelRecord) -> None:
        """State a label; the last statement for a pair counts."""
        pair = (label.image_id, label.category_id)
        other = self.labels.get(pair)
        if other is not None and other.state is not label.state:
            message = (
                f"category {label.category_id!a:.80} of image {label.image_id!a:.80} was "
                f"{other.state.word} before and is {label.state.word} here; the last one counts"
            )
            self._findings.warn("contradicting-labels", where, message)
        self.labels[pair] = label

    def finish(
        self,
        header: JsonObject,
        absent: Absent,
        source: Path,
        *,
        open_vocabulary: bool = False,
        provenance: Sequence[object] = (),
    ) -> tuple[AnnotationSet, ValidationReport]:
        """The set and its report; the provenance beside ``source`` is read with it.

        Args:
            header: What the format keeps besides the records.
            absent: What a pair without a label is.
            source: The file or folder that was read.
            open_vocabulary: Whether the provenance may name categories that the file cannot,
                because it names only what is present.
            provenance: Rows as in the sidecar that the file itself holds.

        Raises:
            FormatError: When an error was noted, or there is no image.
        """
        if not self.images and self._findings.report.ok:
            self._findings.error("no-images", "file", "the file names no image")
        rows = sidecar.embedded(provenance, self._findings)
        rows += sidecar.read(source, self._findings)
        if rows:
            header = {**header, sidecar.HEADER_KEY: rows}
            self._take_provenance(rows, open_vocabulary)
        if not self.categories and self._findings.report.ok:
            message = "the file names no category: there is nothing to label yet"
            self._findings.warn("no-categories", "file", message)
        labels: Sequence[LabelRecord] = list(self.labels.values())
        if absent == "negative":
            labels = ExhaustiveLabels(self.images, self.categories, self.labels)
        self._findings.report.counts = {
            "images": len(self.images),
            "categories": len(self.categories),
            "annotations": len(self.annotations),
            "labels": len(labels),
        }
        if self.proposals:
            self._findings.report.counts["proposals"] = len(self.proposals)
        report = self._findings.finish()
        content = AnnotationSet(
            self._format,
            header,
            list(self.images.values()),
            list(self.categories.values()),
            self.annotations,
            labels,
            self.proposals,
        )
        return content, report

    def _name(self, where: str, value: object, what: str) -> str | None:
        if not isinstance(value, str) or not value.strip():
            self._findings.error("bad-name", where, f"the {what} is missing; give one")
            return None
        name = UNSTORABLE.sub("\ufffd", value)
        if name != value:
            message = f"the {what} {value!a:.200} holds text that cannot be stored; replaced"
            self._findings.warn("odd-text", where, message)
        return name

    def _usable(self, where: str, source_id: SourceId | None) -> bool:
        if source_id is None or is_id(source_id):
            return True
        message = f"the id {source_id!a:.100} holds text that cannot be stored; rename it"
        self._findings.error("bad-id", where, message)
        return False

    def _take_provenance(self, rows: Iterable[JsonObject], open_vocabulary: bool) -> None:
        """Labels of the sidecar count more than what the file itself can say."""
        images = {str(id_): id_ for id_ in self.images}
        categories = {str(id_): id_ for id_ in self.categories}
        for row in rows:
            where = row["place"]
            image, category = images.get(row["image"]), categories.get(row["category"])
            if category is None and image is not None and open_vocabulary:
                category = self.category(where, row["category"])
            if image is None or category is None or row["state"] not in ("present", "absent"):
                message = (
                    f"state {row['state']!a:.40} of category {row['category']!a:.80} "
                    f"in image {row['image']!a:.80} fits nothing in this file; it gives no label"
                )
                self._findings.warn("provenance-ignored", where, message)
                continue
            state = LabelState.from_word(row["state"])
            self.labels[image, category] = sidecar.label_of(row, image, category, state)

"""FiftyOne, Label Studio, Datumaro: numbers that mean places, tasks that are numbered anew."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from clsl_core.formats.merging.terms import NewIds, Terms, union_of
from clsl_core.formats.tools.fiftyone import FILES_KEY
from clsl_core.types import AnnotationSet, ImageRecord, JsonObject, SourceId

__all__ = ["DatumaroTerms", "FiftyoneTerms", "LabelStudioTerms"]


class FiftyoneTerms(Terms):
    """Labels may be places in the list of classes: they become names."""

    unites = True

    def united(self, own: JsonObject, content: AnnotationSet, order: int) -> AnnotationSet:
        """See Terms."""
        del order
        mine, theirs = own["document"], content.header["document"]
        classes = list(mine.get("classes") or ())
        found = theirs.get("classes") or []
        document = {**mine, **theirs, "labels": None}
        if "classes" in document:
            document["classes"] = [*classes, *(x for x in found if x not in classes)]
        files = [x.get(FILES_KEY) for x in (mine, theirs)]
        if isinstance(files[0], dict) and isinstance(files[1], dict):
            document[FILES_KEY] = {**files[0], **files[1]}
        header = {**union_of(own, content.header), "document": document}

        def named(image: ImageRecord) -> ImageRecord:
            return replace(
                image, record={**image.record, "labels": _named(image.record["labels"], found)}
            )

        if found == classes[: len(found)]:
            return replace(content, header=header)
        return replace(content, header=header, images=[named(image) for image in content.images])

    def header(self, header: JsonObject, ids: NewIds) -> JsonObject:
        """See Terms: the file names by id."""
        header = super().header(header, ids)
        files = header["document"].get(FILES_KEY)
        if not isinstance(files, dict):
            return header
        renamed = {str(ids.image(key)): name for key, name in files.items()}
        return {**header, "document": {**header["document"], FILES_KEY: renamed}}


def _named(value: Any, classes: list[Any]) -> Any:
    """Labels with names in place of numbers."""
    if isinstance(value, list):
        return [_named(one, classes) for one in value]
    if isinstance(value, dict):
        return {**value, "label": _named(value.get("label"), classes)}
    number = isinstance(value, int) and not isinstance(value, bool)
    return classes[value] if number and 0 <= value < len(classes) else value


class LabelStudioTerms(Terms):
    """Tasks stand by themselves; their ids are given anew by every project."""

    unites = True

    def image_record(self, record: JsonObject, ids: NewIds) -> JsonObject:
        """See Terms."""
        if "id" not in record or ids.image(record["id"]) == record["id"]:
            return record
        return {**record, "id": ids.image(record["id"])}

    def joined(
        self,
        before: JsonObject | None,
        after: JsonObject,
        spoken: Collection[SourceId],
        header: JsonObject,
    ) -> JsonObject:
        """See Terms: a task's newer annotations stand; what only the older one has stays."""
        del spoken, header
        return {**before, **after} if before else after


class DatumaroTerms(Terms):
    """A label is a place in the list of categories."""

    unites = True
    ids_are_places = True

    def image_record(self, record: JsonObject, ids: NewIds) -> JsonObject:
        """See Terms."""
        changed = {**record, "id": ids.image(record.get("id"))} if "id" in record else record
        kept = record.get("annotations")
        if not ids.categories or not isinstance(kept, list):
            return changed
        return {**changed, "annotations": [_relabelled(one, ids) for one in kept]}

    def united(self, own: JsonObject, content: AnnotationSet, order: int) -> AnnotationSet:
        """See Terms."""
        del order
        mine, theirs = own["document"], content.header["document"]
        places = dict(enumerate(_labels(mine)))  # what is new was numbered on from the end
        places |= {_place(one.source_id): one.record for one in content.categories}
        listed = [places[place] for place in sorted(places)]
        categories = {**(theirs.get("categories") or {}), **(mine.get("categories") or {})}
        categories["label"] = {**(categories.get("label") or {}), "labels": listed}
        document = {**theirs, **mine, "categories": categories}
        return replace(content, header={**union_of(own, content.header), "document": document})

    def joined(
        self,
        before: JsonObject | None,
        after: JsonObject,
        spoken: Collection[SourceId],
        header: JsonObject,
    ) -> JsonObject:
        """See Terms: annotations of categories that the newer file does not know stay."""
        del header
        old = (before or {}).get("annotations")
        new = after.get("annotations", [])
        kept = [
            one
            for one in (old if isinstance(old, list) else ())
            if isinstance(one, dict) and "label_id" in one and one["label_id"] not in spoken
        ]
        return (
            {**after, "annotations": [*new, *(x for x in kept if x not in new)]} if kept else after
        )


def _labels(document: JsonObject) -> list[Any]:
    label = (document.get("categories") or {}).get("label") or {}
    return label.get("labels") or []


def _place(id_: SourceId) -> int:
    return id_ if isinstance(id_, int) else 0


def _relabelled(annotation: Any, ids: NewIds) -> Any:
    if not isinstance(annotation, dict) or "label_id" not in annotation:
        return annotation
    return {**annotation, "label_id": ids.category(annotation["label_id"])}

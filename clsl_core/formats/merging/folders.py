"""VOC and NUS-WIDE: lists of images, in which a line stands for an image and its label."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from clsl_core.formats.findings import Findings
from clsl_core.formats.merging.terms import NewIds, Speaks, Terms, union_of
from clsl_core.formats.nus_wide.lists import ConceptLists
from clsl_core.formats.voc.sets import ImageSets
from clsl_core.types import AnnotationSet, JsonObject, SourceId

__all__ = ["NusWideTerms", "VocTerms"]

_SETS = "image_sets"
_LISTS = "lists"


class VocTerms(Terms):
    """An XML document for each image, and lists."""

    unites = True

    def header(self, header: JsonObject, ids: NewIds) -> JsonObject:
        """See Terms."""
        header = super().header(header, ids)
        names = {str(key): str(value) for key, value in ids.images.items()}
        if not names:
            return header
        sets = ImageSets(header.get(_SETS) or {})
        return {**header, _SETS: sets.with_names(names)}

    def annotation_record(self, record: JsonObject, ids: NewIds) -> JsonObject:
        """See Terms."""
        return {**record, "image": ids.image(record.get("image"))}

    def united(self, own: JsonObject, content: AnnotationSet, order: int) -> AnnotationSet:
        """See Terms: lines of both; of one image the newer value."""
        del order
        sets = ImageSets(own.get(_SETS) or {})
        sets.extend(ImageSets(content.header.get(_SETS) or {}))
        return replace(content, header={**union_of(own, content.header), _SETS: sets.texts})

    def joined(
        self,
        before: JsonObject | None,
        after: JsonObject,
        spoken: Collection[SourceId],
        header: JsonObject,
    ) -> JsonObject:
        """See Terms: an image that a newer file only lists keeps its document."""
        del spoken, header
        kept = ("split",) if "xml" in after else ("xml", "encoding", "split")
        return {k: v for k, v in (before or {}).items() if k in kept} | after

    def redraws(self, record: JsonObject) -> bool:
        """See Terms: an image that is only listed has no document here."""
        return "xml" in record

    def speaks(self, content: AnnotationSet) -> Speaks:
        """See Terms: lines take nothing back, documents do."""
        drawn = {image.source_id for image in content.images if self.redraws(image.record)}
        categories = {category.source_id for category in content.categories}
        return lambda image, category: image in drawn and category in categories

    def header_pairs(self, header: JsonObject) -> set[tuple[str, str]]:
        """See Terms."""
        lines = ImageSets(header.get(_SETS) or {}).lines(Findings("lists"))
        told = {(image, category) for _, category, image, value in lines if value}
        return super().header_pairs(header) | told


class NusWideTerms(Terms):
    """Line n of a list of labels is about line n of a list of images."""

    unites = True
    ids_are_paths = True

    def header(self, header: JsonObject, ids: NewIds) -> JsonObject:
        """See Terms."""
        header = super().header(header, ids)
        names = {str(key): str(value) for key, value in ids.images.items()}
        if not names:
            return header
        return {**header, _LISTS: ConceptLists(header.get(_LISTS) or {}).with_names(names)}

    def united(self, own: JsonObject, content: AnnotationSet, order: int) -> AnnotationSet:
        """See Terms: the images of both in their lists, with the newer value of each."""
        del order
        lists = ConceptLists(own.get(_LISTS) or {})
        lists.extend(ConceptLists(content.header.get(_LISTS) or {}))
        return replace(content, header={**union_of(own, content.header), _LISTS: lists.texts})

    def joined(
        self,
        before: JsonObject | None,
        after: JsonObject,
        spoken: Collection[SourceId],
        header: JsonObject,
    ) -> JsonObject:
        """See Terms: its split stays where the newer file tells none."""
        del spoken, header
        return {**(before or {}), **after}

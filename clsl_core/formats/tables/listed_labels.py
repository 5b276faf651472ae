"""Formats whose images list the names of what is present, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from clsl_core.formats.conversion import (
    Pair,
    category_names,
    checked_labels,
    known_labels,
    named_images,
)
from clsl_core.types import AnnotationSet, ImageRecord, LabelRecord, LabelState, SourceId

__all__ = ["ListedLabels", "names_to_write"]


@dataclass(frozen=True, slots=True)
class ListedLabels:
    """What to write for each image, and what to tell beside the file.

    Attributes:
        native: Whether the set is of the format to be written.
        names: The name of each category in the file.
        told: Labels with the ids of the file whose origin or absence it cannot tell.
    """

    native: bool
    names: Mapping[SourceId, str]
    told: list[LabelRecord]
    by_image: Mapping[SourceId, list[LabelRecord]]

    def present(self, image: ImageRecord) -> list[str]:
        """The names of what is present: those the record lists, less or more by the labels."""
        kept = image.record.get("names") if self.native else None
        names: list[str] = list(kept) if isinstance(kept, list) else []
        for label in self.by_image.get(image.source_id, ()):
            name = self.names[label.category_id]
            if label.state is LabelState.ABSENT:
                names = [other for other in names if other != name]
            elif name not in names:
                names.append(name)
        return names


def names_to_write(
    content: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    format_name: str,
    image_ids: Mapping[SourceId, str] | None = None,
) -> ListedLabels:
    """Sort the labels of a set by image.

    Args:
        content: The set to be written.
        new_labels: The labels to add.
        format_name: The format to write.
        image_ids: What the file calls its images; their file names when None.

    Raises:
        InputError: When a label names what the set does not have, or two images share a file
            name.
    """
    new = checked_labels(content, new_labels)
    native = content.format == format_name
    if native:
        names = {item.source_id: item.name for item in content.categories}
        written = {image.source_id: str(image.source_id) for image in content.images}
        keys = {item.source_id: str(item.source_id) for item in content.categories}
        labels: Mapping[Pair, LabelRecord] = new
    else:
        names = category_names(content)
        written = dict(image_ids or named_images(content))
        keys, labels = names, known_labels(content, new)
    by_image: dict[SourceId, list[LabelRecord]] = {}
    told = []
    for (image, category), label in labels.items():
        by_image.setdefault(image, []).append(label)
        if native or label.source != "import" or label.state is LabelState.ABSENT:
            told.append(replace(label, image_id=written[image], category_id=keys[category]))
    return ListedLabels(native, names, told, by_image)

"""Which image list a file of NUS-WIDE labels belongs to, and changing single lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from clsl_core.errors import InputError
from clsl_core.formats.conversion import Pair, category_names, known_labels, named_images
from clsl_core.types import AnnotationSet, LabelRecord, LabelState

__all__ = ["LABELS", "LIST_ENDING", "ConceptLists", "fresh_lists"]

LABELS = "Labels_"
LIST_ENDING = "imagelist.txt"
_UNKNOWN = "-1"


class ConceptLists:
    """The text files of a folder.

    Args:
        texts: Their content by relative path.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = dict(texts)
        self._images = {
            name: self.texts[name].splitlines()
            for name in self.texts
            if name.lower().endswith(LIST_ENDING)
        }
        self._splits = {
            unquote(PurePosixPath(name).name[: -len(LIST_ENDING)]): name for name in self._images
        }

    @property
    def list_names(self) -> list[str]:
        """The paths of the image lists."""
        return list(self._images)

    def image_lists(self) -> Iterator[tuple[str, str, list[str]]]:
        """Each image list: its path, its split (empty for all images), and its lines."""
        whole_last = sorted(self._splits.items(), key=lambda item: not item[0])
        for split, name in whole_last:
            yield name, split, self._images[name]

    def label_files(self) -> Iterator[tuple[str, str, list[str] | None]]:
        """Each file of labels: its path, concept, and images (None where no list fits)."""
        for name in self.texts:
            if PurePosixPath(name).name.startswith(LABELS):
                concept, split = self._parts(name)
                found = self._splits.get(split)
                yield name, concept, None if found is None else self._images[found]

    def set_values(self, concept: str, values: Mapping[str, str]) -> None:
        """Change the lines of images, in every file of the concept that has them.

        Args:
            concept: The name of the category.
            values: ``1`` or ``0`` for each image.
        """
        own = {split: name for name, known, split in self._known_files() if known == concept}
        written: set[str] = set()
        for split, name in own.items():
            written |= self._change(name, self._images[self._splits[split]], values)
        left = {image: value for image, value in values.items() if image not in written}
        for _, split, images in list(self.image_lists()):
            if split not in own and not left.keys().isdisjoint(images):
                name = self._new_file(concept, split, len(images))
                written = self._change(name, images, left)
                left = {image: value for image, value in left.items() if image not in written}

    def with_names(self, names: Mapping[str, str]) -> dict[str, str]:
        """The text of each file with other names of images; those that are not given stay."""
        renamed = {
            name: "".join(f"{names.get(image, image)}\n" for image in images)
            for name, images in self._images.items()
        }
        return {**self.texts, **renamed}

    def extend(self, other: ConceptLists) -> None:
        """Take the images and lines of other lists; where both have an image, their lines."""
        for name, split, images in other.image_lists():
            own = self._splits.get(split)
            if own is None:
                self._splits[split], self._images[name] = name, list(images)
                self.texts[name] = other.texts[name]
                continue
            known = set(self._images[own])
            self._lengthen(own, split, [image for image in images if image not in known])
        values: dict[str, dict[str, str]] = {}
        for name, concept, listed in other.label_files():
            found = zip(listed or (), other.texts[name].split(), strict=False)
            values.setdefault(concept, {}).update(found)
        for concept, known_values in values.items():
            self.set_values(concept, known_values)

    def _lengthen(self, list_name: str, split: str, images: list[str]) -> None:
        """Put images behind those of a list; nothing is known of them yet."""
        if not images:
            return
        files = [name for name, _, own in self._known_files() if own == split]
        lines = {list_name: images, **dict.fromkeys(files, [_UNKNOWN] * len(images))}
        for name, added in lines.items():
            text = self.texts[name]
            end = "" if text.endswith("\n") or not text else "\n"
            self.texts[name] = text + end + "".join(f"{line}\n" for line in added)
        self._images[list_name] += images

    def _known_files(self) -> Iterator[tuple[str, str, str]]:
        for name in self.texts:
            if PurePosixPath(name).name.startswith(LABELS):
                concept, split = self._parts(name)
                if split in self._splits:
                    yield name, concept, split

    def _change(self, name: str, images: list[str], values: Mapping[str, str]) -> set[str]:
        lines = self.texts[name].splitlines(keepends=True)
        written = set()
        for index, image in enumerate(images):
            if image in values:
                end = lines[index][len(lines[index].rstrip()) :]
                if lines[index].strip() != values[image]:
                    lines[index] = values[image] + end
                written.add(image)
        self.texts[name] = "".join(lines)
        return written

    def _new_file(self, concept: str, split: str, length: int) -> str:
        """A file of labels that says nothing yet, beside those there are."""
        folders = [PurePosixPath(name).parent for name, _, _ in self._known_files()]
        folder = folders[0] if folders else PurePosixPath("Labels")
        ending = f"_{_quoted(split)}" if split else ""
        name = (folder / f"{LABELS}{_quoted(concept)}{ending}.txt").as_posix()
        self.texts[name] = f"{_UNKNOWN}\n" * length
        return name

    def _parts(self, name: str) -> tuple[str, str]:
        """Concept and split of a file; the longest known split wins."""
        stem = PurePosixPath(name).name.removeprefix(LABELS).removesuffix(".txt")
        for split in sorted(filter(None, self._splits), key=len, reverse=True):
            ending = f"_{_quoted(split)}"
            if stem.lower().endswith(ending.lower()) and len(stem) > len(ending):
                return unquote(stem[: -len(ending)]), split
        return unquote(stem), ""


def fresh_lists(
    content: AnnotationSet, new_labels: Mapping[Pair, LabelRecord]
) -> tuple[ConceptLists, list[LabelRecord]]:
    """The files for a set of another format, and the labels with the ids used there.

    Raises:
        InputError: When two images share a file name, or a file name has more than one line.
    """
    files, names = named_images(content), category_names(content)
    for name in files.values():
        if name.splitlines() != [name]:
            raise InputError(f"the file name {name!a:.200} has more than one line; rename it")
    splits: dict[str, list[str]] = {}
    for image in content.images:
        stated = image.record.get("split")
        split = stated if isinstance(stated, str) and stated.strip() else "All"
        splits.setdefault(split, []).append(files[image.source_id])
    texts = {
        f"ImageList/{_quoted(split)}Imagelist.txt": "".join(f"{line}\n" for line in images)
        for split, images in splits.items()
    }
    labels = known_labels(content, new_labels)
    values: dict[str, dict[str, str]] = {name: {} for name in names.values()}
    for (image_id, category), label in labels.items():
        value = "1" if label.state is LabelState.PRESENT else "0"
        values[names[category]][files[image_id]] = value
    for name, known in values.items():
        for split, images in splits.items():
            lines = "".join(f"{known.get(image, _UNKNOWN)}\n" for image in images)
            texts[f"Labels/{LABELS}{_quoted(name)}_{_quoted(split)}.txt"] = lines
    told = [
        replace(label, image_id=files[image], category_id=names[category])
        for (image, category), label in labels.items()
        if label.source != "import" or (image, category) in new_labels
    ]
    return ConceptLists(texts), told


def _quoted(name: str) -> str:
    """A name as part of a file name; undone by ``unquote``."""
    return quote(name, safe=" ,;()&+'")

"""The lists of PASCAL VOC: ``ImageSets/Main/<split>.txt`` and ``<category>_<split>.txt``.

A line of the second kind is ``id 1``, ``id -1`` or ``id 0`` (difficult).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from clsl_core.formats.findings import Findings

__all__ = ["DEFAULT_SPLIT", "ImageSets"]

DEFAULT_SPLIT = "default"
"""The split of images that are in none."""

_VALUES = ("1", "-1", "0")


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a category's list."""

    number: int
    image: str
    value: int


class ImageSets:
    """The lists of a folder, by file name, in their text.

    Args:
        texts: The content of each file.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = dict(texts)
        stems = {name: name.removesuffix(".txt") for name in self.texts}
        self._splits = {
            stem: name for name, stem in stems.items() if not _has_values(self.texts[name])
        }
        for stem in list(self._splits):
            if any(stem.endswith(f"_{other}") for other in self._splits):
                del self._splits[stem]  # the empty list of a category
        self._longest_first = sorted(self._splits, key=len, reverse=True)
        self._categories: dict[str, list[tuple[str, str]]] = {}
        for name, stem in stems.items():
            if stem not in self._splits:
                category, split = self._parts(stem)
                self._categories.setdefault(category, []).append((name, split))

    @property
    def categories(self) -> list[str]:
        """The categories that have a list."""
        return list(self._categories)

    def split_lists(self) -> Iterator[tuple[str, str, list[str]]]:
        """Each split: the name of its file, its own, and its images."""
        for split, name in self._splits.items():
            lines = (line.strip() for line in self.texts[name].splitlines())
            yield name, split, [line for line in lines if line]

    def lines(self, findings: Findings) -> Iterator[tuple[str, str, str, int]]:
        """Each value: its place, category, image and number 1, -1 or 0."""
        for category, files in self._categories.items():
            for name, _ in files:
                for number, text in enumerate(self.texts[name].splitlines(), start=1):
                    line = _parse(number, text)
                    where = f"ImageSets/Main/{name} line {number}"
                    if line:
                        yield where, category, line.image, line.value
                    elif text.strip():
                        message = f"{text[:60]!a}: expected an image and 1, -1 or 0"
                        findings.error("bad-line", where, message)

    def set_values(self, category: str, values: Mapping[str, int]) -> None:
        """Change or append the values of images in a category's lists.

        Args:
            category: The name.
            values: 1 or -1 for each image.
        """
        left = dict(values)
        for name, _ in self._categories.get(category, ()):
            changed = []
            for text in self.texts[name].splitlines(keepends=True):
                line = _parse(0, text)
                if line and line.image in values:
                    left.pop(line.image, None)
                    if line.value != values[line.image]:
                        end = text[len(text.rstrip("\r\n")) :]
                        text = f"{line.image} {values[line.image]:2d}{end}"  # noqa: PLW2901
                changed.append(text)
            self.texts[name] = "".join(changed)
        self._append(category, left)

    def add_images(self, images: Iterable[str], split: str) -> None:
        """Put images into the list of a split."""
        name = self._splits.setdefault(split, f"{_file_part(split)}.txt")
        self._extend(name, list(images))

    def ensure_category(self, category: str) -> None:
        """Give a category without any list an empty one."""
        if category not in self._categories:
            split = next(iter(self._splits), DEFAULT_SPLIT)
            self._extend(self._list_of(category, split), [])

    def with_names(self, names: Mapping[str, str]) -> dict[str, str]:
        """The text of each list with other names of images; those that are not given stay."""
        lists = {name for name in self.texts if name not in self._splits.values()}
        return {
            name: "".join(
                _with_name(line, names, has_value=name in lists)
                for line in text.splitlines(keepends=True)
            )
            for name, text in self.texts.items()
        }

    def extend(self, other: ImageSets) -> None:
        """Take the lines of other lists; where both have a value of an image, theirs."""
        listed = {split: set(images) for _, split, images in self.split_lists()}
        for _, split, images in other.split_lists():
            known = listed.get(split, set())
            self.add_images([image for image in images if image not in known], split)
        values: dict[str, dict[str, int]] = {category: {} for category in other.categories}
        for _, category, image, value in other.lines(Findings("lists")):
            values[category][image] = value
        for category, found in values.items():
            self.set_values(category, found)
            self.ensure_category(category)

    def _append(self, category: str, values: Mapping[str, int]) -> None:
        if not values:
            return
        split_of: dict[str, str] = {}
        for _, split, images in self.split_lists():
            for image in images:
                split_of.setdefault(image, split)
        if homeless := [image for image in values if image not in split_of]:
            self.add_images(homeless, DEFAULT_SPLIT)
        lines: dict[str, list[str]] = {}
        for image, value in values.items():
            name = self._list_of(category, split_of.get(image, DEFAULT_SPLIT))
            lines.setdefault(name, []).append(f"{image} {value:2d}")
        for name, added in lines.items():
            self._extend(name, added)

    def _list_of(self, category: str, split: str) -> str:
        files = self._categories.setdefault(category, [])
        for name, known in files:
            if known == split:
                return name
        name = f"{_file_part(category)}_{_file_part(split)}.txt"
        files.append((name, split))
        return name

    def _extend(self, name: str, lines: list[str]) -> None:
        text = self.texts.get(name, "")
        if text and not text.endswith("\n"):
            text += "\n"
        self.texts[name] = text + "".join(f"{line}\n" for line in lines)

    def _parts(self, stem: str) -> tuple[str, str]:
        """Category and split; the longest known split wins, as both may hold underscores."""
        for split in self._longest_first:
            if stem.endswith(f"_{split}") and stem != f"_{split}":
                return unquote(stem.removesuffix(f"_{split}")), split
        category, _, split = stem.rpartition("_")
        return (unquote(category), split) if category else (unquote(stem), "")


def _with_name(text: str, names: Mapping[str, str], *, has_value: bool) -> str:
    """A line under another name of its image."""
    line = _parse(0, text) if has_value else None
    if line is not None:
        end = text[len(text.rstrip("\r\n")) :]
        return f"{names[line.image]} {line.value:2d}{end}" if line.image in names else text
    image = text.strip()
    return text.replace(image, names[image]) if not has_value and image in names else text


def _file_part(name: str) -> str:
    """A name as part of a file name; undone by ``unquote``."""
    return quote(name, safe=" ,;()&+'")


def _has_values(text: str) -> bool:
    """Whether the lines are those of a category: an image and a value."""
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and sum(_parse(0, line) is not None for line in lines) * 2 > len(lines)


def _parse(number: int, text: str) -> _Line | None:
    parts = text.rsplit(None, 1)
    if len(parts) == 2 and parts[1] in _VALUES and parts[0].strip():
        return _Line(number, parts[0].strip(), int(parts[1]))
    return None

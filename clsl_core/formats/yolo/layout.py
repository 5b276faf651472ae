"""Where the pictures and labels of a YOLO folder lie, and what its categories are called.

``data.yaml`` names a folder of pictures (or a list of them) for each split; the labels of
``images/train/a.jpg`` are in ``labels/train/a.txt``: the last folder called ``images`` is replaced.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from clsl_core.formats.findings import Findings
from clsl_core.formats.tables.csv_wide import PICTURES
from clsl_core.formats.text.folder_source import is_file, is_folder
from clsl_core.formats.text.json_source import kind_of, text_of
from clsl_core.types import JsonObject

__all__ = ["FILES", "YAML_NAMES", "Entry", "Layout", "picture_of", "read_layout"]

YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml")
FILES = "clsl_files.json"
"""Written here: the file name of each image as it was called before, by the path of its labels."""

_SPLITS = ("train", "val", "valid", "test")
_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Entry:
    """One image: its picture and its labels, relative to the folder, and its split."""

    picture: str
    labels: str
    split: str


@dataclass(slots=True)
class Layout:
    """What ``data.yaml`` says.

    Attributes:
        yaml_name: The file.
        text: Its content.
        names: The name of each class number.
        lists: The text of each list of pictures.
        places: The folders of labels, with the split of each.
        entries: The images by their path without the ending.
    """

    yaml_name: str
    text: str
    names: dict[int, str] = field(default_factory=dict)
    lists: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)


def read_layout(folder: Path, yaml_file: Path, findings: Findings) -> Layout:
    """Read ``data.yaml`` and look for the images and labels that it names.

    Raises:
        FormatError: When it is no such file.
    """
    if is_file(yaml_file) and yaml_file.stat().st_size > _MAX_BYTES:
        findings.refuse("too-long", yaml_file.name, f"larger than {_MAX_BYTES:,} bytes")
    text = text_of(yaml_file, findings, yaml_file.name)
    try:
        document = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        findings.refuse("not-yaml", yaml_file.name, f"cannot be parsed: {reason}")
    if not isinstance(document, dict):
        findings.refuse(
            "not-yaml", yaml_file.name, f"it holds {kind_of(document)}; names were expected"
        )
    layout = Layout(yaml_file.name, text, _names(document, yaml_file.name, findings))
    for split, place in _places(document):
        _look_in(folder, place, split, layout, findings)
    _take_files_before(folder, layout, findings)
    return layout


def _places(document: JsonObject) -> list[tuple[str, str]]:
    """Each split with its folders and lists; first those that are called like their split.

    One folder may stand for two splits, as Ultralytics wants both ``train`` and ``val``.
    """
    found = []
    for split in _SPLITS:
        stated = document.get(split)
        for place in stated if isinstance(stated, list) else [stated]:
            if isinstance(place, str) and place.strip():
                found.append((split, _inside(place, document.get("path"))))
    return sorted(found, key=lambda one: one[0] not in one[1].split("/"))


def _names(document: JsonObject, where: str, findings: Findings) -> dict[int, str]:
    """The names, from a list or from a mapping of class numbers."""
    stated: Any = document.get("names")
    count = document.get("nc")
    if stated is None and type(count) is int and 0 < count < 100_000:
        findings.warn("no-names", where, f"there are no names; the {count} classes are numbered")
        return {number: f"class {number}" for number in range(count)}
    pairs = enumerate(stated) if isinstance(stated, list) else ()
    names = dict(stated if isinstance(stated, dict) else pairs)
    if not names:
        message = f"names is {kind_of(stated)}; a list or a mapping of names was expected"
        findings.refuse("no-names", where, message)
    found: dict[int, str] = {}
    for key, name in names.items():
        number = int(key) if isinstance(key, str) and key.isdecimal() else key
        if type(number) is int and isinstance(name, str | int | float):
            found[number] = str(name)
        else:
            message = f"found {kind_of(key)}: {kind_of(name)}; a number and its name were expected"
            findings.error("bad-name", where, message)
    return found


def _inside(place: str, base: object) -> str:
    """A stated path relative to the folder: that of another machine, and ``../``, are left out."""
    parts = [part for part in place.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if isinstance(base, str):
        above = [part for part in base.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        if place.startswith("/") and parts[: len(above)] == above:
            parts = parts[len(above) :]
    return "/".join(parts)


def _look_in(folder: Path, place: str, split: str, layout: Layout, findings: Findings) -> None:
    """The images of a split: those of a list, or of a folder, with their labels."""
    if place.endswith(".txt"):
        if not is_file(folder / place):
            findings.warn("no-list", layout.yaml_name, f"there is no list {place!a:.200}")
            return
        layout.lists[place] = text_of(folder / place, findings, place)
        for line in layout.lists[place].splitlines():
            name = _inside(line.strip(), None)
            if name:
                _add(layout, Entry(name, _labels_of(name), split))
        return
    pictures = _below(folder, place, PICTURES)
    labels = _below(folder, _labels_folder(place), (".txt",))
    if layout.places.setdefault(_labels_folder(place), split) != split:
        return
    if not pictures and not labels:
        message = f"there are neither pictures nor labels for {split}: {place!a:.200}"
        findings.warn("empty-split", layout.yaml_name, message)
    for name in pictures:
        _add(layout, Entry(name, _labels_of(name), split))
    known = {entry.labels for entry in layout.entries.values()}
    for name in labels:
        if name not in known:
            _add(layout, Entry(picture_of(name), name, split))


def _below(folder: Path, place: str, endings: tuple[str, ...]) -> list[str]:
    """The files of a folder with certain endings; nothing outside is looked at."""
    inside = folder / place
    if not is_folder(inside) or not inside.resolve().is_relative_to(folder.resolve()):
        return []
    return sorted(
        path.relative_to(folder).as_posix()
        for path in inside.rglob("*")
        if path.suffix.lower() in endings and path.is_file()
    )


def _add(layout: Layout, entry: Entry) -> None:
    key = PurePosixPath(entry.picture).with_suffix("").as_posix()
    layout.entries.setdefault(key, entry)


def _labels_folder(place: str) -> str:
    """``train/labels`` for ``train/images``; beside the pictures where no folder is called so."""
    return _exchanged(place, "images", "labels")


def picture_of(labels: str) -> str:
    """The picture that a label file is taken to be about where none is there."""
    path = PurePosixPath(labels)
    return (
        PurePosixPath(_exchanged(str(path.parent), "labels", "images")) / f"{path.stem}.jpg"
    ).as_posix()


def _exchanged(place: str, one: str, other: str) -> str:
    """A path with another name for its last folder of one name."""
    parts = place.split("/")
    for index in range(len(parts) - 1, -1, -1):
        if parts[index] == one:
            return "/".join([*parts[:index], other, *parts[index + 1 :]])
    return place


def _labels_of(picture: str) -> str:
    path = PurePosixPath(picture)
    above = "" if path.parent.as_posix() == "." else f"{_labels_folder(path.parent.as_posix())}/"
    return f"{above}{path.stem}.txt"


def _take_files_before(folder: Path, layout: Layout, findings: Findings) -> None:
    """Call images as they were called before, also those that have no label file."""
    of_labels = {entry.labels: key for key, entry in layout.entries.items()}
    ordered: dict[str, Entry] = {}
    for labels, name in _files_before(folder, findings).items():
        places = layout.places.items()
        split = next((split for place, split in places if labels.startswith(f"{place}/")), None)
        key = of_labels.get(labels) or PurePosixPath(picture_of(labels)).with_suffix("").as_posix()
        known = layout.entries.get(key)
        if isinstance(name, str) and name and (known is not None or split is not None):
            ordered[key] = Entry(name, labels, known.split if known else split or "")
    layout.entries = {**ordered, **{k: x for k, x in layout.entries.items() if k not in ordered}}


def _files_before(folder: Path, findings: Findings) -> JsonObject:
    """What images were called before they were written here."""
    file = folder / FILES
    if not is_file(file):
        return {}
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        findings.warn("bad-file-list", FILES, f"cannot be read: {error}; not used")
        return {}
    return found if isinstance(found, dict) else {}

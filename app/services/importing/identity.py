"""Which images and categories of a file are those of a dataset: by what people mean.

Ids are a file's own business: other tools number categories by alphabet and images by place, at
every export anew. So a category is its name and supercategory, an image its path, then its
content, then its id. Where ids and names tell different things and neither is plainly right,
nothing is decided: both readings are told, and a person chooses.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Generic, Protocol, TypeVar

from clsl_core.types import CategoryRecord, ImageRecord, SourceId

__all__ = [
    "Match",
    "Matched",
    "PicturesThere",
    "StoredCategory",
    "StoredImage",
    "Undecided",
    "free_ids",
    "match_categories",
    "match_images",
]


class Match(StrEnum):
    """What counts where ids and names disagree; AUTO asks where neither is plainly right."""

    AUTO = "auto"
    IDS = "ids"
    NAMES = "names"


@dataclass(frozen=True, slots=True)
class StoredCategory:
    """A category of the dataset.

    Attributes:
        row: Its id in the database.
        source_id: What the dataset's files call it.
        names: Its name in the file it came with, and the one given here.
        supercategory: As in the file.
    """

    row: int
    source_id: SourceId
    names: tuple[str, ...]
    supercategory: str | None


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of the dataset.

    Attributes:
        row: Its id in the database.
        source_id: What the dataset's files call it.
        file_name: Its path.
        fingerprint: Of its picture, when it was last read.
    """

    row: int
    source_id: SourceId
    file_name: str
    fingerprint: str | None


class PicturesThere(Protocol):
    """What can be told of pictures by looking at their files, without decoding them."""

    def stated(self, file_name: str) -> str:
        """What its annotation file calls a picture that is there under this name."""

    def fingerprint(self, file_name: str) -> str | None:
        """Size and time of change, ``size-mtime``; None where no file of that name can be seen."""

    def same(self, one: str, other: str) -> bool | None:
        """Whether two files have one content; None where one of them cannot be seen."""

    def replaced(self, file_name: str) -> tuple[str, str] | None:
        """Where a file was and is, if it holds another picture there than it held."""

    def digest(self, file_name: str) -> str | None:
        """Of the content; None where it cannot be seen."""

    def digest_before(self, file_name: str, sizes: Collection[str]) -> str | None:
        """Of the content where the file was looked for until now.

        Args:
            file_name: Its name.
            sizes: In bytes, of those it is compared with; None is given for any other size.
        """


@dataclass(frozen=True, slots=True)
class Undecided:
    """An id that meant one thing in the dataset and means another in the file.

    Attributes:
        kind: ``category`` or ``image``; ``picture`` where one path holds two pictures.
        source_id: The id.
        row: What it means in the dataset, by its id in the database.
        before: What it is called there.
        now: What the file calls it.
    """

    kind: str
    source_id: SourceId
    row: int
    before: str
    now: str


@dataclass(slots=True)
class Matched:
    """What belongs together.

    Attributes:
        known: From the file's ids to the dataset's; what is new is not in it.
        undecided: Ids that must be asked about.
    """

    known: dict[SourceId, SourceId] = field(default_factory=dict)
    undecided: list[Undecided] = field(default_factory=list)


def match_categories(
    stored: Sequence[StoredCategory], found: Sequence[CategoryRecord], how: Match
) -> Matched:
    """Categories by name and supercategory, then by name; by id where only the spelling differs.

    Args:
        stored: Those of the dataset.
        found: Those of the file.
        how: What counts where ids and names disagree.
    """
    by_id = {one.source_id: one for one in stored}
    if how is Match.IDS:
        return Matched({one.source_id: one.source_id for one in found if one.source_id in by_id})
    matched = Matched()
    left = _Left(stored, found, matched)
    given = [one for one in stored if len(one.names) > 1]
    left.pair(stored, lambda x: (x.names[0], x.supercategory), _name_and_super)
    left.pair(stored, lambda x: x.names[0], lambda x: x.name)
    left.pair(given, lambda x: x.names[-1], lambda x: x.name)
    for one in list(left.found.values()):
        before = by_id.get(one.source_id)
        if before is None or before.source_id not in left.stored:
            continue
        unnamed = one.name == str(one.source_id)
        if unnamed or _plain(one.name) in {_plain(name) for name in before.names}:
            left.take(one, before)
        elif how is Match.AUTO:
            matched.undecided.append(
                Undecided("category", one.source_id, before.row, before.names[-1], one.name)
            )
    return matched


def match_images(
    stored: Sequence[StoredImage],
    found: Iterable[ImageRecord],
    how: Match,
    pictures: PicturesThere,
) -> Matched:
    """Images by path, then by content, then by id where the picture was moved.

    Args:
        stored: Those of the dataset.
        found: Those of the file.
        how: What counts where ids and names disagree.
        pictures: What can be told of the pictures by looking at their files.
    """
    by_id = {one.source_id: one for one in stored}
    named = [(one.source_id, one.file_name) for one in found]
    if how is Match.IDS:
        return Matched({id_: id_ for id_, _ in named if id_ in by_id})
    matched = Matched()
    files = [_File(id_, name) for id_, name in named]
    left = _Left(stored, files, matched)
    left.pair(stored, lambda x: x.file_name, lambda x: x.file_name)
    left.pair(left.rest(), lambda x: _path(x.file_name), lambda x: _path(x.file_name))
    left.pair(  # it was missing under the name that the file has for it
        left.rest(), lambda x: _path(x.file_name), lambda x: _path(pictures.stated(x.file_name))
    )
    left.pair(left.rest(), _id_and_stem, _id_and_stem)
    if how is Match.AUTO:
        matched.undecided += _replaced(files, by_id, matched, pictures)
    if left.found:
        gone = [one for one in left.rest() if pictures.fingerprint(one.file_name) is None]
        marked = [one for one in gone if one.fingerprint is not None]
        if marked:
            left.pair(
                marked,
                lambda x: x.fingerprint,
                lambda x: pictures.fingerprint(x.file_name),
                one_by_one=True,
            )
        sizes = {_size(pictures.fingerprint(one.file_name)) for one in left.found.values()}
        digests = {one.source_id: pictures.digest_before(one.file_name, sizes) for one in gone}
        if any(digests.values()):
            left.pair(
                gone,
                lambda x: digests[x.source_id],
                lambda x: pictures.digest(x.file_name),
                one_by_one=True,
            )
    for one in list(left.found.values()):
        before = by_id.get(one.source_id)
        if before is None or before.source_id not in left.stored:
            continue
        same = _moved(before, one, pictures)
        if same:
            left.take(one, before)
        elif same is None and how is Match.AUTO:
            names = (before.file_name, one.file_name)
            matched.undecided.append(Undecided("image", one.source_id, before.row, *names))
    return matched


@dataclass(frozen=True, slots=True)
class _File:
    source_id: SourceId
    file_name: str


S = TypeVar("S", StoredCategory, StoredImage)
F = TypeVar("F", CategoryRecord, _File)


class _Left(Generic[S, F]):
    """What has not been matched yet, by id."""

    def __init__(self, stored: Sequence[S], found: Sequence[F], matched: Matched) -> None:
        self.stored: dict[SourceId, S] = {one.source_id: one for one in stored}
        self.found: dict[SourceId, F] = {one.source_id: one for one in found}
        self._matched = matched

    def rest(self) -> list[S]:
        """Those of the dataset."""
        return list(self.stored.values())

    def take(self, one: F, before: S) -> None:
        """Note that two are the same."""
        self._matched.known[one.source_id] = before.source_id
        del self.found[one.source_id], self.stored[before.source_id]

    def pair(
        self,
        stored: Sequence[S],
        key_of_stored: Callable[[S], Hashable],
        key_of_found: Callable[[F], Hashable],
        *,
        one_by_one: bool = False,
    ) -> None:
        """Match those of one key: the same ids first, then in order where there are as many.

        With ``one_by_one`` only where there is one: what looks alike need not be the same.
        """
        waiting: dict[Hashable, dict[SourceId, S]] = defaultdict(dict)
        for before in stored:
            if before.source_id in self.stored:
                waiting[key_of_stored(before)][before.source_id] = before
        again: dict[Hashable, list[F]] = defaultdict(list)
        for one in list(self.found.values()):
            key = key_of_found(one)
            same = waiting.get(key, {}).pop(one.source_id, None) if key is not None else None
            if same is not None:
                self.take(one, same)
            elif key is not None and key in waiting:
                again[key].append(one)
        for key, several in again.items():
            if len(several) == len(waiting[key]) and not (one_by_one and len(several) > 1):
                for one, before in zip(several, list(waiting[key].values()), strict=True):
                    self.take(one, before)


def _name_and_super(one: CategoryRecord) -> tuple[str, str | None]:
    return one.name, one.supercategory


def _plain(name: str) -> str:
    """A name without what may be spelled in one way or another."""
    words = unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ")
    return " ".join(words.split())


def _path(name: str) -> str:
    """A path without what may be written in one way or another."""
    plain = unicodedata.normalize("NFC", name).replace("\\", "/")
    return "/".join(part for part in plain.split("/") if part not in ("", "."))


def _replaced(
    files: Iterable[_File],
    by_id: Mapping[SourceId, StoredImage],
    matched: Matched,
    pictures: PicturesThere,
) -> Iterator[Undecided]:
    """Images whose path leads to another picture, in the folder where it is looked for now."""
    for one in files:
        if one.source_id not in matched.known:
            continue
        before = by_id[matched.known[one.source_id]]
        if before.file_name == one.file_name and (paths := pictures.replaced(one.file_name)):
            yield Undecided("picture", one.source_id, before.row, *paths)


def _id_and_stem(one: StoredImage | _File) -> tuple[SourceId, str]:
    """Id and path without its ending: pictures are written in another format now and then."""
    return one.source_id, str(PurePosixPath(_path(one.file_name) or "?").with_suffix(""))


def _moved(before: StoredImage, now: _File, pictures: PicturesThere) -> bool | None:
    """Whether an id's picture was moved or renamed, and is no other; None: nobody can tell."""
    stems = {PurePosixPath(_path(one.file_name)).stem for one in (before, now)}
    if pictures.fingerprint(before.file_name) is not None:
        same = pictures.same(before.file_name, now.file_name)
        return None if same and len(stems) > 1 else same  # two pictures may well look the same
    known = pictures.fingerprint(now.file_name)
    if known is None:
        return None
    if len(stems) == 1:
        return True
    if before.fingerprint is None:
        return None
    return None if _size(before.fingerprint) == _size(known) else False


def _size(fingerprint: str | None) -> str:
    """The bytes of a file, from its fingerprint."""
    return (fingerprint or "").partition("-")[0]


def free_ids(
    wanted: Sequence[SourceId], taken: Iterable[SourceId], *, places: bool = False
) -> Iterator[tuple[SourceId, SourceId]]:
    """New ids for those that are taken, with the old ones.

    Args:
        wanted: The ids of what is new, in order.
        taken: All ids of the dataset.
        places: Every new one is numbered on from the last of the dataset.
    """
    used, own = set(taken), set(wanted)
    numbers = [id_ for id_ in (used if places else used | own) if isinstance(id_, int)]
    following = max(numbers, default=-1) + 1
    for id_ in wanted:
        new: SourceId = id_
        if isinstance(id_, int) and (places or id_ in used):
            new, following = following, following + 1
        number = 1
        while new in used or (new != id_ and new in own and not places):
            number += 1
            new = f"{id_}_{number}"
        used.add(new)
        if new != id_:
            yield id_, new

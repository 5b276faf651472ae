"""Pictures whose file is there under a name that is almost the one that was written.

Names change on the way between systems: accents are composed or decomposed, endings written in
capitals, blanks escaped, folders left out. A name is taken for another only where exactly one file
fits and no other name fits it, so that two images never share a picture.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import unquote

__all__ = ["Near", "Offer", "find_near"]

_UPLOAD = re.compile(r"(?:.*/)?upload/\d+/[0-9a-f]{8}-(.+)")
_LISTED = 5


@dataclass(frozen=True, slots=True)
class Offer:
    """A change of the folders in front of many names, that a person should agree to.

    Attributes:
        left_out: The folders that the names have and the files have not, ending in ``/``.
        put_before: The other way round.
        found: The file of each name.
    """

    left_out: str
    put_before: str
    found: dict[str, str]

    @property
    def words(self) -> str:
        """What would be done: ``train2017/ is left out``."""
        told = [f"{self.left_out!a} is left out"] if self.left_out else []
        told += [f"{self.put_before!a} is put before them"] if self.put_before else []
        return " and ".join(told)


@dataclass(slots=True)
class Near:
    """What was found.

    Attributes:
        found: The file of each name that differs in writing only.
        reasons: How many of these differ in what.
        offers: Changes of folders, the one that finds most first.
    """

    found: dict[str, str] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    offers: list[Offer] = field(default_factory=list)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _plain(name: str) -> str:
    return _composed(unquote(name)).casefold()


def _stem(name: str) -> str:
    return PurePosixPath(_plain(name)).with_suffix("").as_posix() if name.strip("./") else ""


def _uploaded(name: str) -> str:
    """What an upload to Label Studio was called."""
    found = _UPLOAD.fullmatch(name)
    return _plain(found[1] if found else name)


def _stem_of_file(name: str) -> str:
    return PurePosixPath(_composed(name).casefold()).with_suffix("").as_posix()


Key = Callable[[str], str]

_RULES: tuple[tuple[str, Key, Key], ...] = (
    ("their Unicode form", _composed, _composed),
    ("capitals", lambda x: _composed(x).casefold(), lambda x: _composed(x).casefold()),
    ("escaped signs", lambda x: _composed(unquote(x)), _composed),
    ("escaped signs and capitals", _plain, lambda x: _composed(x).casefold()),
    ("the prefix of an upload", _uploaded, lambda x: _composed(x).casefold()),
    ("a missing ending", _plain, _stem_of_file),
    ("their ending", _stem, _stem_of_file),
)
"""In what names differ, and what is equal then: of the name, and of the file."""


def find_near(missing: Sequence[str], files: Iterable[str], taken: Collection[str]) -> Near:
    """Look for missing pictures under other names.

    >>> near = find_near(["a%20b.jpg", "x/c.jpg"], ["a b.JPG", "c.jpg"], ())
    >>> near.found, [(offer.words, len(offer.found)) for offer in near.offers]
    ({'a%20b.jpg': 'a b.JPG'}, [("'x/' is left out", 1)])

    Args:
        missing: The names that no file has.
        files: The paths of all pictures below the folder.
        taken: Those that other images have already.
    """
    near = Near()
    free = sorted(set(files) - set(taken))
    left = {name: name.replace("\\", "/") for name in missing}
    for reason, of_name, of_file in _RULES:
        found = _pairs(left, free, of_name, of_file)
        near.found |= found
        near.reasons[reason] += len(found)
        left = {name: plain for name, plain in left.items() if name not in found}
        free = sorted(set(free) - set(found.values()))
        if not left or not free:
            break
    near.reasons += Counter()  # without those that found nothing
    near.offers = _offers(left, free) if left and free else []
    return near


def _pairs(
    names: dict[str, str], files: Sequence[str], of_name: Key, of_file: Key
) -> dict[str, str]:
    """Names and files with the same key, where one of each has it."""
    wanted = {name: of_name(plain) for name, plain in names.items()}
    there = [(of_file(file), file) for file in files]
    often, of_files = Counter(wanted.values()), Counter(key for key, _ in there)
    file_of = dict(there)
    return {
        name: file_of[key]
        for name, key in wanted.items()
        if often[key] == 1 and of_files[key] == 1 and key.strip("./")
    }


def _offers(names: dict[str, str], files: Sequence[str]) -> list[Offer]:
    """The folders to leave out or put in front, and what each change would find."""
    by_end: dict[str, list[str]] = {}
    for file in files:
        by_end.setdefault(PurePosixPath(_plain_file(file)).name, []).append(file)
    changes: dict[tuple[str, str], dict[str, str]] = {}
    for name, plain in names.items():
        others = by_end.get(PurePosixPath(_plain(plain)).name, ())
        for file in others if len(others) <= _LISTED else ():
            changes.setdefault(_change(plain, file), {})[name] = file
    offers = []
    for (left_out, put_before), found in changes.items():
        often = Counter(found.values())
        alone = {name: file for name, file in found.items() if often[file] == 1}
        if alone:
            offers.append(Offer(left_out, put_before, alone))
    return sorted(offers, key=lambda one: (-len(one.found), one.left_out, one.put_before))[:_LISTED]


def _plain_file(name: str) -> str:
    return _composed(name).casefold()


def _change(name: str, file: str) -> tuple[str, str]:
    """The folders that only the name has and that only the file has, before what both share."""
    ours, theirs = name.split("/"), file.split("/")
    while ours and theirs and _plain(ours[-1]) == _plain_file(theirs[-1]):
        ours.pop()
        theirs.pop()
    return "".join(f"{part}/" for part in ours), "".join(f"{part}/" for part in theirs)

"""Pictures that are there under a name close to the one in the file: taken, or offered."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from app.services.importing import file_kinds
from app.services.importing.rows import MissingFile
from clsl_core.errors import InputError
from clsl_core.formats.text.record_store import LazyRecords
from clsl_core.pictures.fetch import is_url
from clsl_core.pictures.near_names import Offer, find_near
from clsl_core.types import AnnotationSet, ImageRecord, SourceId

__all__ = ["Names", "Sought", "refuse_all_missing", "seek"]

Names = Literal["exact", "alike", "near"]
"""Which names a picture may have: as written; differing in writing only; in other folders too."""


@dataclass(frozen=True, slots=True)
class Sought:
    """A set after its missing pictures were looked for under other names.

    Attributes:
        content: With the names of the files that are there; the records stay as they came.
        problems: Images whose picture is missing still.
        told: What was taken for what, and what is offered, in lines.
        offers: Changes of folders that would find more, if they were asked for.
        stated: By the name of a file that is there, the other name that the set has for it.
    """

    content: AnnotationSet
    problems: dict[SourceId, MissingFile]
    told: tuple[str, ...] = ()
    offers: tuple[Offer, ...] = ()
    stated: Mapping[str, str] = field(default_factory=dict)


def seek(
    content: AnnotationSet, problems: Mapping[SourceId, MissingFile], root: str, names: Names
) -> Sought:
    """Look for missing pictures under names close to theirs.

    Args:
        content: What was read.
        problems: Images whose file cannot be reached.
        root: The folder of the pictures; below a URL nothing can be looked for.
        names: What may be taken for what.
    """
    missing = {key for key, problem in problems.items() if problem.reason == "missing"}
    if not missing or names == "exact" or is_url(root):
        return Sought(content, dict(problems))
    wanted = {x.source_id: x.file_name for x in content.images if x.source_id in missing}
    taken = {x.file_name for x in content.images if x.source_id not in missing}
    near = find_near(list(dict.fromkeys(wanted.values())), _files(Path(root)), taken)
    found, told = dict(near.found), []
    if near.found:
        reasons = ", ".join(f"{count:,} in {what}" for what, count in near.reasons.items())
        one, other = next(iter(near.found.items()))
        told.append(
            f"{len(near.found):,} pictures are there under names that differ from those in the "
            f"file ({reasons}), such as {other!a:.200} for {one!a:.200}"
        )
    for offer in near.offers:
        if names == "near" and not (set(offer.found.values()) & set(found.values())):
            fresh = {name: file for name, file in offer.found.items() if name not in found}
            found |= fresh
            told.append(f"{len(fresh):,} pictures are found where {offer.words}")
    offers = () if names == "near" else tuple(near.offers)
    told += [offer_line(offer, len(wanted)) for offer in offers]
    left = {key: problem for key, problem in problems.items() if wanted.get(key) not in found}
    stated = {file: name for name, file in found.items()}
    return Sought(_renamed(content, wanted, found), left, tuple(told), offers, stated)


def offer_line(offer: Offer, missing: int) -> str:
    """``243 of 243 missing pictures are found if 'train2017/' is left out``."""
    return f"{len(offer.found):,} of {missing:,} missing pictures are found if {offer.words}"


def refuse_all_missing(sought: Sought, root: str) -> None:
    """Stop where not one picture is there: then the folder is wrong, or the names are.

    Raises:
        InputError: With what would find some.
    """
    missing = sum(problem.reason == "missing" for problem in sought.problems.values())
    total = len(sought.content.images)
    if not total or missing < total:
        return
    image = sought.content.images[0]
    offers = "".join(f"; {offer_line(offer, missing)}" for offer in sought.offers)
    near = ": declare that names may be near (`--names near`)" if offers else ""
    raise InputError(
        f"none of the {total:,} pictures is in {root!r}, such as {image.file_name!a:.200}{offers}"
        f"{near}; name the folder that the file names begin in, or declare that the pictures come "
        "later (`--pictures-later`)"
    )


def _files(root: Path) -> list[str]:
    """The pictures of a folder and below it; links to folders are not followed."""
    found = []
    for folder, _, names in os.walk(root):
        inside = Path(folder).relative_to(root)
        found += [
            (inside / name).as_posix()
            for name in names
            if file_kinds.suffix_of(name) in file_kinds.PICTURES
        ]
    return found


def _renamed(
    content: AnnotationSet, wanted: Mapping[SourceId, str], found: Mapping[str, str]
) -> AnnotationSet:
    """The set with the names of the files for those that were looked for."""
    if not found:
        return content
    chosen: Collection[SourceId] = wanted.keys()

    def renamed(image: ImageRecord) -> ImageRecord:
        name = found.get(image.file_name) if image.source_id in chosen else None
        return image if name is None else replace(image, file_name=name)

    if isinstance(content.images, LazyRecords):
        return replace(content, images=content.images.mapped(renamed))
    return replace(content, images=[renamed(image) for image in content.images])

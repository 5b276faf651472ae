"""Where a dataset's pictures are: its folders, URLs below which they lie, URLs in its records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.services.access import audit_log, rights
from app.services.access.rights import Right
from app.services.workspace import Workspace, find_dataset
from clsl_core.errors import ImageError, InputError, NotFoundError
from clsl_core.pictures.fetch import FetchLimits, fetch, is_url
from clsl_core.pictures.loading import ImageLoader, LocalImages
from clsl_core.pictures.remote import FirstOf, RemoteImages, below
from clsl_core.types import Progress, no_progress
from db.models import Dataset
from db.queries import picture_places

__all__ = [
    "Places",
    "check_place",
    "images_of",
    "known_place",
    "loader_of",
    "look_again",
    "places",
    "set_places",
]

BATCH = 1_000

UrlOf = Callable[[str], str | None]
"""From a file name to a picture's URL, where it has one."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the pictures of a dataset are looked for, in this order.

    Attributes:
        roots: Folders, and URLs that end where file names begin.
        url_field: Of an image's record, whose value is its URL; None for none.
        unreachable: Images whose picture is in none of them, or could not be used.
    """

    roots: tuple[str, ...]
    url_field: str | None
    unreachable: int


def images_of(workspace: Workspace, dataset: Dataset) -> ImageLoader:
    """The loader for one dataset's pictures."""
    url_of = None
    if dataset.url_field is not None:
        url_of = partial(_url_in_record, workspace, dataset.id, dataset.url_field)
    return loader_of(workspace, [dataset.image_root, *dataset.more_roots], url_of)


def loader_of(
    workspace: Workspace, roots: Sequence[str], url_of: UrlOf | None = None
) -> ImageLoader:
    """The loader for pictures below folders, then below URLs, then at URLs of their own.

    Folders come first wherever they stand in the list: whether a picture is at a URL is known only
    when it is fetched.
    """
    loaders = [_loader(workspace, root) for root in sorted(roots, key=is_url)]
    if url_of is not None:
        loaders.append(_remote(workspace, url_of))
    return loaders[0] if len(loaders) == 1 else FirstOf(loaders)


def places(workspace: Workspace, dataset_name: str) -> Places:
    """Where a dataset's pictures are looked for.

    Raises:
        NotFoundError: There is no such dataset.
    """
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        roots = (dataset.image_root, *dataset.more_roots)
        return Places(roots, dataset.url_field, picture_places.count_problems(session, dataset.id))


def set_places(
    workspace: Workspace, dataset_name: str, roots: Sequence[str], url_field: str | None
) -> Places:
    """Say anew where the pictures are; labels and decisions are not touched.

    Raises:
        InputError: A root is neither a folder nor a URL, or there is none.
        NotFoundError: There is no such dataset.
    """
    rights.require(Right.MANAGE)
    if not roots:
        raise InputError("a dataset needs at least one place for its pictures")
    checked = [check_place(root) for root in roots]
    with workspace.database.write() as session:
        dataset = find_dataset(session, dataset_name)
        dataset.image_root, dataset.more_roots = checked[0], checked[1:]
        dataset.url_field = url_field or None
        audit_log.record(session, "dataset.places", dataset.name, roots=len(checked))
    return places(workspace, dataset_name)


def look_again(
    workspace: Workspace, dataset_name: str, progress: Progress = no_progress
) -> tuple[int, int]:
    """Look for the pictures that could not be reached.

    Those that are there now are tried when the dataset is next embedded.

    Returns:
        How many may be there now, since a file or a URL is, and how many are still missing.

    Raises:
        NotFoundError: There is no such dataset.
    """
    rights.require(Right.MANAGE)
    with workspace.database.read() as session:
        dataset = find_dataset(session, dataset_name)
        loader, found = images_of(workspace, dataset), picture_places.problems(session, dataset.id)
    there: list[int] = []
    for done, (image_id, file_name) in enumerate(found):
        if done % 500 == 0:
            progress(done, len(found), "looking for the pictures")
        try:
            loader.fingerprint(file_name)
        except ImageError:
            continue
        there.append(image_id)
    for start in range(0, len(there), BATCH):
        with workspace.database.write(dataset.id) as session:
            picture_places.try_again(session, there[start : start + BATCH])
    return len(there), len(found) - len(there)


def known_place(root: str, places: Places) -> str:
    """One of a dataset's places by what a person typed, also when its folder is gone.

    Raises:
        NotFoundError: It is none of them; the message lists them.
    """
    typed = root.strip()
    for known in places.roots:
        if known in (typed, str(Path(typed).expanduser().absolute())):
            return known
    raise NotFoundError(f"{root!r} is none of its places; they are: {', '.join(places.roots)}")


def _check_folder(root: str) -> Path:
    """A folder of pictures, absolute.

    Raises:
        InputError: It is not a folder.
    """
    path = Path(root).expanduser().absolute()
    if not path.is_dir():
        raise InputError(f"the image folder {root!r} is not a folder: give the one that holds it")
    return path


def check_place(root: str) -> str:
    """A place as it is stored: a URL, or a folder's absolute path.

    Raises:
        InputError: It is neither.
    """
    root = root.strip()
    return root if is_url(root) else str(_check_folder(root))


def _loader(workspace: Workspace, root: str) -> ImageLoader:
    if is_url(root):
        return _remote(workspace, below(root))
    return LocalImages(Path(root), workspace.settings.max_pixels)


def _remote(workspace: Workspace, url_of: UrlOf) -> RemoteImages:
    settings = workspace.settings
    limits = FetchLimits(
        seconds=settings.fetch_seconds,
        megabytes=settings.fetch_megabytes,
        allow_private=settings.allow_private_hosts,
    )
    return RemoteImages(
        url_of,
        partial(fetch, limits=limits),
        workspace.pictures,
        settings.max_pixels,
    )


def _url_in_record(workspace: Workspace, dataset_id: int, field: str, file_name: str) -> str | None:
    with workspace.database.read() as session:
        record = picture_places.record_of(session, dataset_id, file_name)
    url = None if record is None else record.get(field)
    return url if isinstance(url, str) else None

"""Files that came through the browser: an annotation file, or an archive with its pictures."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.services.access import audit_log, rights
from app.services.access.rights import Right
from app.services.importing import archive, file_kinds
from app.services.importing.archive import Limits, Unpacked
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from clsl_core.errors import FormatError, InputError
from clsl_core.files import atomic_file
from clsl_core.formats.detect import PLAIN_FOLDER, detect
from clsl_core.types import Progress, no_progress

__all__ = ["Found", "Upload", "discard", "limits_of", "receive"]

MEGABYTE = 10**6
BLOCK = 2**20
FILES = 200
"""Annotation files of an archive that are looked at."""
DEEPEST = 4
"""Folders below the archive's top in which annotations are looked for."""
BESIDE = (".provenance.csv", ".export.json", "class-descriptions.csv", "-images.csv")
"""Endings of files that are read with the one they lie beside."""
FOLDER_FORMATS = ("voc", "nus-wide", "imagefolder", "yolo")


@dataclass(frozen=True, slots=True)
class Found:
    """Something in an upload that can be imported: its path, its format, how that was told."""

    path: Path
    format: str
    reason: str


@dataclass(frozen=True, slots=True)
class Upload:
    """What somebody uploaded, on the disk.

    Attributes:
        name: As it was called.
        found: What can be imported of it, the likeliest first.
        unpacked: The archive's content; None for a single annotation file.
    """

    name: str
    found: tuple[Found, ...]
    unpacked: Unpacked | None = None


def limits_of(settings: Settings) -> Limits:
    """What an upload may be."""
    return Limits(
        settings.upload_megabytes * MEGABYTE,
        settings.unpacked_megabytes * MEGABYTE,
        settings.unpacked_files,
        settings.unpacked_ratio,
    )


def receive(
    workspace: Workspace, stream: BinaryIO, name: str, progress: Progress = no_progress
) -> Upload:
    """Store an upload where an import will read it.

    Args:
        workspace: Where to.
        stream: The content, which can be sought in.
        name: As the person called it; never used as a path.
        progress: Told how far unpacking is.

    Raises:
        Forbidden: Whoever acts may not import.
        InputError: It is too large, or nothing that can be imported; nothing of it is kept.
    """
    rights.require(Right.MANAGE)
    limits = limits_of(workspace.settings)
    stream.seek(0)
    head = stream.read(file_kinds.HEAD)
    suffix = file_kinds.suffix_of(name)
    if suffix == "zip" or head.startswith(b"PK\x03\x04"):
        upload = _receive_archive(workspace, stream, name, limits, progress)
    else:
        upload = _receive_file(workspace, stream, name, suffix, head, limits)
    with workspace.database.write("audit") as session:
        audit_log.record(session, "upload", f"{len(upload.found)} files to import")
    return upload


def discard(upload: Upload) -> None:
    """Remove an upload that will not be imported."""
    if upload.unpacked is not None:
        shutil.rmtree(upload.unpacked.folder, ignore_errors=True)
    else:
        for found in upload.found:
            found.path.unlink(missing_ok=True)


def _receive_archive(
    workspace: Workspace, stream: BinaryIO, name: str, limits: Limits, progress: Progress
) -> Upload:
    unpacked = archive.unpack(stream, workspace.data_dir / "collections", limits, progress)
    try:
        found = tuple(_candidates(unpacked.folder)) or tuple(_plain(unpacked.folder))
        if not found:
            left = f" ({unpacked.examples[0]})" if unpacked.examples else ""
            raise InputError(
                "the archive holds no annotation file of a known format: pack it beside the "
                f"pictures{left}"
            )
    except BaseException:
        shutil.rmtree(unpacked.folder, ignore_errors=True)
        raise
    return Upload(name, found, unpacked)


def _receive_file(
    workspace: Workspace, stream: BinaryIO, name: str, suffix: str, head: bytes, limits: Limits
) -> Upload:
    what = file_kinds.what_it_is(head)
    if suffix not in file_kinds.ANNOTATIONS:
        known = ", ".join(sorted(file_kinds.ANNOTATIONS))
        raise InputError(
            f"{name[:100]!a} is no annotation file: upload one that ends in {known}, or a zip"
        )
    if not head:
        raise InputError(f"{name[:100]!a} is empty (0 bytes): export it again")
    if file_kinds.is_archive(name, head) or not file_kinds.is_text(head):
        raise InputError(
            f"{name[:100]!a} is called an annotation file, but its content is {what}: upload the "
            "annotations, or pictures and annotations as zip"
        )
    path = workspace.data_dir / "uploads" / f"{uuid.uuid4().hex}.{suffix}"
    stream.seek(0)
    size = 0
    with atomic_file(path) as file:
        while block := stream.read(BLOCK):
            size += len(block)
            if size > limits.packed:
                raise InputError(
                    f"{name[:100]!a} has more than the {limits.packed / MEGABYTE:,.0f} MB allowed "
                    "(CLSL_UPLOAD_MEGABYTES): give its path on this machine instead"
                )
            file.write(block)
    try:
        kind = detect(path)
        return Upload(name, (Found(path, kind.format, kind.reason),))
    except FormatError:
        return Upload(name, (Found(path, "", "it looks like no format that is known"),))


def _candidates(folder: Path) -> Iterator[Found]:
    """What can be imported of an unpacked archive: folders first, then large files first."""
    files: list[Path] = []
    pending = [folder]
    while pending and len(files) < FILES:
        here = pending.pop(0)
        whole = _recognised(here)
        known = whole is not None and whole.reason != PLAIN_FOLDER
        if whole is not None and known and whole.format in FOLDER_FORMATS:
            yield whole
            continue
        for path in sorted(here.iterdir()):
            if path.is_dir():
                if len(path.relative_to(folder).parts) < DEEPEST:
                    pending.append(path)
            elif file_kinds.suffix_of(path.name) in file_kinds.ANNOTATIONS:
                files.append(path)
    files.sort(key=lambda path: -path.stat().st_size)
    for path in files[:FILES]:
        if not path.name.endswith(BESIDE):
            found = _recognised(path)
            if found is not None:
                yield found


def _plain(folder: Path) -> Iterator[Found]:
    """The folder itself, where it holds nothing but pictures."""
    whole = _recognised(folder)
    if whole is not None:
        yield whole


def _recognised(path: Path) -> Found | None:
    try:
        kind = detect(path)
    except FormatError:
        return None
    return Found(path, kind.format, kind.reason)

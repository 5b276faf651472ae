"""Where an import comes from: a file or an archive through the browser, or this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import streamlit as st

from app.context import plain, workspace
from app.services.importing import file_kinds, uploads
from app.services.importing.uploads import Found, Upload
from app.services.runtime.legible import legible
from clsl_core.errors import InputError

UPLOAD = "import-uploaded"
OFTEN = 0.2
"""Seconds between two movements of a progress bar."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be imported.

    Attributes:
        path: The annotation file or folder.
        upload: Where it came from, if it was uploaded.
    """

    path: Path
    upload: Upload | None = None

    @property
    def pictures(self) -> Path | None:
        """The folder of the pictures that came with it."""
        if self.upload is None or self.upload.unpacked is None:
            return None
        return self.upload.unpacked.folder


def choose_source() -> Source | None:
    """Draw the choice; None while nothing is chosen."""
    way = st.radio(
        "Where is the collection?",
        ["Upload", "On this machine"],
        horizontal=True,
        key="import-way",
    )
    if way == "On this machine":
        text = st.text_input("Path of the annotation file or folder", key="import-path")
        return Source(Path(text).expanduser()) if text.strip() else None
    upload = _uploaded()
    if upload is None:
        return None
    _tell(upload)
    found = upload.found[0]
    if len(upload.found) > 1:
        chosen = st.selectbox(
            "Which annotations of the archive?",
            range(len(upload.found)),
            format_func=lambda i: _relative(upload, upload.found[i]),
            key="import-which",
        )
        found = upload.found[chosen or 0]
    return Source(found.path, upload)


def keep_upload() -> None:
    """Leave the upload on the disk: an import needs it."""
    st.session_state.pop(UPLOAD, None)


def moving_bar(text: str) -> Callable[[int, int, str], None]:
    """A progress bar; gives the callback that moves it. A click elsewhere stops the work."""
    bar = st.progress(0.0, text=text)
    last = [0.0]

    def move(done: int, total: int, what: str) -> None:
        if time.monotonic() - last[0] > OFTEN:
            last[0] = time.monotonic()
            bar.progress(min(1.0, done / total) if total else 0.0, text=plain(f"{text}: {what}"))

    return move


def _uploaded() -> Upload | None:
    limits = uploads.limits_of(workspace().settings)
    megabyte = uploads.MEGABYTE
    file = st.file_uploader(
        "Annotation file, or a zip with the pictures and their annotation file",
        type=[*sorted(file_kinds.ANNOTATIONS - {"yaml", "yml"}), "zip"],
        max_upload_size=max(1, limits.packed // megabyte),
        key="import-upload",
    )
    st.caption(
        f"At most {limits.packed // megabyte:,} MB. A zip: at most {limits.files:,} files of "
        f"{limits.unpacked // megabyte:,} MB unpacked, without links, passwords or archives in it."
    )
    kept: tuple[str, Upload | InputError] | None = st.session_state.get(UPLOAD)
    if kept is not None and (file is None or kept[0] != file.file_id):
        if isinstance(kept[1], Upload):
            uploads.discard(kept[1])
        del st.session_state[UPLOAD]
        kept = None
    if file is None:
        return None
    if kept is None:
        kept = (file.file_id, _received(file, file.name))
        st.session_state[UPLOAD] = kept
    if isinstance(kept[1], InputError):
        raise kept[1]
    return kept[1]


def _received(file: BinaryIO, name: str) -> Upload | InputError:
    """The upload on the disk, or why it was refused: that is told again, not tried again."""
    place = st.empty()
    try:
        with place:
            return uploads.receive(workspace(), file, name, moving_bar("Unpacking"))
    except InputError as error:
        return error
    finally:
        place.empty()


def _tell(upload: Upload) -> None:
    """What came of an archive."""
    made = upload.unpacked
    if made is None:
        return
    size = f"{made.size / uploads.MEGABYTE:,.1f} MB"
    st.caption(f"Unpacked: {made.files:,} files, {size}.")
    if made.left_out:
        with st.expander(f"Files of the archive that are left out: {made.left_out:,}"):
            for example in made.examples:
                st.caption(plain(legible(example)))


def _relative(upload: Upload, found: Found) -> str:
    assert upload.unpacked is not None
    name = found.path.relative_to(upload.unpacked.folder).as_posix()
    return legible(f"{name} ({found.format})")

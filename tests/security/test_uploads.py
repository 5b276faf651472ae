"""Hostile uploads, from the browser's bytes to what is shown: a clear error, or harmless text."""

from __future__ import annotations

import io
import json
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest

from app.services.access import rights
from app.services.access.rights import Actor, Role
from app.services.importing import uploads
from app.services.importing.ingest import ImportRequest
from app.services.importing.preview import ImportPreview, look
from app.services.importing.report import report_csv, report_json, report_lines
from app.services.workspace import Workspace
from clsl_core.errors import ClslError, InputError
from tests.builders import coco_document
from tests.security.archives import collection, packed, picture

PDF = b"%PDF-1.4\n" + json.dumps(coco_document()).encode()
GIF = b"GIF89a" + b"\0" * 20 + b"<script>alert(1)</script>" + b"\0"


def sent(workspace: Workspace, name: str, content: bytes) -> uploads.Upload:
    return uploads.receive(workspace, io.BytesIO(content), name)


def seen(workspace: Workspace, upload: uploads.Upload) -> ImportPreview:
    within = None if upload.unpacked is None else upload.unpacked.folder
    request = ImportRequest(str(upload.found[0].path), "", "new")
    return look(workspace, request, within=within)


def everything_shown(preview: ImportPreview) -> str:
    """All text of a preview, in every way in which it is shown."""
    report = json.dumps(report_json(preview), ensure_ascii=False)
    names = [sample.file_name + " ".join(sample.present) for sample in preview.samples]
    return "\n".join([report, report_csv(preview), *report_lines(preview), *names])


def left(workspace: Workspace) -> list[Path]:
    """What lies in the folders that uploads go to."""
    folders = (workspace.data_dir / "uploads", workspace.data_dir / "collections")
    return [path for folder in folders for path in folder.rglob("*")]


@pytest.mark.refusal
@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.exe", b"MZ", "is no annotation file"),
        ("a.xml.svg", b"<svg/>", "is no annotation file"),
        ("<img src=x>.html", b"<html>", "is no annotation file"),
        ("a.json", b"", "is empty"),
        ("a.json", picture(), "its content is a picture"),
        ("a.csv", GIF, "its content is a picture"),
        ("a.json", b"\x7fELF" + b"\0" * 60, "its content is a program"),
        ("a.csv", b"\x1f\x8b\x08" + b"\0" * 60, "its content is a gzip archive"),
        ("a.json", b"Rar!\x1a\x07\x00" + b"x" * 60, "its content is a rar archive"),
        ("a.json", b"SQLite format 3\0" + b"x" * 60, "its content is a database"),
        ("a.zip", b"\x1f\x8b\x08" + b"\0" * 60, "begins as a gzip archive"),
        ("a.zip", b"", "begins as empty"),
        ("../../etc/passwd", b"root", "is no annotation file"),
    ],
)
def test_what_is_no_annotation_file_is_refused(
    workspace: Workspace, name: str, content: bytes, expected: str
) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        sent(workspace, name, content)
    assert str(caught.value).isprintable()
    assert left(workspace) == []


def test_an_archive_under_another_name_is_judged_as_one(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="leads out of its folder"):
        sent(workspace, "a.json", packed({"../a.json": b"{}"}).getvalue())
    assert left(workspace) == []


def test_a_name_is_never_a_path(workspace: Workspace) -> None:
    content = json.dumps(coco_document()).encode()
    upload = sent(workspace, "../../../../tmp/evil.json", content)
    assert upload.found[0].path.parent == workspace.data_dir / "uploads"
    assert upload.found[0].path.stem.isalnum()


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.json", b"<!DOCTYPE html><script>alert(1)</script>"),
        ("drawing.csv", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("paper.json", PDF),
        ("cut.json", json.dumps(coco_document()).encode()[:-60]),
        ("cut in a string.json", json.dumps(coco_document()).encode()[:50]),
        ("cut in a letter.json", '{"images": [{"file_name": "é'.encode()[:-1]),
        ("trailing.json", json.dumps(coco_document()).encode() + b"<script>"),
        ("numbers.json", b'{"images": [' + b"9" * 100_000 + b'], "annotations": []}'),
        ("objects.json", b'{"a":' * 100_000),
        ("entities.txt", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"),
        ("quotes.csv", b'file,cat\n"' + b'"' * 1_001),
        ("columns.csv", b"file" + b",c" * 200_000 + b"\n"),
        ("unknown.txt", b"hello"),
    ],
)
def test_text_that_is_no_annotation_file_ends_in_a_message(
    workspace: Workspace, name: str, content: bytes
) -> None:
    upload = sent(workspace, name, content)
    said = refusal(workspace, upload)
    said.encode()
    assert 0 < len(said) < 20_000


def refusal(workspace: Workspace, upload: uploads.Upload) -> str:
    """What a person is told of a file that cannot be imported."""
    try:
        preview = seen(workspace, upload)
    except ClslError as error:
        return str(error)
    assert not preview.ok
    assert all(group.examples[0][0] for group in preview.groups), "no place is told"
    return everything_shown(preview)


@pytest.mark.one_database
@pytest.mark.slow
@pytest.mark.parametrize("name", ["deep.json", "deep.csv", "deep.txt", "deep.jsonl"])
def test_a_hundred_megabytes_of_brackets(workspace: Workspace, name: str) -> None:
    start = time.monotonic()
    upload = sent(workspace, name, b"[" * 100_000_000)
    said = refusal(workspace, upload)
    assert ("nested" if name == "deep.json" else "looks like no known format") in said
    assert time.monotonic() - start < 60


NAMES = {
    "markup": "<img src=x onerror=alert(1)><b>x</b>",
    "markdown": "**b** [x](javascript:alert(1)) $x$ :red[y]",
    "formula": '=HYPERLINK("http://x","y")',
    "more formulas": "@SUM(1+1)*cmd|' /C calc'!A0",
    "plus": "+1+cmd",
    "controls": "bell\x07 escape\x1b[31m null\x00 back\x08",
    "direction": "evil\u202egpj.exe",
    "isolates": "\u2066a\u2069\u200f",
    "surrogate": "lone \ud800",
    "long": "x" * 100_000,
    "lines": "a\r\nb\u2028c",
}


@pytest.mark.parametrize("kind", NAMES)
def test_hostile_names_are_shown_harmlessly(workspace: Workspace, kind: str) -> None:
    document: dict[str, Any] = coco_document()
    document["categories"][0]["name"] = NAMES[kind]
    document["images"][0]["file_name"] = NAMES[kind]
    document["annotations"][1]["category_id"] = NAMES[kind]
    document[NAMES[kind]] = NAMES[kind]
    files = {**collection(), "instances.json": json.dumps(document).encode()}
    preview = seen(workspace, sent(workspace, "a.zip", packed(files).getvalue()))
    shown = everything_shown(preview)
    shown.encode()
    for sign in "\x00\x07\x08\x1b\u2028\u202e\u2066\u200f\ud800":
        assert sign not in shown
    assert len(shown) < 20_000
    cells = [
        cell.strip('"') for line in report_csv(preview).splitlines() for cell in line.split(",")
    ]
    assert not [cell for cell in cells if cell[:1] in tuple("=@") or cell[:2] == "+1"]


def test_pages_and_drawings_called_pictures_are_left_out_and_shown_as_missing(
    workspace: Workspace,
) -> None:
    files = collection()
    files["images/000.jpg"] = b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"
    files["images/001.jpg"] = b"<!DOCTYPE html><script>alert(1)</script>"
    files["images/002.jpg"] = picture()[:-200]
    upload = sent(workspace, "a.zip", packed(files).getvalue())
    assert upload.unpacked is not None
    assert upload.unpacked.left_out == 2
    preview = seen(workspace, upload)
    assert preview.missing == {"missing": 2}
    problems = {sample.file_name: sample.problem for sample in preview.samples}
    assert problems["003.jpg"] is None
    assert "damaged or cut off" in (problems["002.jpg"] or "")


def test_a_picture_that_is_also_a_page_is_only_ever_a_picture(workspace: Workspace) -> None:
    both = picture() + b"<script>alert(1)</script>" + packed({"x.json": b"{}"}).getvalue()
    files = {**collection(), "images/000.jpg": both}
    preview = seen(workspace, sent(workspace, "a.zip", packed(files).getvalue()))
    (sample,) = [s for s in preview.samples if s.file_name == "000.jpg"]
    assert sample.picture is not None
    assert sample.picture.startswith(b"RIFF")
    assert b"script" not in sample.picture


def test_a_picture_of_too_many_pixels_is_not_decoded(workspace: Workspace) -> None:
    huge = bytearray(picture(kind="PNG"))
    huge[16:24] = (60_000).to_bytes(4) + (60_000).to_bytes(4)
    huge[29:33] = zlib.crc32(bytes(huge[12:29])).to_bytes(4)
    files = {**collection(), "images/000.jpg": bytes(huge)}
    upload = sent(workspace, "a.zip", packed(files).getvalue())
    tracemalloc.start()
    try:
        preview = seen(workspace, upload)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    (sample,) = [s for s in preview.samples if s.file_name == "000.jpg"]
    assert "too" in (sample.problem or "") or "more than" in (sample.problem or "")
    assert peak < 50_000_000


def test_a_file_above_the_limit_is_refused_and_leaves_nothing(workspace: Workspace) -> None:
    small = workspace.settings.model_copy(update={"upload_megabytes": 1})
    object.__setattr__(workspace, "settings", small)
    with pytest.raises(InputError, match=r"more than the 1 MB allowed \(CLSL_UPLOAD_MEGABYTES\)"):
        sent(workspace, "a.json", b"[" * 1_000_001)
    with pytest.raises(InputError, match=r"CLSL_UPLOAD_MEGABYTES"):
        sent(workspace, "a.zip", b"PK\x03\x04" * 300_000)
    assert left(workspace) == []


def test_only_those_who_may_import_may_upload(workspace: Workspace) -> None:
    for role in (Role.VIEWER, Role.ANNOTATOR, Role.REVIEWER):
        with rights.acting(Actor("Vic", role)), pytest.raises(rights.Forbidden):
            sent(workspace, "a.zip", packed(collection()).getvalue())
    assert left(workspace) == []


def test_an_archive_without_annotations_is_refused_and_leaves_nothing(
    workspace: Workspace,
) -> None:
    with pytest.raises(InputError, match="no annotation file of a known format"):
        sent(workspace, "a.zip", packed({"a.txt": b"hello", "b.md": b"# hello"}).getvalue())
    assert left(workspace) == []


def test_an_archive_of_pictures_alone_is_a_folder_of_pictures(workspace: Workspace) -> None:
    upload = sent(workspace, "a.zip", packed({"a.jpg": picture(), "a.txt": b"hello"}).getvalue())
    assert [found.format for found in upload.found] == ["imagefolder"]


def test_the_likeliest_annotations_come_first(workspace: Workspace) -> None:
    voc = {
        "VOC/Annotations/a.xml": b"<annotation><filename>a.jpg</filename></annotation>",
        "VOC/JPEGImages/a.jpg": picture(),
    }
    both = {**collection("coco/"), "coco/val.json": b'{"images": [], "annotations": []}', **voc}
    upload = sent(workspace, "a.zip", packed(both).getvalue())
    assert upload.unpacked is not None
    names = [
        (found.path.relative_to(upload.unpacked.folder).as_posix(), found.format)
        for found in upload.found
    ]
    assert names == [("VOC", "voc"), ("coco/instances.json", "coco"), ("coco/val.json", "coco")]
    preview = look(
        workspace, ImportRequest(str(upload.found[0].path), "", ""), within=upload.unpacked.folder
    )
    assert preview.image_root is not None
    assert preview.image_root.endswith("VOC/JPEGImages")

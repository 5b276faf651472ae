"""Pictures under names close to the written ones: found where one fits, offered, never shared."""

import json
import string
import unicodedata
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from sqlalchemy import select

from app.services.exporting.export import export_dataset
from app.services.importing import preview as import_preview
from app.services.importing.ingest import ImportRequest, import_file
from app.services.workspace import Workspace
from clsl_core.errors import InputError
from clsl_core.formats.coco import coco
from clsl_core.pictures.near_names import find_near
from db.models import Image
from tests.builders import make_workspace


def put(folder: Path, stated: list[str], there: list[str]) -> ImportRequest:
    """A COCO file with some names and a folder with others."""
    images = [{"id": n, "file_name": name} for n, name in enumerate(stated, start=1)]
    document = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "dog"}]}
    file, root = folder / "in.json", folder / "pictures"
    file.write_text(json.dumps(document))
    root.mkdir(exist_ok=True)
    for name in there:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Pillow.new("RGB", (8, 8)).save(root / name)
    return ImportRequest(str(file), str(root), "set")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "data")


def stored(workspace: Workspace) -> dict[str, str]:
    """Where each image of the file is looked for, or why it cannot be."""
    with workspace.database.read() as session:
        rows = session.scalars(select(Image).order_by(Image.position)).all()
        return {row.record["file_name"]: row.reason or row.file_name for row in rows}


WRITTEN = {
    "Küche-é.jpg": unicodedata.normalize("NFD", "Küche-é.jpg"),
    "DSC_1.jpg": "DSC_1.JPG",
    "my%20photo%231.jpg": "my photo#1.jpg",
    "n01_18": "n01_18.png",
    "b.jpg": "b.png",
    "upload/3/1a2b3c4d-street_1.jpg": "street_1.jpg",
    "sub\\c%20D.jpg": "sub/c d.JPG",
}


def test_names_that_differ_in_writing_are_found_and_said_once(
    workspace: Workspace, tmp_path: Path
) -> None:
    request = put(tmp_path, [*WRITTEN, "same.jpg"], [*WRITTEN.values(), "same.jpg"])
    result = import_file(workspace, request)
    assert stored(workspace) == {**WRITTEN, "same.jpg": "same.jpg"}
    (line,) = result.problems
    assert line.startswith("7 pictures are there under names that differ")
    export_dataset(workspace, "set", tmp_path / "out.json")
    out = json.loads((tmp_path / "out.json").read_text())
    assert out == json.loads(Path(request.file).read_text()), "the records go out as they came"
    again = import_file(workspace, request)
    assert not again.changed


def test_where_two_files_fit_none_is_taken(workspace: Workspace, tmp_path: Path) -> None:
    request = put(tmp_path, ["a.jpg", "x.jpg"], ["A.jpg", "A.JPG", "x.jpg"])
    import_file(workspace, request)
    assert stored(workspace) == {"a.jpg": "missing", "x.jpg": "x.jpg"}


def test_two_images_never_share_a_picture(workspace: Workspace, tmp_path: Path) -> None:
    request = put(tmp_path, ["a.JPG", "A.jpg", "b%20.jpg", "b .jpg"], ["a.jpg", "b .jpg"])
    import_file(workspace, request)
    found = stored(workspace)
    assert found == {
        "a.JPG": "missing",
        "A.jpg": "missing",
        "b%20.jpg": "missing",
        "b .jpg": "b .jpg",
    }


@pytest.mark.parametrize(
    ("stated", "there", "words"),
    [
        ("train2017/{}.jpg", "{}.jpg", "'train2017/' is left out"),
        ("{}.jpg", "images/{}.jpg", "'images/' is put before them"),
        ("old/{}.jpg", "new/{}.jpg", "'old/' is left out and 'new/' is put before them"),
    ],
)
def test_folders_left_out_are_offered_and_all_missing_is_an_error(
    workspace: Workspace, tmp_path: Path, stated: str, there: str, words: str
) -> None:
    names = [f"{n:03}" for n in range(12)]
    request = put(tmp_path, [stated.format(n) for n in names], [there.format(n) for n in names])
    said = f"12 of 12 missing pictures are found if {words}"
    looked = import_preview.look(workspace, request)
    assert not looked.ok
    assert said in looked.near
    with pytest.raises(InputError, match="none of the 12 pictures") as caught:
        import_file(workspace, request)
    assert said in str(caught.value)
    assert stored(workspace) == {}, "nothing was written"
    near = replace(request, names="near")
    assert import_preview.look(workspace, near).ok
    import_file(workspace, near)
    assert set(stored(workspace).values()) == {there.format(n) for n in names}


def test_pictures_may_come_later_where_that_is_declared(
    workspace: Workspace, tmp_path: Path
) -> None:
    request = put(tmp_path, ["a.jpg"], [])
    with pytest.raises(InputError, match="none of the 1 pictures"):
        import_file(workspace, request)
    import_file(workspace, replace(request, pictures_later=True))
    assert stored(workspace) == {"a.jpg": "missing"}
    Pillow.new("RGB", (8, 8)).save(tmp_path / "pictures" / "A.JPG")
    import_file(workspace, request)
    assert stored(workspace) == {"a.jpg": "A.JPG"}


def test_exactly_the_name_where_that_is_asked(workspace: Workspace, tmp_path: Path) -> None:
    request = put(tmp_path, ["a.jpg", "b.jpg"], ["A.jpg", "b.jpg"])
    import_file(workspace, replace(request, names="exact"))
    assert stored(workspace) == {"a.jpg": "missing", "b.jpg": "b.jpg"}


def test_a_streamed_file_too(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco, "STREAM_FROM", 1)
    import_file(workspace, put(tmp_path, ["a.jpg", "b.jpg"], ["A.JPG", "b.jpg"]))
    assert stored(workspace) == {"a.jpg": "A.JPG", "b.jpg": "b.jpg"}


@pytest.mark.parametrize("suffix", ["csv", "long.csv", "jsonl"])
def test_files_whose_ids_are_names_go_out_as_they_came(
    workspace: Workspace, tmp_path: Path, suffix: str
) -> None:
    texts = {
        "csv": "file,dog\na.jpg,1\nb.jpg,\n",
        "long.csv": "file,category,state\na.jpg,dog,present\n",
        "jsonl": '{"file_name": "a.jpg", "labels": ["dog"]}\n',
    }
    request = put(tmp_path, [], ["A.JPG", "b.jpg"])
    file = tmp_path / f"in.{suffix}"
    file.write_text(texts[suffix])
    import_file(workspace, replace(request, file=str(file)))
    export_dataset(workspace, "set", tmp_path / f"out.{suffix}")
    assert (tmp_path / f"out.{suffix}").read_text() == texts[suffix]


names = st.text(string.ascii_letters + "éüñ #%+", min_size=1, max_size=6).map(lambda x: f"x{x}.jpg")
CHANGES = [
    lambda name: unicodedata.normalize("NFD", name),
    str.upper,
    quote,
    lambda name: name.removesuffix(".jpg"),
]


@settings(deadline=None)
@given(
    files=st.lists(names, min_size=1, max_size=6, unique_by=str.casefold),
    change=st.sampled_from(CHANGES),
    gone=st.integers(0, 5),
)
def test_what_is_taken_is_the_one_file_that_was_meant(files, change, gone) -> None:  # type: ignore[no-untyped-def]
    stated = {change(file): file for file in files}
    there = [file for index, file in enumerate(files) if index != gone]
    missing = [name for name in stated if name not in there]
    taken = [name for name in stated if name in there]
    near = find_near(missing, there, taken)
    assert len(set(near.found.values())) == len(near.found)
    assert all(file in there and file not in taken for file in near.found.values())
    for name, file in near.found.items():
        if "%" not in "".join(files):
            assert file == stated[name]

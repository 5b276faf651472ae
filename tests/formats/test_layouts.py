"""Folders as other tools lay them out: nested XML, one folder for each split, lists in rows."""

import json
from pathlib import Path

import pyarrow.json
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clsl_core.errors import InputError
from clsl_core.formats import FORMATS, read, write
from clsl_core.formats.detect import detect
from clsl_core.formats.read_options import ReadOptions, read_with
from clsl_core.types import AnnotationSet, LabelRecord, LabelState

PRESENT, ABSENT = LabelState.PRESENT, LabelState.ABSENT


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def xml(file_name: str, category: str) -> str:
    stated = f"<filename>{file_name}</filename>" if file_name else ""
    return f"<annotation>{stated}<object><name>{category}</name></object></annotation>"


def present(content: AnnotationSet) -> dict[str, set[str]]:
    files = {image.source_id: image.file_name for image in content.images}
    names = {category.source_id: category.name for category in content.categories}
    found: dict[str, set[str]] = {name: set() for name in files.values()}
    for label in content.labels:
        if label.state is PRESENT:
            found[files[label.image_id]].add(names[label.category_id])
    return found


def below(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".xml", ".txt")
    }


NESTED = {
    "Annotations/cam1/0001.xml": xml("cam1/0001.jpg", "dog"),
    "Annotations/cam2/0001.xml": xml("cam2/0001.jpg", "dog"),
    "Annotations/top.xml": xml("top.jpg", "cat"),
    "ImageSets/Main/default.txt": "cam1/0001\ncam2/0001\ntop\n",
    "JPEGImages/cam1/0001.jpg": "",
    "JPEGImages/cam2/0001.jpg": "",
    "JPEGImages/top.jpg": "",
}


def test_xml_files_in_folders_are_read_and_come_back(tmp_path: Path) -> None:
    source = put(tmp_path / "in", NESTED)
    content, report = read(source)
    assert not report.problems
    assert present(content) == {
        "cam1/0001.jpg": {"dog"},
        "cam2/0001.jpg": {"dog"},
        "top.jpg": {"cat"},
    }
    write(content, tmp_path / "out")
    assert below(tmp_path / "out") == below(source)
    write(content, tmp_path / "new", [LabelRecord("cam2/0001", "cat", ABSENT)])
    again, _ = read(tmp_path / "new")
    assert ("cam2/0001", "cat", ABSENT) in [
        (x.image_id, x.category_id, x.state) for x in again.labels
    ]
    assert len(again.images) == 3


@pytest.mark.parametrize("stated", ["0001.jpg", "cam1/0001.jpg", ""])
@pytest.mark.parametrize("pictures", [True, False])
def test_the_picture_of_a_nested_file_is_in_its_folder(
    tmp_path: Path, stated: str, pictures: bool
) -> None:
    files = {
        "Annotations/cam1/0001.xml": xml(stated, "dog"),
        "Annotations/cam2/0001.xml": xml("", "cat"),
    }
    if pictures:
        files |= {"JPEGImages/cam1/0001.jpg": "", "JPEGImages/cam2/0001.jpg": ""}
    content, _ = read(put(tmp_path, files))
    assert present(content) == {"cam1/0001.jpg": {"dog"}, "cam2/0001.jpg": {"cat"}}


def test_a_folder_for_each_split_with_the_xml_beside_the_pictures(tmp_path: Path) -> None:
    files = {
        "train/a.jpg": "",
        "train/a.xml": xml("a.jpg", "dog"),
        "valid/a.jpg": "",
        "valid/a.xml": xml("a.jpg", "cat"),
    }
    source = put(tmp_path / "in", files)
    content, _ = read(source)
    assert content.format == "voc"
    assert present(content) == {"train/a.jpg": {"dog"}, "valid/a.jpg": {"cat"}}
    assert [image.record["split"] for image in content.images] == ["train", "valid"]
    write(content, tmp_path / "out")
    assert below(tmp_path / "out") == below(source)
    write(content, tmp_path / "new", [LabelRecord("train/a", "cat", PRESENT)])
    assert present(read(tmp_path / "new")[0])["train/a.jpg"] == {"dog", "cat"}


def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    content, _ = read(put(tmp_path / "in", {"Annotations/a.xml": xml("a.jpg", "dog")}))
    image = content.images[0]
    object.__setattr__(image, "source_id", "../../a")
    with pytest.raises(InputError, match="leave the folder"):
        FORMATS["voc"].write(content, [], tmp_path / "out", summary={})
    assert not (tmp_path / "out").exists()


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_metadata_in_each_split_is_one_collection(tmp_path: Path) -> None:
    files = {
        "train/metadata.jsonl": '{"file_name": "1.jpg", "labels": ["dog"]}\n',
        "test/metadata.jsonl": '{"file_name": "1.jpg", "labels": ["cat"]}\n',
    }
    content, _ = read(put(tmp_path / "in", files))
    assert content.format == "imagefolder"
    assert present(content) == {"test/1.jpg": {"cat"}, "train/1.jpg": {"dog"}}
    assert [image.record["split"] for image in content.images] == ["test", "train"]
    write(content, tmp_path / "metadata.jsonl", [LabelRecord("train/1.jpg", "cat", PRESENT)])
    again, _ = read(tmp_path / "metadata.jsonl")
    assert present(again) == {"test/1.jpg": {"cat"}, "train/1.jpg": {"dog", "cat"}}
    assert [image.record["split"] for image in again.images] == ["test", "train"]


def test_when_one_row_needs_a_list_all_rows_have_lists(tmp_path: Path) -> None:
    texts = [
        {"file_name": f"{x}.jpg", "label": y} for x, y in (("a", "dog"), ("b", "cat"), ("c", "dog"))
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    content, _ = read(tmp_path / "in.jsonl")
    decided = [LabelRecord("b.jpg", "dog", PRESENT), LabelRecord("c.jpg", "dog", ABSENT)]
    write(content, tmp_path / "out.jsonl", decided)
    assert [row["label"] for row in rows(tmp_path / "out.jsonl")] == [["dog"], ["cat", "dog"], []]
    assert pyarrow.json.read_json(tmp_path / "out.jsonl").num_rows == 3
    write(content, tmp_path / "one.jsonl", [LabelRecord("c.jpg", "dog", ABSENT)])
    assert [row["label"] for row in rows(tmp_path / "one.jsonl")] == ["dog", "cat", None]
    assert pyarrow.json.read_json(tmp_path / "one.jsonl").num_rows == 3


def test_lists_of_a_table_are_lists_in_json(tmp_path: Path) -> None:
    text = 'file_name,labels\na.jpg,"[""dog"", ""cat""]"\nb.jpg,cat\n'
    (tmp_path / "metadata.csv").write_text(text)
    content, _ = read(tmp_path / "metadata.csv")
    write(content, tmp_path / "out.jsonl")
    assert [row["labels"] for row in rows(tmp_path / "out.jsonl")] == [["dog", "cat"], ["cat"]]
    write(content, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == text


LABELS = st.one_of(
    st.none(), st.sampled_from(["", "dog", "cat"]), st.lists(st.sampled_from(["dog", "cat"]))
)


@settings(deadline=None)
@given(
    values=st.lists(LABELS, min_size=1, max_size=6),
    decided=st.dictionaries(
        st.tuples(st.integers(0, 5), st.sampled_from(["dog", "cat"])),
        st.sampled_from([PRESENT, ABSENT]),
        min_size=1,
    ),
)
def test_what_was_completed_can_be_read_by_arrow(
    values: list[object],
    decided: dict[tuple[int, str], LabelState],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    lines = [json.dumps({"file_name": f"{i}.jpg", "label": x}) for i, x in enumerate(values)]
    lines.append(json.dumps({"file_name": "z.jpg", "label": ["dog", "cat"]}))
    (folder / "in.jsonl").write_text("\n".join(lines))
    content, _ = read(folder / "in.jsonl")
    new = [LabelRecord(f"{i}.jpg", x, s) for (i, x), s in decided.items() if i < len(values)]
    if not new:
        return
    write(content, folder / "out.jsonl", new)
    wanted = present(content)
    for label in new:
        names = wanted[str(label.image_id)]
        (names.add if label.state is PRESENT else names.discard)(str(label.category_id))
    assert present(read(folder / "out.jsonl")[0]) == wanted
    if new and any(wanted[f"{i}.jpg"] != before for i, before in enumerate(map(_names, values))):
        assert pyarrow.json.read_json(folder / "out.jsonl").num_rows == len(values) + 1


def _names(value: object) -> set[str]:
    return set(value if isinstance(value, list) else [value] if value else [])  # type: ignore[arg-type]


def test_a_column_of_objects_gives_labels_and_boxes(tmp_path: Path) -> None:
    made = {"bbox": [[1, 2, 3, 4], [5, 6, 7, 8]], "categories": ["dog", "cat"]}
    line = {"file_name": "a.jpg", "objects": made}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(line) + "\n")
    content, _ = read(tmp_path)
    assert present(content) == {"a.jpg": {"dog", "cat"}}
    assert [x.record["bbox"] for x in content.annotations] == made["bbox"]
    write(content, tmp_path / "out.jsonl", [LabelRecord("a.jpg", "dog", ABSENT)])
    (row,) = rows(tmp_path / "out.jsonl")
    assert (row["objects"], row["labels"]) == (made, ["cat"])
    assert present(read(tmp_path / "out.jsonl", "imagefolder")[0]) == {"a.jpg": {"cat"}}


def test_labels_of_fiftyone_are_all_lists_where_one_is(tmp_path: Path) -> None:
    made = {"classes": ["dog", "cat"], "labels": {"a": "dog", "b": 1, "c": {"label": "dog"}}}
    (tmp_path / "labels.json").write_text(json.dumps(made))
    content, _ = read(tmp_path / "labels.json")
    write(content, tmp_path / "out.json", [LabelRecord("a", "cat", PRESENT)])
    labels = json.loads((tmp_path / "out.json").read_text())["labels"]
    assert labels == {"a": ["dog", "cat"], "b": [1], "c": [{"label": "dog"}]}
    assert present(read(tmp_path / "out.json")[0])["a.jpg"] == {"dog", "cat"}


PLAIN = {"dog/1.jpg": "", "cat/2.png": "", "3.webp": "", "notes.txt": "x"}


@pytest.mark.parametrize("split", ["", "train/"])
def test_a_plain_folder_of_pictures(tmp_path: Path, split: str) -> None:
    source = put(tmp_path / "in", {split + name: text for name, text in PLAIN.items()})
    found = detect(source)
    assert (found.format, "plain folder" in found.reason) == ("imagefolder", True)
    content, report = read(source)
    assert report.by_code() == {"no-categories": 1}
    assert present(content) == {f"{split}{name}": set() for name in PLAIN if "notes" not in name}
    labelled, _ = read_with(source, "imagefolder", ReadOptions(folders="labels"))
    assert present(labelled) == {
        f"{split}cat/2.png": {"cat"},
        f"{split}dog/1.jpg": {"dog"},
        f"{split}3.webp": set(),
    }
    write(labelled, tmp_path / "metadata.jsonl", [LabelRecord(f"{split}3.webp", "cat", PRESENT)])
    again, _ = read(tmp_path / "metadata.jsonl")
    assert present(again) == present(labelled) | {f"{split}3.webp": {"cat"}}

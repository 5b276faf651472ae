"""A second file in the words of each format: places, numbers given anew, cells, documents."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.services.exporting.export import export_dataset
from app.services.exporting.part import ExportChoice, ExportPart
from app.services.importing.ingest import import_file
from app.services.workspace import Workspace
from db.models import Annotation
from tests.services.importing.desk import Desk, coco, states


@pytest.fixture
def desk(workspace: Workspace, tmp_path: Path) -> Desk:
    made = Desk(workspace, tmp_path)
    made.picture(*(f"{letter}.jpg" for letter in "0abcd"))
    return made


def datumaro(labels: list[str], items: dict[str, list[str]], boxed: bool = False) -> dict[str, Any]:
    kind = {"type": "bbox", "bbox": [1, 2, 10, 12]} if boxed else {"type": "label"}
    return {
        "info": {},
        "categories": {"label": {"labels": [{"name": x, "parent": ""} for x in labels]}},
        "items": [
            {
                "id": name,
                "annotations": [
                    {"id": i, **kind, "label_id": labels.index(word)}
                    for i, word in enumerate(words)
                ],
                "image": {"path": f"{name}.jpg"},
            }
            for name, words in items.items()
        ],
    }


def test_datumaro_numbers_its_labels_by_place(desk: Desk) -> None:
    desk.take(desk.file("v1.json", datumaro(["cat", "dog"], {"a": ["cat"], "b": ["dog"]})))
    desk.decide("a.jpg,dog,absent", "b.jpg,cat,present")
    before = desk.labels()
    newer = datumaro(["bird", "cat", "dog"], {"0": ["bird"], "a": ["cat"], "b": ["dog"]})
    desk.take(desk.file("v2.json", newer))
    assert desk.labels() == {**before, ("0.jpg", "bird"): "import present"}
    assert not desk.take(desk.file("v2.json", newer)).changed
    desk.same_elsewhere(".json")


def test_boxes_of_a_corrected_item_are_not_doubled(desk: Desk) -> None:
    first = datumaro(["cat", "dog"], {"a": ["cat"], "b": ["dog"]}, boxed=True)
    desk.take(desk.file("v1.json", first))
    newer = datumaro(["cat", "dog"], {"0": ["dog"], "a": ["dog"], "b": ["dog"]}, boxed=True)
    result = desk.take(desk.file("v2.json", newer))
    assert (result.added["annotations"], result.removed["annotations"]) == (2, 1)
    assert states(desk.labels()) == dict.fromkeys(
        [("0.jpg", "dog"), ("a.jpg", "dog"), ("b.jpg", "dog")], "present"
    )
    with desk.workspace.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Annotation)) == 3


def task(number: int, picture: str, *choices: str) -> dict[str, Any]:
    value = {"choices": list(choices)}
    result = {"type": "choices", "from_name": "labels", "to_name": "image", "value": value}
    return {
        "id": number,
        "data": {"image": picture},
        "annotations": [{"id": number + 50, "result": [result]}] if choices else [],
    }


def test_label_studio_gives_its_tasks_new_numbers(desk: Desk) -> None:
    first = [task(1, "a.jpg", "cat"), task(2, "b.jpg", "dog"), task(3, "c.jpg")]
    desk.take(desk.file("v1.json", first))
    desk.decide("c.jpg,dog,present", "a.jpg,dog,absent")
    before = desk.labels()
    newer = [task(7, "0.jpg"), task(1, "b.jpg", "dog"), task(2, "c.jpg"), task(3, "a.jpg", "cat")]
    desk.take(desk.file("v2.json", newer))
    assert desk.labels() == before
    assert not desk.take(desk.file("v2.json", newer)).changed
    desk.same_elsewhere(".json")


def test_fiftyone_may_number_its_classes(desk: Desk) -> None:
    first = {"classes": ["cat", "dog"], "labels": {"a": 0, "b": [1]}}
    newer = {"classes": ["bird", "cat", "dog"], "labels": {"c": 0, "d": [{"label": 2}, 1]}}
    for name in "abcd":
        desk.picture(f"data/{name}.jpg")
    desk.pictures = desk.folder / "pictures" / "data"
    desk.take(desk.file("pictures/v1.json", first))
    desk.take(desk.file("pictures/v2.json", newer))
    assert states(desk.labels()) == dict.fromkeys(
        [("a.jpg", "cat"), ("b.jpg", "dog"), ("c.jpg", "bird"), ("d.jpg", "dog"), ("d.jpg", "cat")],
        "present",
    )
    desk.same_elsewhere(".json")


def test_lvis_lists_name_categories_by_number(desk: Desk) -> None:
    first = coco({1: "a.jpg"}, {1: "cat", 2: "dog"}, [(1, 1, 1)])
    first["images"][0] |= {"neg_category_ids": [2], "not_exhaustive_category_ids": []}
    newer = coco({1: "0.jpg", 2: "a.jpg"}, {1: "bird", 2: "cat", 3: "dog"}, [(1, 2, 2)])
    newer["images"][0] |= {"neg_category_ids": [1, 3], "not_exhaustive_category_ids": [2]}
    newer["images"][1] |= {"neg_category_ids": [1, 3], "not_exhaustive_category_ids": []}
    desk.take(desk.file("v1.json", first))
    desk.take(desk.file("v2.json", newer))
    assert states(desk.labels()) == {
        ("a.jpg", "cat"): "present",
        ("a.jpg", "dog"): "absent",
        ("a.jpg", "bird"): "absent",
        ("0.jpg", "cat"): "present",
        ("0.jpg", "bird"): "absent",
        ("0.jpg", "dog"): "absent",
    }
    newer["images"][1]["neg_category_ids"] = [1]
    assert desk.take(desk.file("v3.json", newer)).removed["labels"] == 1
    assert ("a.jpg", "dog") not in desk.labels()
    desk.same_elsewhere(".json")


def test_open_images_with_its_columns_in_another_order(desk: Desk) -> None:
    desk.file("class-descriptions.csv", "/m/1,cat\n/m/2,dog\n")
    first = "ImageID,Source,LabelName,Confidence\na,verification,/m/1,1\nb,verification,/m/2,0\n"
    newer = "LabelName,ImageID,Confidence,Extra\n/m/2,c,1,x\n/m/2,b,1,y\n"
    desk.take(desk.file("v1.csv", first))
    desk.take(desk.file("v2.csv", newer))
    assert states(desk.labels()) == {
        ("a.jpg", "cat"): "present",
        ("b.jpg", "dog"): "present",
        ("c.jpg", "dog"): "present",
    }
    desk.same_elsewhere(".csv")


def test_a_column_of_names_that_is_called_otherwise(desk: Desk) -> None:
    desk.take(desk.file("metadata.jsonl", '{"file_name": "a.jpg", "labels": ["cat"], "by": "x"}\n'))
    newer = '{"file_name": "b.jpg", "tags": ["dog"]}\n{"file_name": "a.jpg", "tags": ["cat"]}\n'
    desk.take(desk.file("v2/metadata.jsonl", newer))
    assert states(desk.labels()) == dict.fromkeys([("a.jpg", "cat"), ("b.jpg", "dog")], "present")
    desk.same_elsewhere(".jsonl")
    rows = (desk.folder / "out-s" / "one.jsonl").read_text().splitlines()
    assert json.loads(rows[0]) == {"file_name": "a.jpg", "labels": ["cat"], "by": "x"}


def test_a_table_of_lists_with_more_columns(desk: Desk) -> None:
    desk.take(desk.file("v1.csv", "filepath,label\na.jpg,['cat']\n"))
    newer = "id,split_name,label,filepath\n7,train,\"['dog', 'cat']\",b.jpg\n8,val,['dog'],a.jpg\n"
    desk.take(desk.file("v2.csv", newer))
    assert states(desk.labels()) == dict.fromkeys(
        [("b.jpg", "cat"), ("a.jpg", "dog"), ("b.jpg", "dog")], "present"
    )  # the newer row of a.jpg does not name the cat any more
    desk.same_elsewhere(".csv")


def test_an_emptied_cell_takes_its_label_back(desk: Desk) -> None:
    desk.take(desk.file("v1.csv", "file,dog,cat\na.jpg,1,1\nb.jpg,0,1\n"))
    desk.decide("b.jpg,cat,present")
    result = desk.take(desk.file("v2.csv", "file,dog,cat\na.jpg,1,\nb.jpg,0,\n"))
    assert result.removed["labels"] == 1
    assert desk.labels() == {
        ("a.jpg", "dog"): "import present",
        ("b.jpg", "dog"): "import absent",
        ("b.jpg", "cat"): "human present",
    }
    desk.same_elsewhere(".csv")


def test_a_table_with_fewer_columns_takes_nothing_back(desk: Desk) -> None:
    desk.take(desk.file("v1.csv", "file,dog,cat\na.jpg,1,1\nb.jpg,0,1\n"))
    before = desk.labels()
    assert not desk.take(desk.file("v2.csv", "file,cat\na.jpg,1\n")).changed
    assert desk.labels() == before


def test_further_rows_take_nothing_back(desk: Desk) -> None:
    desk.take(desk.file("v1.csv", "file,category\na.jpg,dog\nb.jpg,cat\n"))
    desk.take(desk.file("v2.csv", "file,category\na.jpg,cat\nb.jpg,dog\n"))
    assert len(desk.labels()) == 4
    desk.same_elsewhere(".csv")


def test_what_was_declared_absent_is_not_taken_back(desk: Desk) -> None:
    table = desk.file("v1.csv", "file,dog,cat\na.jpg,1,\nb.jpg,,1\n")
    import_file(desk.workspace, replace(desk.request(table), absent="negative"))
    assert not desk.take(table).changed
    assert states(desk.labels())["a.jpg", "cat"] == "absent"


def voc(desk: Desk, name: str, **objects: list[str]) -> Path:
    for stem, words in objects.items():
        corners = "<xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax>"
        inside = "".join(
            f"<object><name>{word}</name><bndbox>{corners}</bndbox></object>" for word in words
        )
        text = f"<annotation><filename>{stem}.jpg</filename>{inside}</annotation>\n"
        desk.file(f"{name}/Annotations/{stem}.xml", text)
    return desk.folder / name


def test_a_corrected_document_takes_its_labels_and_boxes_along(desk: Desk) -> None:
    desk.take(voc(desk, "v1", a=["cat", "dog"], b=["dog"]))
    desk.decide("b.jpg,cat,present")
    result = desk.take(voc(desk, "v2", a=["dog"], b=["cat"], c=["cat", "cat"]))
    assert result.removed == {"annotations": 2, "labels": 2}
    assert desk.labels() == {
        ("a.jpg", "dog"): "import present",
        ("b.jpg", "cat"): "human present",
        ("c.jpg", "cat"): "import present",
    }
    desk.same_elsewhere("")


def test_a_list_alone_takes_no_document_back(desk: Desk) -> None:
    desk.take(voc(desk, "v1", a=["cat"], b=["dog"]))
    desk.file("v2/ImageSets/Main/cat_val.txt", "b -1\n")
    desk.file("v2/ImageSets/Main/val.txt", "a\nb\n")
    desk.take(desk.folder / "v2")
    assert states(desk.labels()) == {
        ("a.jpg", "cat"): "present",
        ("b.jpg", "dog"): "present",
        ("b.jpg", "cat"): "absent",
    }
    desk.same_elsewhere("")


def test_a_picture_that_was_moved_is_found_by_its_content(desk: Desk) -> None:
    desk.take(desk.file("v1.csv", "file,category,state\na.jpg,cat,1\nb.jpg,dog,-1\n"))
    desk.decide("a.jpg,dog,present")
    before = desk.pictures
    desk.pictures = desk.folder / "elsewhere"
    desk.pictures.mkdir()
    for old, new in (("a", "x"), ("b", "y")):
        (desk.pictures / f"{new}.jpg").write_bytes((before / f"{old}.jpg").read_bytes())
    newer = desk.file("v2.csv", "file,category,state\nx.jpg,cat,1\ny.jpg,cat,-1\n")
    desk.take(newer)
    assert states(desk.labels()) == {
        ("x.jpg", "cat"): "present",
        ("x.jpg", "dog"): "present",
        ("y.jpg", "cat"): "absent",
        ("y.jpg", "dog"): "absent",
    }
    desk.same_elsewhere(".csv")


def test_headers_of_coco_are_put_together(desk: Desk) -> None:
    one, two = ({"id": 1, "name": name} for name in ("CC BY", "CC0"))
    first = coco({1: "a.jpg"}, {1: "cat"}, licenses=[one], videos=[{"id": 5}])
    newer = coco({2: "b.jpg", 3: "c.jpg"}, {1: "cat"}, licenses=[two, {"id": 2, "name": "own"}])
    first["images"][0]["license"] = newer["images"][0]["license"] = 1
    newer["images"][1]["license"], newer["info"] = 2, {"description": "theirs"}
    desk.take(desk.file("v1.json", first))
    desk.take(desk.file("v2.json", newer))
    assert not desk.take(desk.file("v2.json", newer)).changed
    desk.same_elsewhere(".json")
    written = json.loads((desk.folder / "out-s" / "one.json").read_text())
    names = {entry["id"]: entry["name"] for entry in written["licenses"]}
    assert [names[image["license"]] for image in written["images"]] == ["CC BY", "CC0", "own"]
    assert written["videos"] == [{"id": 5}]
    assert written["info"] == {"description": "theirs"}
    assert written["clsl_earlier_headers"] == [{"info": {"description": "own"}}]


@pytest.mark.parametrize("format_name", ["coco", "csv-long", "csv-wide", "datumaro", "fiftyone"])
def test_a_part_that_comes_back_takes_nothing_away(desk: Desk, format_name: str) -> None:
    images = {1: "a.jpg", 2: "b.jpg", 3: "c.jpg"}
    desk.take(desk.file("v1.json", coco(images, {1: "cat", 2: "dog"}, [(1, 1, 1), (2, 2, 2)])))
    whole, part = desk.folder / "whole", desk.folder / "part"
    export_dataset(desk.workspace, "s", whole, format_name)
    desk.take(whole, "own", format_name=format_name)
    desk.decide("a.jpg,dog,absent", "c.jpg,cat,present", "c.jpg,dog,present", name="own")
    choice = ExportChoice(part=ExportPart(categories=("cat",)))
    export_dataset(desk.workspace, "own", part, choice=choice)
    before = desk.labels("own")
    assert set(states(before).values()) == {"present", "absent"}
    desk.take(part, "own", format_name=format_name)
    assert states(desk.labels("own")) == states(before)
    desk.same_elsewhere("", "own", format_name)


def test_three_files_of_coco(desk: Desk) -> None:
    words = {1: "cat", 2: "dog"}
    desk.take(desk.file("v1.json", coco({1: "a.jpg"}, words, [(1, 1, 1)])))
    desk.take(desk.file("v2.json", coco({1: "b.jpg"}, {1: "dog", 2: "bird"}, [(1, 1, 1)])))
    desk.take(desk.file("v3.json", coco({1: "c.jpg", 2: "a.jpg"}, {5: "bird"}, [(1, 1, 5)])))
    desk.decide("c.jpg,dog,absent")
    assert states(desk.labels()) == {
        ("a.jpg", "cat"): "present",
        ("b.jpg", "dog"): "present",
        ("c.jpg", "bird"): "present",
        ("c.jpg", "dog"): "absent",
    }
    desk.same_elsewhere(".json")

"""What renames and merges change in a file that is written, and in one that is read again."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.services.categories import changes
from app.services.categories.changes import Policy, Rule
from app.services.datasets import snapshots
from app.services.exporting import export
from app.services.exporting.part import ExportChoice, ExportPart
from app.services.importing import ingest
from app.services.pictures import boxes
from app.services.reviewing import verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core import formats
from clsl_core.errors import ConflictError
from db.models import Category, Image, Label
from tests.builders import coco_document, make_dataset, make_grant


def labels_of(workspace: Workspace, name: str) -> dict[tuple[str, str], int]:
    """Labels by the ids of the file, of what is shown."""
    with workspace.database.read() as session:
        dataset = export.find_dataset(session, name)
        query = (
            select(Image.source_id, Category.source_id, Label.state)
            .join(Image, Image.id == Label.image_id)
            .join(Category, Category.id == Label.category_id)
            .where(Category.dataset_id == dataset.id, Category.merged_into_id.is_(None))
        )
        return {(row[0], row[1]): int(row[2]) for row in session.execute(query)}


def write(workspace: Workspace, tmp_path: Path, **options: Any) -> Path:
    output = tmp_path / f"out-{len(list(tmp_path.iterdir()))}.json"
    export.export_dataset(workspace, "set", output, **options)
    return output


def hard_document() -> dict[str, Any]:
    """Boxes and explicit labels that contradict one another between red and green."""
    document = coco_document(images=6)
    document["categories"][1] = {"extra": [1], "name": "green", "id": 2, "supercategory": "thing"}
    document["labels"] = [
        {"image_id": 10, "category_id": 2, "state": "absent", "source": "import"},
        {"image_id": 11, "category_id": 1, "state": "absent", "source": "import"},
        {"image_id": 12, "category_id": 2, "state": "present", "source": "import"},
        {"image_id": 15, "category_id": 2, "state": "absent", "source": "import"},
        {"image_id": 15, "category_id": 1, "state": "absent", "source": "import"},
    ]
    return document


def test_a_renamed_record_keeps_its_other_keys_and_their_order(
    workspace: Workspace, tmp_path: Path
) -> None:
    make_dataset(workspace, document=hard_document())
    before = json.loads(write(workspace, tmp_path).read_text())
    changes.rename(workspace, "set", "green", '=HYPERLINK("http://x")<b>')
    after = json.loads(write(workspace, tmp_path).read_text())
    (record,) = [one for one in after["categories"] if one["id"] == 2]
    assert list(record) == ["extra", "name", "id", "supercategory"]
    assert record["name"] == '=HYPERLINK("http://x")<b>'
    record["name"] = "green"
    assert after == before
    changes.undo(workspace, "set")
    assert json.loads(write(workspace, tmp_path).read_text()) == before


@pytest.mark.parametrize("policy", list(Policy))
@pytest.mark.parametrize("rule", [Rule.TARGET, Rule.PRESENT])
def test_out_and_in_again_gives_the_same_labels(
    workspace: Workspace, tmp_path: Path, policy: Policy, rule: Rule
) -> None:
    made = make_dataset(workspace, document=hard_document())
    grant = make_grant(workspace, made.dataset_id)
    verdicts.decide(workspace, grant, [Answer("answer-1", 5, 2, "present")])
    untouched = json.loads(write(workspace, tmp_path).read_text())
    changes.rename(workspace, "set", "red", "warm")
    changes.merge(workspace, "set", ["green"], "warm", policy, rule)
    output = write(workspace, tmp_path)
    document = json.loads(output.read_text())
    assert [one["id"] for one in document["categories"]] == [1, 3]
    assert [one["category_id"] for one in document["annotations"]] == [1, 1, 3, 1, 1, 3]
    assert "warm" in document["clsl_export"]["category_changes"][0]
    root = str(workspace.data_dir / "source-set" / "images")
    ingest.import_file(workspace, ingest.ImportRequest(str(output), root, "again"))
    assert labels_of(workspace, "again") == labels_of(workspace, "set")
    changes.undo(workspace, "set")
    changes.undo(workspace, "set")
    again = json.loads(write(workspace, tmp_path).read_text())
    for one in (again, untouched):
        one["clsl_export"].pop("exported_at")
    assert again == untouched


def test_boxes_that_no_label_holds_are_named(workspace: Workspace) -> None:
    document = hard_document()
    make_dataset(workspace, document=document)
    preview = changes.preview_merge(workspace, "set", ["green"], "red")
    assert (preview.contradictions, preview.annotations) == (2, 2)
    changes.merge(workspace, "set", ["green"], "red", Policy.SAME, Rule.UNKNOWN)
    told = export.preview(workspace, "set").category_changes
    assert told[-1].startswith("2 images have annotations of red while their label is unknown")


def test_a_file_of_another_format_is_written_anew(workspace: Workspace, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("file_name,category,state\n000.jpg,red,present\n001.jpg,green,present\n")
    root = tmp_path / "pictures"
    root.mkdir()
    ingest.import_file(
        workspace, ingest.ImportRequest(str(table), str(root), "set", pictures_later=True)
    )
    changes.rename(workspace, "set", "green", "lime")
    output = tmp_path / "out.csv"
    export.export_dataset(workspace, "set", output)
    content, _ = formats.read(output)
    assert {(one.image_id, one.category_id) for one in content.labels} == {
        ("000.jpg", "red"),
        ("001.jpg", "lime"),
    }


def test_a_newer_file_keeps_names_given_here(workspace: Workspace, tmp_path: Path) -> None:
    document = coco_document()
    make_dataset(workspace, document=document)
    changes.rename(workspace, "set", "green", "lime")
    changes.merge(workspace, "set", ["blue"], "red", Policy.SAME)
    document["categories"][1]["supercategory"] = "colour"
    file = tmp_path / "newer.json"
    file.write_text(json.dumps(document))
    root = str(workspace.data_dir / "source-set" / "images")
    ingest.import_file(workspace, ingest.ImportRequest(str(file), root, "set"))
    assert [(one.name, one.merged_into) for one in changes.listed(workspace, "set")] == [
        ("red", None),
        ("lime", None),
        ("blue", "red"),
    ]


def test_boxes_are_shown_under_the_category_that_stays(workspace: Workspace) -> None:
    made = make_dataset(workspace)
    grant = make_grant(workspace, made.dataset_id)
    changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
    changes.merge(workspace, "set", ["red"], "blue", Policy.SAME)
    (box,) = boxes.boxes(workspace, grant, 2).boxes
    assert box.category == "blue"


def test_the_lists_of_lvis_follow(workspace: Workspace, tmp_path: Path) -> None:
    document = coco_document(images=6)
    for image in document["images"]:
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    # Green is drawn in the pictures 11 and 14, red in 10 and 13, blue in 12 and 15.
    document["images"][0]["neg_category_ids"] = [2, 3]
    document["images"][2]["neg_category_ids"] = [2, 1]
    document["images"][5]["not_exhaustive_category_ids"] = [2]
    file = tmp_path / "lvis.json"
    file.write_text(json.dumps(document))
    root = tmp_path / "pictures"
    root.mkdir()
    ingest.import_file(
        workspace,
        ingest.ImportRequest(str(file), str(root), "set", format="lvis", pictures_later=True),
    )
    changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
    output = write(workspace, tmp_path)
    written = {one["id"]: one for one in json.loads(output.read_text())["images"]}
    assert written[10]["neg_category_ids"] == [3]
    assert written[12]["neg_category_ids"] == [1]
    assert written[15]["not_exhaustive_category_ids"] == [1]
    ingest.import_file(
        workspace,
        ingest.ImportRequest(str(output), str(root), "again", "lvis", pictures_later=True),
    )
    assert labels_of(workspace, "again") == labels_of(workspace, "set")


def test_a_voc_folder_keeps_its_boxes(workspace: Workspace, tmp_path: Path) -> None:
    make_dataset(workspace)
    folder = tmp_path / "voc"
    export.export_dataset(workspace, "set", folder, "voc")
    root = str(workspace.data_dir / "source-set" / "images")
    ingest.import_file(workspace, ingest.ImportRequest(str(folder), root, "drawn"))
    changes.merge(workspace, "drawn", ["green"], "red", Policy.SAME)
    changes.rename(workspace, "drawn", "red", "warm")
    again = tmp_path / "again"
    export.export_dataset(workspace, "drawn", again)
    content, _ = formats.read(again)
    assert [one.category_id for one in content.annotations] == ["warm", "warm", "blue", "warm"]
    assert all(one.record["bbox"] for one in content.annotations)


def test_a_part_takes_the_boxes_of_what_went_into_its_category(
    workspace: Workspace, tmp_path: Path
) -> None:
    document = coco_document(images=6)
    make_dataset(workspace, document=document)
    changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
    choice = ExportChoice(part=ExportPart(categories=("red",)))
    told = export.preview(workspace, "set", choice)
    made = json.loads(write(workspace, tmp_path, choice=choice).read_text())
    assert [one["category_id"] for one in made["annotations"]] == [1, 1, 1, 1]
    assert told.left_out == {"images": 0, "categories": 1, "annotations": 2}


def test_a_snapshot_goes_out_with_the_categories_it_knew(
    workspace: Workspace, tmp_path: Path
) -> None:
    dataset = make_dataset(workspace, document=coco_document(images=6))
    grant = make_grant(workspace, dataset.dataset_id)
    verdicts.decide(workspace, grant, [Answer("before-merge", 3, 2, "present")])
    snapshots.take(workspace, "set", "before")
    changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
    snapshots.take(workspace, "set", "merged")
    then = json.loads(write(workspace, tmp_path).read_text())
    verdicts.decide(workspace, grant, [Answer("after-merge", 6, 1, "present")])
    merged = write(workspace, tmp_path, choice=ExportChoice(snapshot="merged"))
    assert json.loads(merged.read_text())["labels"] == then["labels"]
    with pytest.raises(ConflictError, match="knows other categories"):
        export.preview(workspace, "set", ExportChoice(snapshot="before"))
    changes.undo(workspace, "set")
    assert export.preview(workspace, "set", ExportChoice(snapshot="before")).images == 6
    with pytest.raises(ConflictError, match="knows other categories"):
        export.preview(workspace, "set", ExportChoice(snapshot="merged"))


def test_what_only_a_declaration_said_goes_out_as_a_label(
    workspace: Workspace, tmp_path: Path
) -> None:
    make_dataset(workspace, "other")
    source = workspace.data_dir / "source-other"
    file, root = str(source / "instances.json"), str(source / "images")
    ingest.import_file(workspace, ingest.ImportRequest(file, root, "set", exhaustive=("red",)))
    changes.merge(workspace, "set", ["green"], "red", Policy.SAME)
    # Picture 11 has a box of green; that red is absent there was declared, and is red's own word.
    assert labels_of(workspace, "set")["11", "1"] == -1
    output = write(workspace, tmp_path)
    ingest.import_file(workspace, ingest.ImportRequest(str(output), root, "again"))
    assert labels_of(workspace, "again") == labels_of(workspace, "set")


def test_the_lists_of_lvis_say_nothing_of_what_is_unknown(
    workspace: Workspace, tmp_path: Path
) -> None:
    document = coco_document(images=6)
    for image in document["images"]:
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    document["images"][5] |= {"neg_category_ids": [1], "not_exhaustive_category_ids": [2]}
    file = tmp_path / "lvis.json"
    file.write_text(json.dumps(document))
    root = tmp_path / "pictures"
    root.mkdir()
    ingest.import_file(
        workspace,
        ingest.ImportRequest(str(file), str(root), "set", format="lvis", pictures_later=True),
    )
    changes.merge(workspace, "set", ["green"], "red", Policy.SAME, Rule.UNKNOWN)
    written = {
        one["id"]: one for one in json.loads(write(workspace, tmp_path).read_text())["images"]
    }
    assert written[15]["neg_category_ids"] == []
    assert written[15]["not_exhaustive_category_ids"] == []

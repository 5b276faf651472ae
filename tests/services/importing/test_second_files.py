"""A second file keeps every verdict on its word and picture, merges, or stops and asks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.services.categories import changes
from app.services.importing.identity import Match
from app.services.importing.preview import look
from app.services.importing.report import report_csv, report_json, report_lines
from app.services.importing.second_file import UndecidedError
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError
from tests.services.importing.desk import Desk, coco, states


@pytest.fixture
def desk(workspace: Workspace, tmp_path: Path) -> Desk:
    made = Desk(workspace, tmp_path)
    made.picture(*(f"{letter}.jpg" for letter in "0abcd"))
    return made


CAT_DOG = {1: "cat", 2: "dog"}
ABC = {1: "a.jpg", 2: "b.jpg", 3: "c.jpg"}


def test_renumbered_categories_keep_labels_and_verdicts_on_their_word(desk: Desk) -> None:
    desk.take(desk.file("v1.json", coco(ABC, CAT_DOG, [(1, 1, 1), (2, 2, 2)])))
    desk.decide("c.jpg,dog,present", "a.jpg,dog,absent", "b.jpg,cat,absent")
    before = desk.labels()
    bird = {1: "bird", 2: "cat", 3: "dog"}
    newer = desk.file("v2.json", coco(ABC, bird, [(1, 1, 2), (2, 2, 3)]))
    result = desk.take(newer)
    assert result.added == {"images": 0, "categories": 1, "annotations": 0, "labels": 0}
    assert not any(result.updated.values())
    assert desk.labels() == before
    assert not desk.take(newer).changed
    desk.same_elsewhere(".json")


def test_renumbered_images_keep_labels_and_verdicts_on_their_picture(desk: Desk) -> None:
    desk.take(desk.file("v1.json", coco(ABC, CAT_DOG, [(1, 1, 1), (2, 2, 2)])))
    desk.decide("c.jpg,dog,present", "a.jpg,dog,absent")
    before = desk.labels()
    shifted = {1: "0.jpg", 2: "a.jpg", 3: "b.jpg", 4: "c.jpg"}
    newer = desk.file("v2.json", coco(shifted, CAT_DOG, [(1, 2, 1), (2, 3, 2)]))
    assert desk.take(newer).added["images"] == 1
    assert desk.labels() == before
    assert not desk.take(newer).changed
    desk.same_elsewhere(".json")


def test_a_word_that_nobody_can_tell_is_asked_about_before_anything_is_written(desk: Desk) -> None:
    desk.take(desk.file("v1.json", coco(ABC, CAT_DOG, [(1, 1, 1)])))
    desk.decide("b.jpg,cat,present")
    before = desk.labels()
    newer = desk.file("v2.json", coco(ABC, {1: "feline", 2: "dog"}, [(1, 1, 1)]))
    with pytest.raises(UndecidedError, match="category 1: was 'cat' and is 'feline'"):
        desk.take(newer)
    assert desk.labels() == before
    plan = look(desk.workspace, desk.request(newer)).plan
    assert plan is not None
    (question,) = plan.questions
    assert question.by_ids == (
        "cat is called feline from now on, with its 2 labels (1 given by people)"
    )
    assert question.by_names == "feline is new; cat stays, with its 2 labels (1 given by people)"
    assert isinstance(UndecidedError(()), ConflictError)
    lines = report_lines(look(desk.workspace, desk.request(newer)))
    assert "  category 1: was cat, is feline" in lines


def test_a_person_says_which_reading_counts(desk: Desk) -> None:
    desk.take(desk.file("v1.json", coco(ABC, CAT_DOG, [(1, 1, 1)])))
    desk.decide("b.jpg,cat,present")
    newer = desk.file("v2.json", coco(ABC, {1: "feline", 2: "dog"}, [(1, 1, 1)]))
    preview = look(desk.workspace, desk.request(newer, match=Match.IDS))
    assert preview.plan is not None
    (word,) = preview.plan.words
    assert (word.before, word.now, word.labels, word.decided) == ("cat", "feline", 2, 1)
    said = "  another word: cat becomes feline (2 labels, 1 given by people)"
    assert said in report_lines(preview)
    assert report_json(preview)["plan"]["words"][0]["now"] == "feline"
    assert "cat becomes feline" in report_csv(preview)
    desk.take(newer, match=Match.IDS)
    assert states(desk.labels()) == {
        ("a.jpg", "feline"): "present",
        ("b.jpg", "feline"): "present",
    }


def test_names_count_where_a_person_says_so(desk: Desk) -> None:
    desk.take(desk.file("v1.json", coco(ABC, CAT_DOG, [(1, 1, 1)])))
    desk.decide("b.jpg,cat,present")
    newer = desk.file("v2.json", coco(ABC, {1: "feline", 2: "dog"}, [(9, 1, 1)]))
    desk.take(newer, match=Match.NAMES)
    assert states(desk.labels()) == {
        ("a.jpg", "cat"): "present",
        ("b.jpg", "cat"): "present",
        ("a.jpg", "feline"): "present",
    }
    assert not desk.take(newer, match=Match.NAMES).changed
    desk.same_elsewhere(".json")


def test_pictures_moved_into_other_folders_keep_their_verdicts(desk: Desk) -> None:
    desk.take(desk.file("v1.json", coco(ABC, CAT_DOG, [(1, 1, 1)])))
    desk.decide("c.jpg,dog,present")
    (desk.pictures / "cam").mkdir()
    for name in ABC.values():
        (desk.pictures / name).rename(desk.pictures / "cam" / name)
    moved = {id_: f"cam/{name}" for id_, name in ABC.items()}
    newer = desk.file("v2.json", coco(moved, CAT_DOG, [(1, 1, 1)]))
    plan = look(desk.workspace, desk.request(newer)).plan
    assert plan is not None
    assert [(one.before, one.now) for one in plan.pictures][2] == ("c.jpg", "cam/c.jpg")
    desk.take(newer)
    assert states(desk.labels()) == {
        ("cam/a.jpg", "cat"): "present",
        ("cam/c.jpg", "dog"): "present",
    }


def test_another_picture_under_an_old_id_is_another_picture(desk: Desk) -> None:
    desk.take(desk.file("v1.json", coco({1: "a.jpg", 2: "b.jpg"}, CAT_DOG, [(1, 1, 1)])))
    desk.decide("a.jpg,dog,absent")
    half = coco({1: "c.jpg", 2: "d.jpg"}, CAT_DOG, [(1, 1, 2), (2, 2, 1)])
    second = desk.file("v2.json", half)
    result = desk.take(second)
    assert result.added == {"images": 2, "categories": 0, "annotations": 2, "labels": 2}
    assert desk.labels() == {
        ("a.jpg", "cat"): "import present",
        ("a.jpg", "dog"): "human absent",
        ("c.jpg", "dog"): "import present",
        ("d.jpg", "cat"): "import present",
    }
    assert not desk.take(second).changed
    half["annotations"][1]["category_id"] = 2
    assert desk.take(desk.file("v2.json", half)).removed["labels"] == 1
    assert ("d.jpg", "dog") in desk.labels()
    assert ("d.jpg", "cat") not in desk.labels()
    desk.same_elsewhere(".json")
    written = json.loads((desk.folder / "out-s" / "one.json").read_text())
    assert len({one["id"] for one in written["annotations"]}) == 3


def test_a_picture_that_nobody_sees_is_asked_about(desk: Desk) -> None:
    desk.take(desk.file("v1.json", coco({1: "x/1.jpg"}, CAT_DOG, [(1, 1, 1)])))
    newer = desk.file("v2.json", coco({1: "y/1.jpg"}, CAT_DOG))
    with pytest.raises(UndecidedError, match="image 1"):
        desk.take(newer)
    desk.take(newer, match=Match.NAMES)
    assert states(desk.labels()) == {("x/1.jpg", "cat"): "present"}


def test_another_picture_of_the_same_name_in_another_folder_is_asked_about(desk: Desk) -> None:
    first = desk.file("v1.json", coco(ABC, CAT_DOG, [(1, 1, 1)]))
    desk.take(first)
    before, desk.pictures = desk.pictures, desk.folder / "elsewhere"
    desk.pictures.mkdir()
    for name in ("b.jpg", "c.jpg"):
        (desk.pictures / name).write_bytes((before / name).read_bytes())
    assert not desk.take(first).added["images"]
    (desk.pictures / "a.jpg").write_bytes(b"another")
    desk.take(first)  # it is looked for there already
    desk.pictures, elsewhere = before, desk.pictures
    with pytest.raises(UndecidedError, match="different pictures of one name"):
        desk.take(first)
    (question,) = desk.plan(first).questions
    assert (question.kind, question.before) == ("picture", str(elsewhere / "a.jpg"))
    desk.take(first, match=Match.NAMES)


def test_a_corrected_annotation_takes_its_old_label_along(desk: Desk) -> None:
    two = {1: "a.jpg", 2: "b.jpg"}
    desk.take(desk.file("v1.json", coco(two, CAT_DOG, [(1, 1, 1), (2, 2, 2)])))
    newer = desk.file("v2.json", coco(two, CAT_DOG, [(1, 1, 2), (2, 2, 2)]))
    preview = look(desk.workspace, desk.request(newer))
    assert preview.plan is not None
    (change,) = preview.plan.states
    assert (change.image, change.category) == ("a.jpg", "cat")
    assert (change.before, change.now) == ("present", "unknown")
    assert "  take back 1 labels" in report_lines(preview)
    result = desk.take(newer)
    assert result.message == "added 1 labels; updated 1 annotations; took back 1 labels"
    assert states(desk.labels()) == {("a.jpg", "dog"): "present", ("b.jpg", "dog"): "present"}
    desk.same_elsewhere(".json")


def test_what_a_person_decided_stays_when_its_annotation_is_corrected(desk: Desk) -> None:
    two = {1: "a.jpg", 2: "b.jpg"}
    desk.take(desk.file("v1.json", coco(two, CAT_DOG, [(1, 1, 1)])))
    desk.decide("a.jpg,cat,present")
    desk.take(desk.file("v2.json", coco(two, CAT_DOG, [(1, 1, 2)])))
    assert desk.labels()["a.jpg", "cat"] == "human present"


def test_a_second_annotation_still_supports_a_label(desk: Desk) -> None:
    two = {1: "a.jpg", 2: "b.jpg"}
    desk.take(desk.file("v1.json", coco(two, CAT_DOG, [(1, 1, 1), (2, 1, 1)])))
    desk.take(desk.file("v2.json", coco(two, CAT_DOG, [(1, 1, 2)])))
    assert states(desk.labels()) == {("a.jpg", "cat"): "present", ("a.jpg", "dog"): "present"}


def table(desk: Desk, *texts: str) -> None:
    for number, text in enumerate(texts):
        desk.take(desk.file(f"t{number}.csv", text))


def test_a_second_table_with_other_columns(desk: Desk) -> None:
    table(
        desk,
        "file,dog,cat\na.jpg,1,0\nb.jpg,0,1\n",
        "file,bird,dog,cat\nc.jpg,1,0,0\nd.jpg,0,1,0\n",
    )
    expected = {
        ("a.jpg", "dog"): "present", ("a.jpg", "cat"): "absent",
        ("b.jpg", "dog"): "absent", ("b.jpg", "cat"): "present",
        ("c.jpg", "bird"): "present", ("c.jpg", "dog"): "absent", ("c.jpg", "cat"): "absent",
        ("d.jpg", "bird"): "absent", ("d.jpg", "dog"): "present", ("d.jpg", "cat"): "absent",
    }  # fmt: skip
    assert states(desk.labels()) == expected
    desk.same_elsewhere(".csv")
    assert (desk.folder / "out-s" / "one.csv").read_text() == (
        "file,dog,cat,bird\na.jpg,1,0,\nb.jpg,0,1,\nc.jpg,0,0,1\nd.jpg,1,0,0\n"
    )


def test_a_second_table_with_its_columns_in_another_order(desk: Desk) -> None:
    table(desk, "file,dog,cat\na.jpg,1,0\n", "file;cat;dog\nc.jpg;1;0\n")
    assert states(desk.labels())["c.jpg", "cat"] == "present"
    desk.same_elsewhere(".csv")


@pytest.mark.parametrize("first", ["file,dog,cat\na.jpg,1,0\nb.jpg,0,1\n", "file,dog\na.jpg,0\n"])
def test_a_second_table_in_which_0_means_something_else(desk: Desk, first: str) -> None:
    table(desk, first, "file,dog,cat\nc.jpg,-1,1\nd.jpg,0,1\n")
    assert states(desk.labels())["a.jpg", "dog"] == ("present" if "1" in first else "absent")
    assert ("d.jpg", "dog") not in desk.labels()
    assert states(desk.labels())["c.jpg", "dog"] == "absent"
    desk.same_elsewhere(".csv")


def test_a_second_long_table_with_its_columns_the_other_way_round(desk: Desk) -> None:
    table(desk, "file,category\na.jpg,dog\n", "category,file\ncat,b.jpg\n")
    assert states(desk.labels()) == {("a.jpg", "dog"): "present", ("b.jpg", "cat"): "present"}
    desk.same_elsewhere(".csv")


def test_a_second_long_table_that_tells_states(desk: Desk) -> None:
    table(desk, "file,category\na.jpg,dog\n", "file,category,state\nb.jpg,dog,absent\n")
    assert states(desk.labels()) == {("a.jpg", "dog"): "present", ("b.jpg", "dog"): "absent"}
    desk.same_elsewhere(".csv")


def half(images: Mapping[int, str], boxes: Any, labels: Any) -> dict[str, Any]:
    entries = [
        {
            "image_id": image, "category_id": category, "state": state, "source": "human",
            "model_run": None, "score": None, "annotator": "ada",
            "decided_at": "2026-01-01T00:00:00+00:00",
        }
        for image, category, state in labels
    ]  # fmt: skip
    return coco(images, {1: "dog", 2: "cat"}, boxes, labels=entries)


def test_two_halves_completed_by_two_people(desk: Desk) -> None:
    one = half({1: "a.jpg", 2: "b.jpg"}, [(1, 1, 1)], [(1, 2, "absent"), (2, 2, "present")])
    other = half({3: "c.jpg", 4: "d.jpg"}, [], [(3, 1, "present"), (4, 2, "absent")])
    desk.take(desk.file("half1.json", one))
    desk.take(desk.file("half2.json", other))
    assert desk.labels() == {
        ("a.jpg", "dog"): "import present",
        ("a.jpg", "cat"): "human absent",
        ("b.jpg", "cat"): "human present",
        ("c.jpg", "dog"): "human present",
        ("d.jpg", "cat"): "human absent",
    }
    desk.same_elsewhere(".json")
    assert desk.labels("s-again") == desk.labels()
    written = json.loads((desk.folder / "out-s" / "one.json").read_text())
    assert written["labels"] == one["labels"] + other["labels"]


def voc(desk: Desk, name: str, first: str, second: str) -> Path:
    desk.file(f"{name}/ImageSets/Main/train.txt", f"{first}\n{second}\n")
    desk.file(f"{name}/ImageSets/Main/dog_train.txt", f"{first}  1\n{second} -1\n")
    dog = "<object><name>dog</name></object>"
    for stem, inside in ((first, dog), (second, "")):
        text = f"<annotation><filename>{stem}.jpg</filename>{inside}</annotation>\n"
        desk.file(f"{name}/Annotations/{stem}.xml", text)
    return desk.folder / name


def test_two_folders_of_voc(desk: Desk) -> None:
    desk.take(voc(desk, "voc1", "a", "b"))
    desk.take(voc(desk, "voc2", "c", "d"))
    dogs = {"a": "present", "b": "absent", "c": "present", "d": "absent"}
    assert states(desk.labels()) == {(f"{x}.jpg", "dog"): state for x, state in dogs.items()}
    desk.same_elsewhere("")
    lists = desk.folder / "out-s" / "one" / "ImageSets" / "Main"
    assert (lists / "train.txt").read_text().split() == ["a", "b", "c", "d"]
    assert (lists / "dog_train.txt").read_text().split() == [
        *("a", "1", "b", "-1"),
        *("c", "1", "d", "-1"),
    ]
    assert not (desk.folder / "out-s" / "one.provenance.csv").exists()


def test_two_folders_of_nus_wide(desk: Desk) -> None:
    for name, images in (("nus1", "a.jpg\nb.jpg\n"), ("nus2", "c.jpg\nd.jpg\n")):
        desk.file(f"{name}/ImageList/TrainImagelist.txt", images)
        desk.file(f"{name}/Labels/Labels_dog_Train.txt", "1\n0\n")
        desk.take(desk.folder / name)
    desk.decide("d.jpg,dog,present")
    dogs = {"a": "present", "b": "absent", "c": "present", "d": "present"}
    assert states(desk.labels()) == {(f"{x}.jpg", "dog"): state for x, state in dogs.items()}
    desk.same_elsewhere("")


def test_annotations_that_are_numbered_anew_are_not_doubled(desk: Desk) -> None:
    desk.take(desk.file("v1.json", coco(ABC, CAT_DOG, [(1, 1, 1), (2, 2, 2), (3, 3, 1)])))
    newer = coco(ABC, CAT_DOG, [(1, 1, 2), (2, 1, 1), (3, 2, 2), (4, 3, 1)])
    assert desk.take(desk.file("v2.json", newer)).added["annotations"] == 1
    fewer = coco(ABC, CAT_DOG, [(1, 1, 2), (2, 2, 2), (103, 3, 1)])
    assert not desk.take(desk.file("v3.json", fewer)).changed
    assert len(desk.labels()) == 4
    desk.same_elsewhere(".json")


def test_two_people_who_number_the_annotations_of_one_picture_from_1(desk: Desk) -> None:
    desk.take(desk.file("v1.json", coco({1: "a.jpg", 2: "b.jpg"}, {1: "cat"}, [(1, 1, 1)])))
    other = coco({1: "b.jpg", 2: "c.jpg", 3: "a.jpg"}, {1: "dog"}, [(1, 1, 1), (2, 2, 1)])
    desk.take(desk.file("v2.json", other), match=Match.NAMES)
    expected = [("a.jpg", "cat"), ("b.jpg", "dog"), ("c.jpg", "dog")]
    assert states(desk.labels()) == dict.fromkeys(expected, "present")
    assert not desk.take(desk.file("v2.json", other), match=Match.NAMES).changed
    desk.same_elsewhere(".json")


def test_words_that_occur_twice_are_told_by_what_stands_above_them(desk: Desk) -> None:
    first = coco(ABC, {1: "bat", 2: "bat"}, [(1, 1, 1), (2, 2, 2)])
    newer = coco(ABC, {1: "bat", 2: "bat"}, [(1, 1, 2), (2, 2, 1)])
    for document, order in ((first, ("animal", "sport")), (newer, ("sport", "animal"))):
        for category, above in zip(document["categories"], order, strict=True):
            category["supercategory"] = above
    desk.take(desk.file("v1.json", first))
    assert not desk.take(desk.file("v2.json", newer)).changed


def test_a_name_given_here_stays_when_the_file_comes_again(desk: Desk) -> None:
    file = desk.file("v1.json", coco(ABC, CAT_DOG, [(1, 1, 1)]))
    desk.take(file)
    changes.rename(desk.workspace, "s", "cat", "feline")
    renumbered = coco(ABC, {1: "bird", 2: "cat", 3: "dog"}, [(1, 1, 2)])
    desk.take(desk.file("v2.json", renumbered))
    assert states(desk.labels()) == {("a.jpg", "feline"): "present"}
    desk.take(desk.export("ours.json"))
    assert states(desk.labels()) == {("a.jpg", "feline"): "present"}


def test_an_older_statement_gives_way_to_a_newer_annotation(desk: Desk) -> None:
    entry = {"image_id": 1, "category_id": 1, "state": "absent"}
    desk.take(desk.file("v1.json", coco(ABC, CAT_DOG, labels=[entry])))
    desk.take(desk.file("v2.json", coco(ABC, CAT_DOG, [(1, 1, 1)])))
    assert states(desk.labels()) == {("a.jpg", "cat"): "present"}
    desk.same_elsewhere(".json")

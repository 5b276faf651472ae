"""The original files of the literature, on small folders of the same layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.literature import DATASETS, Request, read_original, run_benchmark
from benchmarks.literature.embedding import embed
from benchmarks.literature.published import PUBLISHED
from benchmarks.literature.voc2007 import CATEGORIES
from benchmarks.regimes import Regime, keep
from benchmarks.runs import run_here
from benchmarks.tokens import load
from clsl_core.backbones.spec import FakeBackbone
from clsl_core.errors import InputError, NotFoundError
from clsl_core.types import no_progress


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_coco(root: Path, count: int = 6) -> Path:
    categories = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]
    for split, first in (("train2014", 100), ("val2014", 500)):
        images, annotations = [], []
        for i in range(count):
            name = f"COCO_{split}_{first + i:012d}.jpg"
            picture(root / split / name, first + i)
            images.append({"id": first + i, "file_name": name, "width": 16, "height": 12})
            if i % 3:
                annotations.append(
                    {"id": first + i, "image_id": first + i, "category_id": (18, 1)[i % 2],
                     "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": int(i == 2)}
                )  # fmt: skip
        folder = root / "annotations"
        folder.mkdir(exist_ok=True)
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def make_voc(root: Path) -> Path:
    base = root / "VOCdevkit" / "VOC2007"
    main = base / "ImageSets" / "Main"
    main.mkdir(parents=True)
    (base / "Annotations").mkdir()
    objects = {
        "000005": [("dog", 0), ("person", 1)],
        "000007": [("tvmonitor", 0), ("dog", 1), ("dog", 0)],
        "000001": [("person", 0)],
        "000002": [("cat", 1)],
    }
    for number, (id_, found) in enumerate(objects.items()):
        picture(base / "JPEGImages" / f"{id_}.jpg", number)
        inner = "".join(
            f"<object><name>{name}</name><difficult>{hard}</difficult>"
            "<part><name>head</name></part></object>"
            for name, hard in found
        )
        text = f"<annotation>{inner}</annotation>"
        (base / "Annotations" / f"{id_}.xml").write_text(text)
    (main / "trainval.txt").write_text("000005\n000007\n")
    (main / "test.txt").write_text("000001\n000002\n")
    (main / "dog_trainval.txt").write_text("000005  1\n000007  1\n")
    (main / "person_trainval.txt").write_text("000005  0\n000007 -1\n")
    return root


def make_nuswide(root: Path) -> Path:
    for folder in ("ImageList", "ConceptsList", "TrainTestLabels"):
        (root / folder).mkdir(parents=True)
    (root / "ConceptsList" / "Concepts81.txt").write_text("airport\nblue_sky\n\n")
    for split, count in (("Train", 4), ("Test", 3)):
        names = [f"actor\\{split}_{i}.jpg" for i in range(count)]
        for number, name in enumerate(names):
            if name != "actor\\Train_1.jpg":  # gone from Flickr
                picture(root / "Flickr" / name.replace("\\", "/"), number)
        (root / "ImageList" / f"{split}Imagelist.txt").write_text("\r\n".join(names) + "\r\n")
        for column, concept in enumerate(("airport", "blue_sky")):
            lines = [str(int((i + column) % 2 == 0)) for i in range(count)]
            file = root / "TrainTestLabels" / f"Labels_{concept}_{split}.txt"
            file.write_text(" \n".join(lines) + "\n")
    return root


def test_coco_is_read_with_its_gaps_and_crowds(tmp_path: Path) -> None:
    found = read_original("coco2014", make_coco(tmp_path))
    assert found.categories == ("dog", "person")
    assert found.train.truth.tolist() == [[-1, -1], [-1, 1], [1, -1], [-1, -1], [1, -1], [-1, 1]]
    assert found.test.files[0] == "COCO_val2014_000000000500.jpg"
    assert found.test.folder == tmp_path / "val2014"


def test_voc_difficult_objects_are_neither_present_nor_absent(tmp_path: Path) -> None:
    found = read_original("voc2007", make_voc(tmp_path))
    dog, person, cat = (CATEGORIES.index(name) for name in ("dog", "person", "cat"))
    assert found.train.truth[:, dog].tolist() == [1, 1]  # one that is not difficult is enough
    assert found.train.truth[:, person].tolist() == [0, -1]
    assert found.test.truth[:, cat].tolist() == [-1, 0]
    assert found.train.truth.shape == (2, 20)
    assert "tv monitor" in found.categories
    assert keep(found.train.truth, Regime.MIXED, 1.0, 0)[0, person] == 0


def test_voc_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    main = make_voc(tmp_path) / "VOCdevkit/VOC2007/ImageSets/Main"
    (main / "dog_trainval.txt").write_text("000005 -1\n000007  1\n")
    with pytest.raises(InputError, match="says -1 for 000005, its annotation says 1"):
        read_original("voc2007", tmp_path)
    (main / "dog_trainval.txt").write_text("000005 yes\n")
    with pytest.raises(InputError, match="no picture of trainval and -1, 0 or 1"):
        read_original("voc2007", tmp_path)


def test_voc_annotations_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    file = make_voc(tmp_path) / "VOCdevkit/VOC2007/Annotations/000005.xml"
    file.write_text("<annotation>")
    with pytest.raises(InputError, match=r"000005\.xml cannot be read as XML"):
        read_original("voc2007", tmp_path)
    file.write_text("<a><object><name>unicorn</name></object></a>")
    with pytest.raises(InputError, match="'unicorn'; expected one of the 20"):
        read_original("voc2007", tmp_path)
    file.unlink()
    with pytest.raises(InputError, match="expected the picture's annotation"):
        read_original("voc2007", tmp_path)


def test_nuswide_lists_are_read(tmp_path: Path) -> None:
    found = read_original("nuswide", make_nuswide(tmp_path))
    assert found.categories == ("airport", "blue sky")
    assert found.train.files[1] == "actor/Train_1.jpg"
    assert found.train.truth.tolist() == [[1, -1], [-1, 1], [1, -1], [-1, 1]]
    assert found.test.truth.shape == (3, 2)
    (tmp_path / "TrainTestLabels" / "Labels_airport_Test.txt").write_text("1\n0\n")
    with pytest.raises(InputError, match="has 2 lines, expected 3"):
        read_original("nuswide", tmp_path)


@pytest.mark.parametrize("name", list(DATASETS))
def test_an_empty_folder_is_refused_with_what_belongs_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected"):
        read_original(name, tmp_path)


def test_an_unknown_collection_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="coco2014, voc2007, nuswide"):
        read_original("imagenet", tmp_path)
    assert set(PUBLISHED) == set(DATASETS)


def test_pictures_that_are_gone_are_left_out_and_labels_stay_beside_theirs(tmp_path: Path) -> None:
    original = read_original("nuswide", make_nuswide(tmp_path / "root"))
    folder = tmp_path / "features"
    folder.mkdir()
    for _ in range(2):  # the second time nothing is left to compute
        gone = embed(original.train, original.categories, FakeBackbone(), folder, no_progress)
        assert gone == 1
    found = load(folder)
    assert found.truth.tolist() == [[1, -1], [1, -1], [-1, 1]]
    assert found.categories.text
    assert found.features.tokens([2]).shape == (1, 6, 4)
    without = tmp_path / "without"
    without.mkdir()
    backbone = FakeBackbone(has_text=False)
    embed(original.train, original.categories, backbone, without, no_progress)
    assert load(without).categories.vectors is None


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    root = make_voc(tmp_path / "root")
    for file in root.rglob("*.jpg"):
        file.write_bytes(b"no picture")
    original = read_original("voc2007", root)
    (tmp_path / "work").mkdir()
    with pytest.raises(InputError, match="none of the 2 pictures"):
        embed(original.train, original.categories, FakeBackbone(), tmp_path / "work", no_progress)


def test_the_protocol_runs_from_the_original_files_to_the_published_numbers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    request = Request(
        "coco2014",
        make_coco(tmp_path / "root", 12),
        tmp_path / "work",
        known=(0.5,),
        seeds=1,
        methods=("random", "zero-shot-patch"),
        output=tmp_path / "out.json",
        limit=10,
    )
    sheet = run_benchmark(request, no_progress, FakeBackbone(), run_here)
    assert [cell["regime"] for cell in sheet.cells] == ["mixed"] * 2 + ["single"] * 2
    assert all("test" in cell for cell in sheet.cells)
    assert sheet.about["inputs"]["train"]["images"] == 10
    shown = capfd.readouterr().out
    assert "82.6" in shown
    assert "single\n" in shown

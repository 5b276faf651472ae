"""The demo: the same every time, truthful, mostly hidden, and learnable from its looks."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from clsl_core.backbones.builtin import BuiltinBackbone
from clsl_core.demo.collection import HIDDEN_SHARE, DemoFiles, draw_demo
from clsl_core.errors import InputError, JobCancelled
from clsl_core.formats.coco import coco
from clsl_core.pictures.loading import LocalImages

COUNT = 120


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoFiles:
    return draw_demo(tmp_path_factory.mktemp("demo"), images=COUNT)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_files_are_a_valid_collection(demo: DemoFiles) -> None:
    loader = LocalImages(demo.images)
    for path in (demo.complete, demo.instances):
        content, report = coco.read(path)
        assert report.problems == []
        assert len(content.images) == COUNT
        assert {loader.check(image.file_name) for image in content.images[:5]} == {(384, 288)}
    assert len(list(demo.images.iterdir())) == COUNT


def test_boxes_lie_inside_the_pictures(demo: DemoFiles) -> None:
    for annotation in coco.read(demo.complete)[0].annotations:
        left, top, width, height = annotation.record["bbox"]
        assert 0 <= left < left + width <= 384
        assert 0 <= top < top + height <= 288


def test_most_pairs_are_hidden_with_all_their_boxes(demo: DemoFiles) -> None:
    complete, partial = coco.read(demo.complete)[0], coco.read(demo.instances)[0]
    every = {(label.image_id, label.category_id) for label in complete.labels}
    shown = {(label.image_id, label.category_id) for label in partial.labels}
    assert shown < every
    assert len(every - shown) == demo.hidden
    assert abs(demo.hidden / len(every) - HIDDEN_SHARE) < 0.03
    kept = [a.record for a in complete.annotations if (a.image_id, a.category_id) in shown]
    assert [a.record for a in partial.annotations] == kept
    assert min(Counter(category for _, category in shown).values()) >= 5


def test_the_same_arguments_give_the_same_files(demo: DemoFiles, tmp_path: Path) -> None:
    few = draw_demo(tmp_path / "a", images=3)
    same = draw_demo(tmp_path / "b", images=3)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    for path in few.images.iterdir():  # pictures do not depend on how many there are
        assert path.read_bytes() == (demo.images / path.name).read_bytes()
    draw_demo(tmp_path / "b", images=3, seed=1)
    assert hashes(same.images) != hashes(few.images)


def test_an_interrupted_run_is_run_again(tmp_path: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if done == 2:
            raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        draw_demo(tmp_path, images=4, progress=stop)
    first = tmp_path / "images" / "scene-00000.jpg"
    (tmp_path / "images" / "scene-00001.jpg").write_bytes(b"cut off")
    before = first.stat().st_mtime_ns
    seen: list[int] = []
    draw_demo(tmp_path, images=4, progress=lambda done, total, what: seen.append(done))
    assert seen == [0, 1, 2, 3, 4]
    assert first.stat().st_mtime_ns == before  # what is right is left alone
    assert LocalImages(tmp_path / "images").check("scene-00001.jpg") == (384, 288)
    assert not list(tmp_path.rglob(".*"))


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 1"):
        draw_demo(tmp_path, images=0)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        draw_demo(tmp_path / "file", images=1)


def test_the_builtin_descriptors_can_learn_every_category(demo: DemoFiles) -> None:
    document = json.loads(demo.complete.read_text())
    truth = np.zeros((COUNT, len(document["categories"])), int)
    for annotation in document["annotations"]:
        truth[annotation["image_id"] - 1, annotation["category_id"] - 1] = 1
    images = [Image.open(path) for path in sorted(demo.images.iterdir())]
    features = BuiltinBackbone().encode_images(images).pooled.astype(np.float64)
    half = COUNT // 2
    precision = []
    for column in truth.T:
        model = LogisticRegression(C=30, max_iter=500).fit(features[:half], column[:half])
        scores = model.decision_function(features[half:])
        precision.append(average_precision_score(column[half:], scores))
    assert np.mean(precision) > 0.8
    assert np.mean(truth) < 0.45

"""What a model said is never read as a person's label, in any format that tells the two apart."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clsl_core.formats import FORMATS, read, write
from clsl_core.formats.coco import coco
from clsl_core.formats.read_options import ReadOptions, read_with
from clsl_core.types import AnnotationSet, LabelRecord, LabelState
from tests.builders import coco_document

PRESENT, ABSENT = LabelState.PRESENT, LabelState.ABSENT


def by_coco(scores: list[float | None], folder: Path) -> Path:
    document = coco_document(len(scores), 2)
    for annotation, score in zip(document["annotations"], scores, strict=True):
        if score is not None:
            annotation["score"] = score
    (folder / "in.json").write_text(json.dumps(document))
    return folder / "in.json"


def by_lvis(scores: list[float | None], folder: Path) -> Path:
    file = by_coco(scores, folder)
    document = json.loads(file.read_text())
    for image in document["images"]:
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    file.write_text(json.dumps(document))
    return file


def by_label_studio(scores: list[float | None], folder: Path) -> Path:
    tasks = []
    for number, score in enumerate(scores):
        value = {"choices": [["red", "green"][number % 2]]}
        result = [{"type": "choices", "from_name": "c", "to_name": "i", "value": value}]
        task: dict[str, Any] = {"id": number, "data": {"image": f"{number:03}.jpg"}}
        if score is None:
            task["annotations"] = [{"result": result}]
        else:
            task["predictions"] = [{"result": result, "score": score, "model_version": "m1"}]
        tasks.append(task)
    (folder / "in.json").write_text(json.dumps(tasks))
    return folder / "in.json"


def by_fiftyone(scores: list[float | None], folder: Path) -> Path:
    labels = {
        f"{number:03}": {"label": number % 2} | ({} if score is None else {"confidence": score})
        for number, score in enumerate(scores)
    }
    made = {"classes": ["red", "green"], "labels": labels}
    (folder / "labels.json").write_text(json.dumps(made))
    return folder / "labels.json"


def by_table(scores: list[float | None], folder: Path) -> Path:
    rows = [
        f"{number:03}.jpg,{['red', 'green'][number % 2]},present,"
        + ("," if score is None else f"model,{score}")
        for number, score in enumerate(scores)
    ]
    (folder / "in.csv").write_text("\n".join(["file,category,state,source,score", *rows]))
    return folder / "in.csv"


def by_open_images(scores: list[float | None], folder: Path) -> Path:
    rows = [
        f"{number:03},{'verification' if score is None else 'machine'},"
        f"{['red', 'green'][number % 2]},{1 if score is None else score}"
        for number, score in enumerate(scores)
    ]
    (folder / "in.csv").write_text("\n".join(["ImageID,Source,LabelName,Confidence", *rows]))
    return folder / "in.csv"


MAKERS: dict[str, Callable[[list[float | None], Path], Path]] = {
    "coco": by_coco,
    "lvis": by_lvis,
    "label-studio": by_label_studio,
    "fiftyone": by_fiftyone,
    "csv-long": by_table,
    "open-images": by_open_images,
}


def said(content: AnnotationSet, labels: Any) -> dict[str, Any]:
    files = {image.source_id: image.file_name for image in content.images}
    return {files[label.image_id]: label.score for label in labels}


@pytest.mark.parametrize("name", MAKERS)
@settings(deadline=None)
@given(
    scores=st.lists(
        st.one_of(st.none(), st.floats(0, 0.99, allow_subnormal=False)), min_size=1, max_size=5
    ),
    threshold=st.sampled_from([0.0, 0.5]),
)
def test_predictions_are_proposals_unless_declared_final(
    name: str,
    scores: list[float | None],
    threshold: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = MAKERS[name](scores, tmp_path_factory.mktemp("predicted"))
    content, _ = read_with(file, name, ReadOptions(threshold=threshold))
    people = {f"{number:03}.jpg" for number, score in enumerate(scores) if score is None}
    models = {
        f"{number:03}.jpg": score
        for number, score in enumerate(scores)
        if score is not None and score >= threshold
    }
    assert set(said(content, content.labels)) == people
    assert said(content, content.proposals) == pytest.approx(models)
    final, report = read_with(file, name, ReadOptions(threshold=threshold, scores="final"))
    assert set(said(final, final.labels)) == people | models.keys()
    assert not final.proposals
    assert {label.state for label in final.labels} <= {PRESENT}
    assert report.counts["labels"] == len(final.labels)


@pytest.mark.parametrize("name", MAKERS)
def test_exhaustive_files_stay_whole_when_predictions_are_final(name: str, tmp_path: Path) -> None:
    file = MAKERS[name]([None, 0.9, 0.2], tmp_path)
    options = ReadOptions(absent="negative", scores="final", threshold=0.5)
    content, _ = read_with(file, name, options)
    states = {(x.image_id, x.category_id): x.state for x in content.labels}
    assert len(states) == len(content.labels) == 6
    assert list(states.values()).count(PRESENT) == 2


@pytest.mark.parametrize("name", MAKERS)
def test_the_file_comes_back_with_its_predictions(name: str, tmp_path: Path) -> None:
    file = MAKERS[name]([None, 0.9, 0.2], tmp_path)
    content, _ = read(file, name)
    output = tmp_path / f"out{FORMATS[name].suffix}"
    write(content, output)
    again, _ = read(output, name)
    assert list(again.labels) == list(content.labels)
    assert list(again.proposals) == list(content.proposals)
    decided = [
        LabelRecord(x.image_id, x.category_id, state, "human")
        for x, state in zip(content.proposals, (PRESENT, ABSENT), strict=True)
    ]
    write(content, output, decided)
    last, _ = read(output, name)
    states = {(x.image_id, x.category_id): x.state for x in last.labels}
    for label in decided:
        assert states[label.image_id, label.category_id] is label.state


def test_a_streamed_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = by_coco([None, 0.9, None, 0.2], tmp_path)
    plain, _ = read(file)
    monkeypatch.setattr(coco, "STREAM_FROM", 1)
    content, _ = read(file)
    assert list(content.proposals) == list(plain.proposals)
    assert sorted(map(str, content.labels)) == sorted(map(str, plain.labels))


def test_no_export_writes_a_prediction_as_a_label(tmp_path: Path) -> None:
    content, _ = read(by_coco([None, 0.9], tmp_path))
    for name, own in FORMATS.items():
        output = tmp_path / f"{name}{own.suffix}"
        own.write(content, [], output, summary={})
        again, _ = read(output, name)
        present = [x for x in again.labels if x.state is PRESENT]
        assert len(present) == 1, name

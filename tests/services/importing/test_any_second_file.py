"""Random second files of every format: verdicts stay where they were given, or nothing happens."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.services.importing.identity import Match
from app.services.importing.second_file import UndecidedError
from app.services.workspace import Workspace
from clsl_core.formats import FORMATS
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    CategoryRecord,
    ImageRecord,
    LabelRecord,
    LabelState,
)
from tests.services.importing.desk import Desk, State, states

pytestmark = pytest.mark.one_database  # what is asked of it is tested on both elsewhere

PICTURES = ("a.jpg", "b.jpg", "cam/a.jpg", "cam 2/c.jpg", "d.png")
WORDS = ("cat", "dog", "big bird", "=x,y", "Zürich")
numbers = count()


@dataclass(frozen=True, slots=True)
class Upstream:
    """What another tool would export: its pictures and words in their order, and its labels."""

    pictures: tuple[str, ...]
    words: tuple[str, ...]
    said: dict[tuple[str, str], LabelState]


@st.composite
def exports(draw: st.DrawFn) -> Upstream:
    pictures = draw(st.lists(st.sampled_from(PICTURES), min_size=1, max_size=4, unique=True))
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4, unique=True))
    said = {
        (picture, word): state
        for picture in pictures
        for word in words
        if (state := draw(st.sampled_from(LabelState))) is not LabelState.UNKNOWN
    }
    return Upstream(tuple(pictures), tuple(words), said)


def content_of(upstream: Upstream, foreign: str, first: int) -> AnnotationSet:
    """As a tool that numbers everything by its place, from ``first``."""
    images = {name: i for i, name in enumerate(upstream.pictures, start=first)}
    words = {name: i for i, name in enumerate(upstream.words, start=first)}
    boxes = []
    for (picture, word), state in upstream.said.items():
        if state is LabelState.PRESENT:
            number, pair = len(boxes) + first, (images[picture], words[word])
            record = {"id": number, "image_id": pair[0], "category_id": pair[1]}
            record |= {"bbox": [1, 2, 10, 12], "area": 120, "iscrowd": 0}
            boxes.append(AnnotationRecord(number, *pair, record))
    return AnnotationSet(
        foreign,
        {"images": None, "annotations": None, "categories": None},
        [
            ImageRecord(i, name, 64, 48, {"id": i, "file_name": name, "width": 64, "height": 48})
            for name, i in images.items()
        ],
        [CategoryRecord(i, name, None, {"id": i, "name": name}) for name, i in words.items()],
        boxes,
        [
            LabelRecord(images[picture], words[word], state)
            for (picture, word), state in upstream.said.items()
            if state is LabelState.ABSENT
        ],
    )


def written(desk: Desk, upstream: Upstream, format_name: str, first: int) -> Path:
    """The export as a file of a format, in a folder of its own."""
    own = FORMATS[format_name]
    folder = desk.folder / f"upstream-{next(numbers)}"
    folder.mkdir()
    output = folder / f"labels{own.suffix}"
    foreign = "lvis" if format_name == "coco" else "coco"
    own.write(content_of(upstream, foreign, first), [], output, summary={})
    return output


def take(desk: Desk, file: Path, name: str, format_name: str) -> None:
    """Import it; where it is asked, nothing was written, and names count."""
    before = desk.labels(name)
    try:
        desk.take(file, name, format_name=format_name)
    except UndecidedError:
        assert desk.labels(name) == before
        desk.take(file, name, Match.NAMES, format_name)


@pytest.fixture
def desk(workspace: Workspace, tmp_path: Path) -> Desk:
    made = Desk(workspace, tmp_path)
    made.picture(*PICTURES)
    return made


@pytest.mark.parametrize("format_name", FORMATS)
@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example takes long: none is shrunk
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    files=st.lists(st.tuples(exports(), st.integers(0, 2)), min_size=2, max_size=3), data=st.data()
)
def test_every_verdict_stays_on_its_word_and_picture(
    desk: Desk, format_name: str, files: list[tuple[Upstream, int]], data: st.DataObject
) -> None:
    name = f"{format_name}-{next(numbers)}"
    take(desk, written(desk, *files[0][:1], format_name, files[0][1]), name, format_name)
    verdicts: State = {}
    for upstream, first in files[1:]:
        known = desk.pairs(name)
        if known:
            pair = data.draw(st.sampled_from(sorted(known)))
            verdicts[pair] = data.draw(st.sampled_from(["present", "absent"]))
            desk.answer(name, *pair, verdicts[pair])
        before = states(desk.labels(name))
        file = written(desk, upstream, format_name, first)
        take(desk, file, name, format_name)
        after = states(desk.labels(name))
        for pair in before.keys() | after.keys() | upstream.said.keys():
            check(pair, before, after, upstream, verdicts)
        assert not desk.take(file, name, Match.NAMES, format_name).changed
    desk.same_elsewhere(FORMATS[format_name].suffix, name, format_name)


def check(
    pair: tuple[str, str], before: State, after: State, upstream: Upstream, verdicts: State
) -> None:
    """What a pair may say after an import."""
    now = after.get(pair)
    if pair in verdicts:
        assert now == verdicts[pair]
    elif pair in upstream.said:
        assert now == upstream.said[pair].word
    elif pair[0] in upstream.pictures and pair[1] in upstream.words:
        assert now in (before.get(pair), None)  # taken back, or said by what did not come again
    else:
        assert now == before.get(pair)

"""The labels of a set: added, changed, and taken back where nothing says them any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.services.importing.second_file import SecondFile
from app.services.importing.target import Inserts, Target
from app.services.importing.written import Ids, LabelChange, Written, update
from clsl_core.formats.coco.stored import PairLabels
from clsl_core.types import (
    AnnotationSet,
    JsonObject,
    LabelSource,
    LabelState,
    Progress,
    SourceId,
)
from db.models import Label
from db.queries import imported

__all__ = ["take_back", "write_labels"]

COLUMNS = ("image_id", "category_id", "state", "source", "provenance")
EXAMPLES = 20
SOURCES = frozenset(LabelSource)

Known = dict[int, tuple[LabelState, LabelSource]]
"""State and source by image and category, both in one number: there may be millions."""


def write_labels(
    target: Target,
    content: AnnotationSet,
    ids: Ids,
    written: Written,
    progress: Progress,
) -> Known:
    """Labels of the file; what a person decided here is kept.

    Returns:
        What was known of other pairs, of which the file states nothing.
    """
    old = _known(target, ids)
    new = Inserts(target, Label, COLUMNS, progress, len(content.labels))
    changed: list[JsonObject] = []
    for image_id, category_id, state, source, provenance in _rows(content):
        pair = (ids[0][image_id], ids[1][category_id])
        before = old.pop(_number(*pair), None)
        if before is None:
            new.add((*pair, state, source, provenance))
        elif before[0] != state and before[1] is not LabelSource.IMPORT:
            written.kept_human += 1
            if len(written.kept) < EXAMPLES:
                written.kept.append((image_id, category_id, state))
        elif before[0] != state:
            written.state(LabelChange(*pair, before[0], state))
            changed.append(
                {"image_id": pair[0], "category_id": pair[1], "state": state, "source": source}
            )
    new.finish()
    update(target, Label, changed)
    written.added["labels"], written.updated["labels"] = new.count, len(changed)
    written.removed["labels"] = 0
    return old


def take_back(
    target: Target,
    unstated: Known,
    ids: Ids,
    second: SecondFile,
    changed: set[int],
    *,
    declared: bool,
    written: Written,
) -> None:
    """Remove labels that came from a file and that no file says any more.

    Args:
        target: Where they are.
        unstated: What is known of pairs of which the file states nothing.
        ids: From the file's ids to ours.
        second: What the file speaks of.
        changed: Annotations that say something else now.
        declared: Whether a file was declared exhaustive: absent labels rest on that.
        written: Is told of them.
    """
    images = {ours: id_ for id_, ours in ids[0].items()}
    categories = {ours: id_ for id_, ours in ids[1].items()}
    pairs: dict[tuple[int, int], LabelState] = {}
    for number, (state, source) in unstated.items():
        pair = number >> 32, number & 0xFFFFFFFF
        if source is not LabelSource.IMPORT or (declared and state is LabelState.ABSENT):
            continue
        if pair[0] not in images or pair[1] not in categories:
            continue
        named = images[pair[0]], categories[pair[1]]
        if second.speaks(*named) and (str(named[0]), str(named[1])) not in second.told:
            pairs[pair] = state
    if pairs:  # what a model said came with a file of its own, perhaps
        with target.reading() as session:
            predicted = imported.predicted_pairs(session, {category for _, category in pairs})
        pairs = {pair: state for pair, state in pairs.items() if pair not in predicted}
    if pairs and second.terms.has_annotation_ids:
        with target.reading() as session:
            drawn = imported.annotated_pairs(session, {image for image, _ in pairs}, changed)
        pairs = {pair: state for pair, state in pairs.items() if pair not in drawn}
    for pair, state in pairs.items():
        written.state(LabelChange(*pair, state, LabelState.UNKNOWN))
    if pairs:
        gone = list(pairs)
        target.do(lambda session: imported.delete_labels(session, gone))
    written.removed["labels"] = len(pairs)


def _known(target: Target, ids: Ids) -> Known:
    kinds: dict[Any, Any] = {}  # each pair of state and source is held once, not a million times
    with target.reading() as session:
        return {
            _number(image_id, category_id): kinds.setdefault((state, source), (state, source))
            for image_id, category_id, state, source in imported.labels(
                session, list(ids[1].values())
            )
        }


def _number(image_id: int, category_id: int) -> int:
    return image_id << 32 | category_id


def _rows(
    content: AnnotationSet,
) -> Iterator[tuple[SourceId, SourceId, LabelState, LabelSource, JsonObject | None]]:
    """Image id, category id, state, source, and what else the file says of where it is from."""
    if isinstance(content.labels, PairLabels):
        for image_id, category_id in content.labels.pairs():
            yield image_id, category_id, LabelState.PRESENT, LabelSource.IMPORT, None
        return
    for label in content.labels:
        source = LabelSource(label.source) if label.source in SOURCES else LabelSource.IMPORT
        provenance = {
            key: value
            for key in ("source", "model_run", "score", "annotator", "decided_at")
            if (value := getattr(label, key)) not in (None, str(LabelSource.IMPORT))
        }
        yield label.image_id, label.category_id, label.state, source, provenance or None

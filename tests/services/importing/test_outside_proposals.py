"""Predictions that come with a file: proposals of a named model, judged like ours, never labels."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.services.access.grants import Grant
from app.services.exporting.export import export_dataset
from app.services.importing import preview
from app.services.importing.ingest import ImportRequest, import_file
from app.services.reviewing import queue as review_queue
from app.services.reviewing.queue import QueueQuery
from app.services.reviewing.verdicts import Answer, decide
from app.services.workspace import Workspace
from clsl_core.errors import InputError
from clsl_core.types import LabelState
from db.models import Category, Image, Label, ModelRun, Proposal, ProposalStatus, RunStatus
from db.queries import runs
from tests.builders import coco_document, make_collection, make_grant, make_run, make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "data")


def scored(tmp_path: Path, scores: dict[int, float]) -> ImportRequest:
    """The made collection; annotations with these places are a model's."""
    document = coco_document()
    for place, score in scores.items():
        document["annotations"][place]["score"] = score
    file, root = make_collection(tmp_path / "source", document)
    return ImportRequest(str(file), str(root), "set", model="yolo-11")


def labels(workspace: Workspace) -> dict[tuple[str, str], str]:
    with workspace.database.read() as session:
        rows = session.execute(
            select(Image.file_name, Category.name, Label.state)
            .join(Image, Image.id == Label.image_id)
            .join(Category, Category.id == Label.category_id)
        )
        return {(file, name): state.word for file, name, state in rows}


def cards(workspace: Workspace, grant: Grant, strategy: str = "likely") -> list[Any]:
    return review_queue.next_cards(workspace, grant, QueueQuery(strategy=strategy)).cards


def shown(workspace: Workspace, grant: Grant) -> list[tuple[str, str, float, str]]:
    found = cards(workspace, grant)
    return [(card.file_name, card.category, card.score, card.model) for card in found]


def judge(workspace: Workspace, grant: Grant, card: Any, verdict: str) -> None:
    pair = (card.image_id, card.category_id)
    answer = Answer("0123456789abcdef", *pair, verdict, card.proposal_id, 1.0)
    assert decide(workspace, grant, [answer])[0].status == "saved"


def test_an_annotation_with_a_score_is_a_proposal(workspace: Workspace, tmp_path: Path) -> None:
    result = import_file(workspace, scored(tmp_path, {0: 0.9, 2: 0.4}))
    assert labels(workspace) == {("001.jpg", "green"): "present", ("003.jpg", "red"): "present"}
    assert result.added["proposals"] == 2
    grant = make_grant(workspace, result.dataset_id)
    assert shown(workspace, grant) == [
        ("000.jpg", "red", 0.9, "yolo-11"),
        ("002.jpg", "blue", 0.4, "yolo-11"),
    ]


def test_a_threshold_and_final(workspace: Workspace, tmp_path: Path) -> None:
    request = scored(tmp_path, {0: 0.9, 2: 0.4})
    import_file(workspace, replace(request, threshold=0.5))
    import_file(workspace, replace(request, name="final", threshold=0.5, scores="final"))
    with workspace.database.read() as session:
        assert session.scalars(select(Proposal.score)).all() == [0.9]
        states = session.scalars(select(Label.state)).all()
    assert len(states) == 2 + 3, "the final one has the sure one as a label"


def test_they_are_judged_and_undone_like_ours(workspace: Workspace, tmp_path: Path) -> None:
    result = import_file(workspace, scored(tmp_path, {0: 0.9, 2: 0.4}))
    grant = make_grant(workspace, result.dataset_id)
    card = cards(workspace, grant)[0]
    answer = Answer(
        "0123456789abcdef", card.image_id, card.category_id, "present", card.proposal_id, 1.0
    )
    assert decide(workspace, grant, [answer])[0].status == "saved"
    assert labels(workspace)["000.jpg", "red"] == "present"
    assert [entry[0] for entry in shown(workspace, grant)] == ["002.jpg"]
    export_dataset(workspace, "set", tmp_path / "out.json")
    out = json.loads((tmp_path / "out.json").read_text())
    (entry,) = out["labels"]
    assert (entry["source"], entry["score"], entry["state"]) == ("human", 0.9, "present")
    assert (
        out["annotations"]
        == json.loads(Path(tmp_path / "source/instances.json").read_text())["annotations"]
    )


def test_a_run_of_ours_is_shown_beside_and_removes_none(
    workspace: Workspace, tmp_path: Path
) -> None:
    result = import_file(workspace, scored(tmp_path, {0: 0.9, 2: 0.4}))
    grant = make_grant(workspace, result.dataset_id)
    with workspace.database.write() as session:
        ours = make_run(session, result.dataset_id)
        pairs = dict(map(tuple, session.execute(select(Image.file_name, Image.id))))
        names = dict(map(tuple, session.execute(select(Category.name, Category.id))))
        for file, name, score in (("000.jpg", "red", 0.7), ("001.jpg", "red", 0.6)):
            session.add(
                Proposal(
                    model_run_id=ours.id,
                    image_id=pairs[file],
                    category_id=names[name],
                    state=LabelState.PRESENT,
                    score=score,
                )
            )
        session.flush()
        runs.serve(session, ours)
        assert runs.delete_open_proposals_of_others(session, ours, 100) == 0
    assert shown(workspace, grant) == [
        ("000.jpg", "red", 0.7, ""),
        ("001.jpg", "red", 0.6, ""),
        ("002.jpg", "blue", 0.4, "yolo-11"),
    ], "each pair once"
    first = cards(workspace, grant)[0]
    judge(workspace, grant, first, "absent")
    assert [entry[0] for entry in shown(workspace, grant)] == ["001.jpg", "002.jpg"]


def test_the_same_file_again_adds_nothing_and_a_new_label_closes(
    workspace: Workspace, tmp_path: Path
) -> None:
    request = scored(tmp_path, {0: 0.9, 2: 0.4})
    import_file(workspace, request)
    assert not import_file(workspace, request).changed
    document = json.loads(Path(request.file).read_text())
    document["labels"] = [{"image_id": 10, "category_id": 1, "state": "absent"}]
    Path(request.file).write_text(json.dumps(document))
    import_file(workspace, request)
    with workspace.database.read() as session:
        open_ = session.scalars(
            select(Proposal.score).where(Proposal.status == ProposalStatus.OPEN)
        ).all()
        (run,) = session.scalars(select(ModelRun)).all()
        assert run.status is RunStatus.OUTSIDE
    assert open_ == [0.4]


RESULTS = [
    {"image_id": 10, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.3},
    {"image_id": 10, "category_id": 2, "bbox": [2, 2, 3, 4], "score": 0.8},
    {"image_id": 11.0, "category_id": "3", "bbox": [1, 2, 3, 4], "score": 0.6},
    {"image_id": 99, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.6},
    {"image_id": 10, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9},
]


def test_a_list_of_results_adds_proposals_to_a_dataset(
    workspace: Workspace, tmp_path: Path
) -> None:
    request = scored(tmp_path, {})
    file = tmp_path / "results.json"
    file.write_text(json.dumps(RESULTS))
    found = replace(request, file=str(file), model="")
    with pytest.raises(InputError, match="import that file as 'set' first"):
        import_file(workspace, found)
    result = import_file(workspace, request)
    before = labels(workspace)
    looked = preview.look(workspace, found)
    assert (looked.ok, looked.counts["proposals"], looked.title) == (True, 3, "COCO results")
    added = import_file(workspace, found)
    assert added.added == {"proposals": 2}, "the pair that has a label is answered"
    assert any("missing-image" in line or "99" in line for line in added.problems)
    grant = make_grant(workspace, result.dataset_id)
    assert shown(workspace, grant) == [
        ("000.jpg", "green", 0.8, "results.json"),
        ("001.jpg", "blue", 0.6, "results.json"),
    ]
    assert labels(workspace) == before
    assert not import_file(workspace, found).changed
    import_file(workspace, replace(found, scores="final", threshold=0.7))
    assert labels(workspace) == before | {("000.jpg", "green"): "present"}
    assert [entry[0] for entry in shown(workspace, grant)] == ["001.jpg"]

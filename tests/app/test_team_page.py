"""The page Team shows reviewers how people agree, and lets them settle conflicts."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import context
from app.services.access.grants import Grant
from app.services.people import people
from app.services.reviewing import gold, panels, verdicts
from app.services.reviewing.queue import QueueQuery, next_cards, release_leases
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from db.models import Label
from tests.builders import make_dataset, make_grant, make_proposals

MAIN = Path(__file__).parents[2] / "app" / "main.py"


@pytest.fixture(autouse=True)
def opened(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages see the test's workspace."""
    monkeypatch.setenv("CLSL_DATA_DIR", str(workspace.data_dir))
    context.open_workspace.cache_clear()
    yield
    context.open_workspace().close()
    context.open_workspace.cache_clear()


def draw(**state: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    for key, value in state.items():
        app.session_state[key] = value
    app.run()
    app.switch_page("screens/team.py").run()
    assert not app.exception, app.exception
    return app


def first_pair(workspace: Workspace, grant: Grant) -> tuple[int, int]:
    (card,) = next_cards(workspace, grant, QueueQuery(limit=1)).cards
    release_leases(workspace, grant)
    return card.image_id, card.category_id


def disagree(workspace: Workspace) -> tuple[int, int]:
    """Two people contradict each other: on which pair."""
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    panels.set_overlap(workspace, "set", 2)
    people_ = [make_grant(workspace, dataset_id, name) for name in ("ada", "bob*")]
    pair = first_pair(workspace, people_[0])
    for grant, verdict in zip(people_, ("present", "absent"), strict=True):
        verdicts.decide(workspace, grant, [Answer(uuid.uuid4().hex, *pair, verdict)])
    return pair


def test_a_conflict_is_settled(workspace: Workspace) -> None:
    pair = disagree(workspace)
    app = draw(annotator="Eve")
    assert {one.value for one in app.text} == {"ada: present", "bob*: absent"}
    app.button(key=f"team-absent-{pair[0]}-{pair[1]}").click().run()
    assert not app.exception
    with workspace.database.read() as session:
        assert session.get_one(Label, pair).state.word == "absent"
    assert any("no pair on which all have spoken" in one.value for one in app.caption)
    (together,) = (table.value for table in app.dataframe if "category" in table.value)
    assert together["remark"].tolist() == ["fewer than 30 pairs"] * 2


def test_annotators_are_shown_nothing(workspace: Workspace) -> None:
    disagree(workspace)
    people.set_role(workspace, "Zoe", "annotator")
    app = draw(annotator="Zoe")
    assert not app.text
    assert not app.dataframe
    assert any("Reviewers" in one.value for one in app.info)


def test_settings_are_stored(workspace: Workspace) -> None:
    make_dataset(workspace)
    app = draw(annotator="Eve")
    app.number_input(key="team-overlap").set_value(3)
    app.button(key="team-set-overlap").click().run()
    assert any("3 people judge each pair" in one.value for one in app.caption)
    app.number_input(key="team-gold").set_value(2)
    app.button(key="team-add-gold").click().run()
    assert not app.exception
    assert gold.clear(workspace, "set") == 2

"""Several people judge a pair, blind to one another; the label follows from what they said."""

import uuid
from itertools import permutations

import pytest
from sqlalchemy import update

from app.services.access import rights
from app.services.access.rights import Actor, Forbidden, Role
from app.services.operations.doctor import Finding, examine
from app.services.reviewing import panels, undo, verdicts
from app.services.reviewing.history import history
from app.services.reviewing.queue import QueueQuery, next_cards, release_leases
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError, InputError
from clsl_core.types import LabelSource, LabelState
from db.models import Label, Panel, PanelStatus, Proposal, ProposalStatus
from db.queries import decisions, labels, runs, upkeep
from tests.builders import make_dataset, make_grant, make_proposals, make_run

pytestmark = pytest.mark.both_databases


class Team:
    """People on one dataset with proposals."""

    def __init__(self, workspace: Workspace, overlap: int, size: int = 3) -> None:
        self.workspace = workspace
        self.name = uuid.uuid4().hex
        self.id = make_dataset(workspace, self.name).dataset_id
        self.embedding_id = make_proposals(workspace, self.id).embedding_run_id
        self.people = [make_grant(workspace, self.id, f"{self.name}-{i}") for i in range(size)]
        panels.set_overlap(workspace, self.name, overlap)
        with workspace.database.read() as session:
            run = runs.serving_run(session, self.id)
            assert run is not None
            first = session.query(Proposal).filter_by(model_run_id=run.id).first()
            assert first is not None
            self.pair = (first.image_id, first.category_id)
            self.proposal_id = first.id

    def say(self, person: int, verdict: str) -> str:
        """One person's verdict on the first pair: its client id."""
        client_id = uuid.uuid4().hex
        answer = Answer(client_id, *self.pair, verdict, self.proposal_id)
        (receipt,) = verdicts.decide(self.workspace, self.people[person], [answer])
        self.last = receipt.status
        return client_id

    def state(self) -> tuple[LabelState | None, PanelStatus | None, ProposalStatus]:
        with self.workspace.database.read() as session:
            label, panel = session.get(Label, self.pair), session.get(Panel, self.pair)
            proposal = session.get_one(Proposal, self.proposal_id)
            assert upkeep.contradicting_labels(session) == 0
            assert upkeep.verdicts_without_label(session) == 0
            return label and label.state, panel and panel.status, proposal.status

    def offered(self, person: int) -> set[tuple[int, int]]:
        grant = self.people[person]
        cards = next_cards(self.workspace, grant, QueueQuery(limit=100)).cards
        release_leases(self.workspace, grant)
        return {(card.image_id, card.category_id) for card in cards}


NOTHING = (None, None, ProposalStatus.OPEN)
WAITS = (None, PanelStatus.WAITING, ProposalStatus.OPEN)
AGREED = (LabelState.PRESENT, PanelStatus.AGREED, ProposalStatus.DECIDED)
TIED = (None, PanelStatus.CONFLICT, ProposalStatus.DECIDED)


def test_the_pair_stays_open_until_all_have_spoken(workspace: Workspace) -> None:
    team = Team(workspace, 3)
    team.say(0, "present")
    assert team.state() == WAITS
    assert team.pair not in team.offered(0)
    assert team.pair in team.offered(1)
    team.say(1, "absent")
    assert team.state() == WAITS
    team.say(2, "present")
    assert team.state() == AGREED
    assert all(team.pair not in team.offered(i) for i in range(3))


def test_one_voice_more_than_asked_does_not_count(workspace: Workspace) -> None:
    team = Team(workspace, 2)
    team.say(0, "present")
    team.say(1, "present")
    team.say(2, "absent")
    assert team.last == "stale"
    assert team.state() == AGREED


def test_saying_it_again_is_one_voice_and_the_newest(workspace: Workspace) -> None:
    team = Team(workspace, 2)
    team.say(0, "absent")
    team.say(0, "absent")
    assert team.last == "duplicate"
    team.say(0, "present")
    assert team.last == "saved"
    assert team.state() == WAITS
    team.say(1, "present")
    assert team.state() == AGREED


def test_undo_derives_the_label_anew(workspace: Workspace) -> None:
    team = Team(workspace, 2)
    first, second = team.say(0, "present"), team.say(1, "present")
    assert team.state() == AGREED
    undone = undo.undo(workspace, team.people[0], uuid.uuid4().hex, first)
    assert undone.status == "saved"
    assert team.state() == WAITS
    assert team.pair in team.offered(0)
    assert team.pair not in team.offered(1)
    assert undo.redo(workspace, team.people[0], uuid.uuid4().hex, first).status == "saved"
    assert team.state() == AGREED
    undo.undo(workspace, team.people[1], uuid.uuid4().hex, second)
    assert team.state() == WAITS


def test_a_panel_in_which_nobody_speaks_is_no_more(workspace: Workspace) -> None:
    team = Team(workspace, 2)
    for person in (0, 1):
        said = team.say(person, "absent")
        undo.undo(workspace, team.people[person], uuid.uuid4().hex, said)
        assert team.state() == NOTHING


def test_a_tie_is_settled_by_a_reviewer_and_can_be_opened_again(workspace: Workspace) -> None:
    team = Team(workspace, 2)
    first = team.say(0, "present")
    team.say(1, "absent")
    assert team.state() == TIED
    judge = team.people[2]
    (conflict,) = panels.conflicts(workspace, team.id)
    said = {(one.annotator, one.verdict) for one in conflict.opinions}
    assert said == {(f"{team.name}-0", "present"), (f"{team.name}-1", "absent")}
    ruling = panels.adjudicate(workspace, judge, *team.pair, "present")
    settled = (LabelState.PRESENT, PanelStatus.ADJUDICATED, ProposalStatus.DECIDED)
    assert team.state() == settled
    assert panels.conflicts(workspace, team.id) == []
    assert undo.undo(workspace, team.people[0], uuid.uuid4().hex, first).status == "stale"
    assert team.state() == settled
    assert undo.undo(workspace, judge, uuid.uuid4().hex, ruling).status == "saved"
    assert team.state() == TIED


def test_a_majority_can_be_looked_at_too(workspace: Workspace) -> None:
    team = Team(workspace, 3)
    for person, verdict in enumerate(("present", "absent", "present")):
        team.say(person, verdict)
    assert panels.conflicts(workspace, team.id) == []
    (found,) = panels.conflicts(workspace, team.id, outvoted=True)
    assert not found.tied
    assert panels.conflicts(workspace, team.id, outvoted=True, after=team.pair) == []


def test_only_what_is_disputed_can_be_settled(workspace: Workspace) -> None:
    team = Team(workspace, 2)
    team.say(0, "present")
    with pytest.raises(ConflictError, match="waiting"):
        panels.adjudicate(workspace, team.people[2], *team.pair, "absent")
    team.say(1, "present")
    with pytest.raises(ConflictError, match="disagree"):
        panels.adjudicate(workspace, team.people[2], *team.pair, "absent")


def test_an_annotator_sees_no_conflict_and_sets_no_overlap(workspace: Workspace) -> None:
    team = Team(workspace, 2)
    team.say(0, "present")
    team.say(1, "absent")
    with rights.acting(Actor("Bob", Role.ANNOTATOR)):
        with pytest.raises(Forbidden):
            panels.conflicts(workspace, team.id)
        with pytest.raises(Forbidden):
            panels.adjudicate(workspace, team.people[2], *team.pair, "absent")
    with rights.acting(Actor("Eve", Role.REVIEWER)):
        assert len(panels.conflicts(workspace, team.id)) == 1
        with pytest.raises(Forbidden):
            panels.set_overlap(workspace, team.name, 1)


def test_nobody_sees_what_another_said(workspace: Workspace) -> None:
    team, untouched = Team(workspace, 3), Team(workspace, 3)

    def seen(one: Team) -> list[tuple[object, ...]]:
        cards = next_cards(workspace, one.people[2], QueueQuery(limit=100)).cards
        return [
            (card.category, card.state, card.score, [k.category for k in card.known], card.disputes)
            for card in cards
        ]

    team.say(0, "present")
    team.say(1, "absent")
    assert seen(team) == seen(untouched)
    assert history(workspace, team.people[2]).entries == []
    with workspace.database.read() as session:
        assert team.pair not in {(i, c) for i, c, _ in labels.triples(session, team.id)}
        assert decisions.count_after(session, team.id, 0) == 0


def test_a_smaller_overlap_settles_what_is_complete_now(workspace: Workspace) -> None:
    team = Team(workspace, 3)
    team.say(0, "present")
    assert panels.set_overlap(workspace, team.name, 2) == 0
    assert team.state() == WAITS
    assert panels.set_overlap(workspace, team.name, 1) == 1
    assert team.state() == AGREED


@pytest.mark.one_database
@pytest.mark.parametrize("overlap", [0, -1, 21])
def test_an_impossible_overlap_is_refused(workspace: Workspace, overlap: int) -> None:
    name = "set"
    make_dataset(workspace, name)
    with pytest.raises(InputError, match="from 1 to 20"):
        panels.set_overlap(workspace, name, overlap)


def test_everything_else_absent_is_one_voice_of_several(workspace: Workspace) -> None:
    team = Team(workspace, 2)
    receipts = [
        verdicts.mark_others_absent(workspace, grant, uuid.uuid4().hex, team.pair[0])
        for grant in team.people
    ]
    assert [receipt.count for receipt in receipts] == [2, 2, 0]
    assert team.state()[0] is LabelState.ABSENT


def test_with_one_person_no_panel_is_begun(workspace: Workspace) -> None:
    team = Team(workspace, 1)
    team.say(0, "present")
    assert team.state() == (LabelState.PRESENT, None, ProposalStatus.DECIDED)
    team.say(1, "absent")
    assert team.last == "stale"


def test_a_new_run_asks_the_others_and_leaves_ties_alone(workspace: Workspace) -> None:
    team, tied = Team(workspace, 2), Team(workspace, 2)
    team.say(0, "present")
    tied.say(0, "present")
    tied.say(1, "absent")
    for one in (team, tied):
        with workspace.database.write() as session:
            run = make_run(session, one.id, serving=False, embedding_id=one.embedding_id)
            values = {"state": LabelState.PRESENT, "score": 0.5, "model_run_id": run.id}
            pair = {"image_id": one.pair[0], "category_id": one.pair[1]}
            session.add(Proposal(**values, **pair))
            session.flush()
            runs.serve(session, run)
    assert team.pair in team.offered(1)
    assert team.pair not in team.offered(0)
    assert tied.pair not in tied.offered(2)


def test_a_disputed_label_stays_until_all_have_spoken(workspace: Workspace) -> None:
    team = Team(workspace, 2)
    imported = (LabelState.PRESENT, None, ProposalStatus.DISPUTED)
    with workspace.database.write() as session:
        pair = min((i, c) for i, c, _ in labels.triples(session, team.id))
        run = runs.serving_run(session, team.id)
        assert run is not None
        found = Proposal(
            model_run_id=run.id,
            image_id=pair[0],
            category_id=pair[1],
            state=LabelState.ABSENT,
            score=0.9,
            disputes=True,
            status=ProposalStatus.DISPUTED,
        )
        session.add(found)
        session.flush()
        team.pair, team.proposal_id = pair, found.id
    first = team.say(0, "absent")
    assert team.state() == (LabelState.PRESENT, PanelStatus.WAITING, ProposalStatus.DISPUTED)
    second = team.say(1, "absent")
    assert team.state() == (LabelState.ABSENT, PanelStatus.AGREED, ProposalStatus.DECIDED)
    for person, said in enumerate((first, second)):
        undo.undo(workspace, team.people[person], uuid.uuid4().hex, said)
    assert team.state() == imported
    with workspace.database.read() as session:
        label = session.get_one(Label, pair)
        assert (label.source, label.decision_id) == (LabelSource.IMPORT, None)


def test_everything_undone_leaves_no_trace_in_labels(workspace: Workspace) -> None:
    """Whatever order three people undo in, the labels are those before."""
    for order in permutations(range(3)):
        team = Team(workspace, 3)
        with workspace.database.read() as session:
            before = set(labels.triples(session, team.id))
        said = [team.say(i, verdict) for i, verdict in enumerate(("present", "absent", "present"))]
        for i in order:
            undo.undo(workspace, team.people[i], uuid.uuid4().hex, said[i])
        assert team.state() == NOTHING
        with workspace.database.read() as session:
            assert set(labels.triples(session, team.id)) == before


@pytest.mark.parametrize("damage", [{"present": 0}, {"status": PanelStatus.CONFLICT}, {"size": 9}])
def test_the_doctor_works_a_damaged_panel_out_anew(
    workspace: Workspace, damage: dict[str, object]
) -> None:
    team = Team(workspace, 3)
    team.say(0, "present")
    team.say(1, "absent")
    team.say(2, "present")
    before = team.state()

    def found_panels() -> Finding:
        (found,) = (one for one in examine(workspace.settings) if one.check == "panels")
        return found

    assert found_panels().ok
    with workspace.database.write() as session:
        session.execute(update(Panel).values(**damage))
    assert found_panels().found.startswith("1 are not what follows")
    examine(workspace.settings, fix=True)
    assert found_panels().ok
    if "size" not in damage:  # how many were asked is not told by what was said
        assert team.state() == before

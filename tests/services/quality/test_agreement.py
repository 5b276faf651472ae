"""What several people said becomes figures; known answers are asked unannounced; parts are kept."""

import uuid

import pytest
from sqlalchemy import select

from app.services.access import rights
from app.services.access.grants import Grant
from app.services.access.rights import Actor, Forbidden, Role
from app.services.pictures import boxes
from app.services.quality import agreement
from app.services.reviewing import assignments, gold, panels, undo, verdicts
from app.services.reviewing.cards import Card
from app.services.reviewing.history import history
from app.services.reviewing.queue import QueueQuery, next_cards, release_leases, renew_leases
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import InputError, NotFoundError
from db.models import Gold
from db.queries import decisions, labels, upkeep
from tests.builders import coco_document, make_dataset, make_grant, make_proposals


def answer(workspace: Workspace, grant: Grant, card: Card, verdict: str) -> str:
    client_id = uuid.uuid4().hex
    one = Answer(client_id, card.image_id, card.category_id, verdict, card.proposal_id)
    (receipt,) = verdicts.decide(workspace, grant, [one])
    assert receipt.status == "saved", receipt
    return client_id


def cards_of(workspace: Workspace, grant: Grant, **query: object) -> list[Card]:
    found = next_cards(workspace, grant, QueueQuery(limit=100, **query)).cards  # type: ignore[arg-type]
    release_leases(workspace, grant)
    return found


def test_the_report_by_hand(workspace: Workspace) -> None:
    """Eight pairs, two people: both yes 4, both no 1, apart 3, so kappa is 1/7."""
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    panels.set_overlap(workspace, "set", 2)
    ada, bob = (make_grant(workspace, dataset_id, name) for name in ("ada", "bob"))
    first = [True, True, True, True, False, True, True, False]
    second = [True, True, True, True, False, False, False, True]
    for grant, said in ((ada, first), (bob, second)):
        for card, yes in zip(cards_of(workspace, grant), said, strict=True):
            answer(workspace, grant, card, "present" if yes else "absent")
    found = agreement.report(workspace, "set")
    (two,) = found.people
    assert (two.first, two.second, two.pairs, two.few) == ("ada", "bob", 8, True)
    assert two.same == 5 / 8
    # by chance: 6/8 * 5/8 + 2/8 * 3/8 = 36/64; (40 - 36) / (64 - 36)
    assert two.kappa == pytest.approx(4 / 28)
    assert found.together is not None
    assert (found.together.pairs, found.together.verdicts) == (8, 16)
    # 11 yes and 5 no: pi = (5/8 - (121 + 25)/256) / (110/256)
    assert found.together.fleiss == pytest.approx((160 - 146) / 110)
    assert found.together.alpha == pytest.approx(1 - 15 * 6 / (2 * 11 * 5))
    assert sum(one.pairs for one in found.categories) == 8


def test_what_is_not_complete_is_not_told(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    panels.set_overlap(workspace, "set", 3)
    for name in ("ada", "bob"):
        grant = make_grant(workspace, dataset_id, name)
        answer(workspace, grant, cards_of(workspace, grant)[0], "present")
    assert agreement.report(workspace, "set").together is None


def test_annotators_see_no_figures_of_others(workspace: Workspace) -> None:
    make_dataset(workspace)
    with rights.acting(Actor("Bob", Role.ANNOTATOR)):
        for forbidden in (
            lambda: agreement.report(workspace, "set"),
            lambda: gold.add(workspace, "set", 1),
            lambda: gold.clear(workspace, "set"),
            lambda: assignments.assign(workspace, "set", "ada", category="red"),
            lambda: assignments.unassign(workspace, "set", "ada"),
        ):
            with pytest.raises(Forbidden):
                forbidden()


def asked(workspace: Workspace, grant: Grant, secret: set[tuple[int, int]]) -> Card:
    """The first card with a known answer; there is one in every few pages."""
    for _ in range(200):
        for card in cards_of(workspace, grant):
            if (card.image_id, card.category_id) in secret:
                return card
    raise AssertionError("never asked")


def golden(workspace: Workspace, number: int) -> set[tuple[int, int]]:
    assert gold.add(workspace, "set", number) == number
    with workspace.database.read() as session:
        return {(one.image_id, one.category_id) for one in session.scalars(select(Gold))}


def test_a_known_answer_looks_like_any_question(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace, document=coco_document(images=12)).dataset_id
    make_proposals(workspace, dataset_id)
    secret = golden(workspace, 4)
    grant = make_grant(workspace, dataset_id)
    for _ in range(20):
        for card in cards_of(workspace, grant):
            shown = {(card.image_id, known.category_id) for known in card.known}
            assert not shown & secret
    card = asked(workspace, grant, secret)
    assert not card.disputes
    drawn = boxes.boxes(workspace, grant, card.image_id).boxes
    assert card.category_id not in {box.category_id for box in drawn}
    assert renew_leases(workspace, grant, [card.proposal_id]) == []


def test_a_known_answer_changes_no_label_and_is_asked_once(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace, document=coco_document(images=12)).dataset_id
    make_proposals(workspace, dataset_id)
    secret = golden(workspace, 1)
    ada, bob = (make_grant(workspace, dataset_id, name) for name in ("ada", "bob"))
    with workspace.database.read() as session:
        before = set(labels.triples(session, dataset_id))
    said = answer(workspace, ada, asked(workspace, ada, secret), "absent")
    answer(workspace, bob, asked(workspace, bob, secret), "present")
    pages = [cards_of(workspace, ada) for _ in range(60)]
    assert not {(card.image_id, card.category_id) for page in pages for card in page} & secret
    with workspace.database.read() as session:
        assert set(labels.triples(session, dataset_id)) == before
        assert decisions.count_after(session, dataset_id, 0) == 0
        assert upkeep.verdicts_without_label(session) == 0
    figures = {one.annotator: one for one in agreement.report(workspace, "set").gold}
    assert (figures["ada"].right, figures["ada"].missed, figures["ada"].accuracy) == (0, 1, 0.0)
    assert (figures["bob"].right, figures["bob"].pairs, figures["bob"].accuracy) == (1, 1, 1.0)
    assert figures["bob"].low == pytest.approx(0.2065, abs=0.001)  # Wilson, one of one
    (entry,) = history(workspace, ada).entries
    assert entry.undoable
    assert undo.undo(workspace, ada, uuid.uuid4().hex, said).status == "saved"
    assert [one.annotator for one in agreement.report(workspace, "set").gold] == ["bob"]


def test_known_answers_end(workspace: Workspace) -> None:
    make_dataset(workspace)
    golden(workspace, 3)
    assert gold.clear(workspace, "set") == 3
    for number in (0, gold.MOST + 1):
        with pytest.raises(InputError):
            gold.add(workspace, "set", number)


def test_a_part_is_offered_only_or_first(workspace: Workspace) -> None:
    document = coco_document(images=9)
    dataset_id = make_dataset(workspace, document=document).dataset_id
    make_proposals(workspace, dataset_id)
    ada, bob = (make_grant(workspace, dataset_id, name) for name in ("ada", "bob"))
    everything = len(cards_of(workspace, ada))
    (part,) = assignments.assign(workspace, "set", "ada", category="red")
    assert part.exclusive
    only = cards_of(workspace, ada)
    assert {card.category for card in only} == {"red"}
    assert len(cards_of(workspace, bob)) == everything
    assert assignments.unassign(workspace, "set", "ada") == 1
    assignments.assign(workspace, "set", "ada", category="red", exclusive=False)
    page = next_cards(workspace, ada, QueueQuery(limit=100))
    assert {card.category for card in page.cards} == {"red"}
    for card in page.cards:
        answer(workspace, ada, card, "present")
    rest = next_cards(workspace, ada, QueueQuery(limit=4, after=page.cursor))
    seen = [card.proposal_id for card in rest.cards]
    while rest.cursor is not None:
        rest = next_cards(workspace, ada, QueueQuery(limit=4, after=rest.cursor))
        seen += [card.proposal_id for card in rest.cards]
    assert len(seen) == len(set(seen)) == everything - len(only)


def test_parts_by_file_name_add_up(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace, document=coco_document(images=12)).dataset_id
    make_proposals(workspace, dataset_id)
    ada = make_grant(workspace, dataset_id, "ada")
    assignments.assign(workspace, "set", "ada", prefix="00", category="green")
    assert {card.category for card in cards_of(workspace, ada)} == {"green"}
    assert {card.file_name[:2] for card in cards_of(workspace, ada)} == {"00"}
    assignments.assign(workspace, "set", "ada", prefix="01")
    parts = {(card.file_name[:2], card.category) for card in cards_of(workspace, ada)}
    assert parts == {("00", "green"), ("01", "red"), ("01", "green"), ("01", "blue")}
    assignments.assign(workspace, "set", "ada", split="nowhere")
    assert len(assignments.parts(workspace, "set")) == 3


def test_a_part_by_split_shapes_the_queue_and_what_comes_along(workspace: Workspace) -> None:
    document = coco_document(images=12)
    for number, image in enumerate(document["images"]):
        image["split"] = ("train", "val")[number % 2]
    dataset_id = make_dataset(workspace, document=document).dataset_id
    make_proposals(workspace, dataset_id)
    ada = make_grant(workspace, dataset_id, "ada")
    assignments.assign(workspace, "set", "ada", split="val", category="green")
    page = next_cards(workspace, ada, QueueQuery(strategy="mixed", limit=100, siblings=True))
    assert page.cards
    shown = {(card.file_name, card.category) for card in page.cards}
    shown |= {(card.file_name, one.category) for card in page.cards for one in card.others}
    val = {image["file_name"] for image in document["images"] if image["split"] == "val"}
    assert {category for _, category in shown} == {"green"}
    assert {file_name for file_name, _ in shown} <= val


def test_a_part_must_exist(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    make_grant(workspace, dataset_id, "ada")
    with pytest.raises(InputError):
        assignments.assign(workspace, "set", "ada")
    with pytest.raises(NotFoundError, match="nobody"):
        assignments.assign(workspace, "set", "eve", category="red")
    with pytest.raises(NotFoundError, match="mauve"):
        assignments.assign(workspace, "set", "ada", category="mauve")

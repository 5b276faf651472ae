"""What a provider says of people, as people and roles: on both databases."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.access import audit_log, rights
from app.services.access.rights import Actor, Forbidden, Right, Role
from app.services.people import annotators, api_tokens, identities, people
from app.services.people.identities import Claims, SignInRefused, read_claims
from app.services.workspace import Workspace
from clsl_core.errors import ConflictError
from db.types import now
from tests.builders import make_dataset, make_workspace

HOURS = 24.0
ISSUER = "https://issuer.example"


def said(sub: str = "1", name: str = "Ada", *, ago: float = 60.0, **more: object) -> dict[str, Any]:
    """Claims as a provider makes them."""
    return {
        "iss": ISSUER,
        "sub": sub,
        "aud": "clsl",
        "iat": int(now().timestamp() - ago),
        "name": name,
        **more,
    }


def claims(sub: str = "1", name: str = "Ada", *, ago: float = 60.0, **more: object) -> Claims:
    return read_claims(said(sub, name, ago=ago, **more), "clsl", HOURS)


def opened(workspace: Workspace, **settings: object) -> Workspace:
    """The same workspace with other settings."""
    url = workspace.settings.database_url
    return make_workspace(workspace.data_dir, database_url=url, **settings)


def test_the_first_is_admin_and_the_next_a_viewer(workspace: Workspace) -> None:
    assert not identities.required(workspace)
    ada = identities.sign_in(workspace, claims("1", "Ada"))
    bob = identities.sign_in(workspace, claims("2", "Bob"))
    assert (ada.role, bob.role) == (Role.ADMIN, Role.VIEWER)
    assert identities.sign_in(workspace, claims("1", "Ada")) == ada
    assert identities.known(workspace, claims("2", "Bob")) == bob
    assert identities.required(workspace)
    noted = [
        (one.actor, one.action, one.details["role"]) for one in audit_log.events(workspace.database)
    ]
    assert noted == [("Bob", "sign-in.first", "viewer"), ("Ada", "sign-in.first", "admin")]


def test_a_local_name_is_nobody_who_signs_in(workspace: Workspace) -> None:
    people.set_role(workspace, "ada", "admin")
    new = identities.sign_in(workspace, claims("1", "Ada"))
    assert new.name == "Ada (2)"
    with pytest.raises(Forbidden, match="has not signed in"):
        people.actor(workspace, people.everybody(workspace)[1].id, signs_in=True)
    assert people.actor(workspace, int(new.person_id or 0), signs_in=True) == new


@pytest.mark.parametrize(
    ("default_role", "expected"), [(None, Role.VIEWER), ("annotator", Role.ANNOTATOR)]
)
def test_only_verified_addresses_named_begin_as_admins(
    workspace: Workspace, default_role: str | None, expected: Role
) -> None:
    named = opened(workspace, admins="ADA@example.org, eve@example.org", default_role=default_role)
    first = identities.sign_in(named, claims("1", "First"))
    address = {"email": "ada@example.org"}
    for number, verified in enumerate((False, "true", 1, None)):
        liar = identities.sign_in(named, claims(f"9{number}", **address, email_verified=verified))
        assert liar.role is expected
    kelvin = {"email": "eve@example.org".replace("e", "\u0435", 1), "email_verified": True}
    lookalike = identities.sign_in(named, claims("8", "Eve", **kelvin))
    ada = identities.sign_in(named, claims("2", "Ada", **address, email_verified=True))
    assert (first.role, lookalike.role, ada.role) == (expected, expected, Role.ADMIN)
    named.close()


def test_an_address_joins_nobody_to_anybody(workspace: Workspace) -> None:
    address = {"email": "ada@example.org", "email_verified": True}
    one = identities.sign_in(workspace, claims("1", "Ada", **address))
    two = identities.sign_in(workspace, claims("2", "Ada", **address))
    other = identities.sign_in(workspace, claims("1", "Ada", **address, iss="https://b.example"))
    assert len({one.person_id, two.person_id, other.person_id}) == 3
    assert [one.name, two.name, other.name] == ["Ada", "Ada (2)", "Ada (3)"]
    looks = identities.sign_in(workspace, claims("4", "\uff21DA"))
    assert looks.name == "\uff21DA (4)"


def test_members_only(workspace: Workspace) -> None:
    closed = opened(workspace, members="@example.org, bob@other.org")
    for sub, email, verified in (
        ("1", "ada@example.com", True),
        ("2", "ada@example.org", False),
        ("3", "ada@example.org@example.com", True),
        ("4", "eve@other.org", True),
        ("5", None, True),
    ):
        with pytest.raises(SignInRefused, match="CLSL_MEMBERS"):
            identities.sign_in(closed, claims(sub, email=email, email_verified=verified))
    assert people.everybody(workspace) == []
    for sub, email in (("1", "Ada@Example.org"), ("2", "bob@other.org")):
        identities.sign_in(closed, claims(sub, email=email, email_verified=True))
    assert len(people.everybody(workspace)) == 2
    closed.close()


def test_who_leaves_the_members_is_out_at_once(workspace: Workspace) -> None:
    identities.sign_in(workspace, claims())
    closed = opened(workspace, members="@example.org")
    with pytest.raises(SignInRefused, match="CLSL_MEMBERS"):
        identities.known(closed, claims())
    closed.close()


def test_demoted_and_switched_off_at_once(workspace: Workspace) -> None:
    identities.sign_in(workspace, claims("1", "Ada"))
    identities.sign_in(workspace, claims("2", "Bob"))
    token = api_tokens.create(workspace, "script", "Bob")
    make_dataset(workspace)
    people.set_role(workspace, "Bob", "reviewer")
    bob = identities.known(workspace, claims("2", "Bob"))
    assert bob.role is Role.REVIEWER
    people.switch(workspace, "Bob", on=False)
    grant = api_tokens.check(workspace, token, "set")
    for act in (
        lambda: identities.known(workspace, claims("2", "Bob")),
        lambda: identities.sign_in(workspace, claims("2", "Bob", ago=1)),
        lambda: people.actor(workspace, grant.annotator_id),
        lambda: people.actor_by_name(workspace, "Bob"),
        lambda: annotators.enter(workspace, "set", "Bob"),
    ):
        with pytest.raises(Forbidden, match="'Bob' is switched off"):
            act()
    people.switch(workspace, "Bob", on=True)
    assert identities.known(workspace, claims("2", "Bob")).role is Role.REVIEWER


def test_the_last_admin_who_signs_in_stays(workspace: Workspace) -> None:
    people.set_role(workspace, "local", "admin")
    identities.sign_in(workspace, claims("1", "Ada"))
    for act in (
        lambda: people.switch(workspace, "Ada", on=False),
        lambda: people.set_role(workspace, "Ada", "viewer"),
    ):
        with pytest.raises(ConflictError, match="last administrator"):
            act()
    people.set_role(workspace, "local", "viewer")
    identities.sign_in(workspace, claims("2", "Bob"))
    people.set_role(workspace, "Bob", "admin")
    assert not people.switch(workspace, "Ada", on=False).active


def test_a_sign_out_ends_it_and_those_before(workspace: Workspace) -> None:
    old, newer = claims(ago=100), claims(ago=50)
    identities.sign_in(workspace, old)
    identities.sign_out(workspace, newer)
    identities.sign_out(workspace, old)  # later in time, earlier in sign-in
    for ended in (old, newer):
        for enter in (identities.known, identities.sign_in):
            with pytest.raises(SignInRefused, match="signed out"):
                enter(workspace, ended)
    assert identities.sign_in(workspace, claims(ago=1)).role is Role.ADMIN


def test_a_new_name_is_taken_over_and_an_old_cookie_does_not_bring_it_back(
    workspace: Workspace,
) -> None:
    before = identities.sign_in(workspace, claims("1", "Ada", ago=100))
    identities.sign_in(workspace, claims("2", "Bob"))
    after = identities.sign_in(workspace, claims("1", "Bob", ago=50))
    assert (after.name, after.person_id) == ("Bob (2)", before.person_id)
    assert identities.sign_in(workspace, claims("1", "Ada", ago=100)).name == "Bob (2)"
    assert audit_log.events(workspace.database)[0].details == {"before": "Ada", "name": "Bob (2)"}
    # The role is what people here made it, not what a setting would say of a newcomer.
    people.set_role(workspace, "Bob", "admin")
    people.set_role(workspace, "Bob (2)", "viewer")
    assert identities.sign_in(workspace, claims("1", "Bob", ago=10)).role is Role.VIEWER


def test_who_was_known_by_name_can_be_linked(workspace: Workspace) -> None:
    people.set_role(workspace, "Ada", "reviewer")
    identities.sign_in(workspace, claims("1", "Admin"))
    identities.sign_in(workspace, claims("2", "Ada"))
    with pytest.raises(ConflictError, match="signs in already"):
        people.link(workspace, "Ada (2)", "Admin")
    with pytest.raises(ConflictError, match="never signed in"):
        people.link(workspace, "Ada", "Ada (2)")
    with pytest.raises(ConflictError, match="last administrator"):
        people.link(workspace, "Admin", "Ada")
    with rights.acting(Actor("x", Role.REVIEWER)), pytest.raises(Forbidden):
        people.link(workspace, "Ada (2)", "Ada")
    people.link(workspace, "Ada (2)", "Ada")
    found = identities.known(workspace, claims("2", "Ada"))
    assert (found.name, found.role) == ("Ada", Role.REVIEWER)


def test_a_key_is_made_for_the_proved_person_whatever_the_name(workspace: Workspace) -> None:
    dataset_id = make_dataset(workspace).dataset_id
    ada = identities.sign_in(workspace, claims("1", "Ada"))
    bob = identities.sign_in(workspace, claims("2", "Bob"))
    with rights.acting(bob):
        grant = annotators.enter(workspace, "set", "Ada")
        assert not rights.may(Right.DECIDE)
    assert (grant.annotator_id, grant.dataset_id) == (bob.person_id, dataset_id)
    assert ada.person_id != bob.person_id


def test_two_who_come_first_at_once_make_one_admin(workspace: Workspace) -> None:
    found: list[Actor] = []
    start = threading.Barrier(4)

    def come(sub: str) -> None:
        start.wait()
        found.append(identities.sign_in(workspace, claims(sub, "Ada")))

    threads = [threading.Thread(target=come, args=(sub,)) for sub in ("1", "2", "3", "3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    everybody = people.everybody(workspace)
    assert sorted(one.name for one in everybody) == ["Ada", "Ada (2)", "Ada (3)"]
    assert [one.role for one in everybody].count(Role.ADMIN) == 1


def test_a_setting_decides_whether_it_is_required(workspace: Workspace) -> None:
    must, off = opened(workspace, sign_in="required"), opened(workspace, sign_in="off")
    assert identities.required(must)
    identities.sign_in(workspace, claims())
    assert identities.required(workspace)
    assert not identities.required(off)
    must.close()
    off.close()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"iss": None}, "'iss'"),
        ({"iss": ""}, "'iss'"),
        ({"sub": 7}, "'sub'"),
        ({"sub": "x" * 256}, "'sub'"),
        ({"sub": "a\x00b"}, "'sub'"),
        ({"aud": "other"}, "another program"),
        ({"aud": None}, "another program"),
        ({"aud": ["other", "clsl2"]}, "another program"),
        ({"iat": None}, "does not say when"),
        ({"iat": "nan"}, "does not say when"),
        ({"iat": 1e300}, "does not say when"),
        ({"iat": 0}, "more than 24 hours ago"),
        ({"iat": now().timestamp() + 3600}, "clock is ahead"),
    ],
)
def test_claims_that_are_not_taken(changed: dict[str, object], message: str) -> None:
    with pytest.raises(SignInRefused, match=message):
        read_claims(said() | changed, "clsl", HOURS)


@given(st.text() | st.none() | st.integers() | st.lists(st.text()))
def test_any_name_can_be_shown_and_stored(name: object) -> None:
    found = read_claims(said() | {"name": name}, "clsl", HOURS).name
    assert annotators.check_annotator(found + " (9999)")
    assert 1 <= len(found) <= identities.NAME_LENGTH
    assert not any("\u202a" <= sign <= "\u202e" or sign < " " for sign in found)


def test_names_that_mislead_are_marked() -> None:
    assert claims(name="  Ada\u202e \n adA\x00 ").name == "Ada\ufffd \ufffd adA\ufffd"
    assert claims(name="\u2800 ").name == "somebody"
    assert claims(name="", preferred_username="ada").name == "ada"
    assert len(claims(name="x" * 5000).name) == identities.NAME_LENGTH


def test_a_sign_in_lasts_as_long_as_it_is_set() -> None:
    moment = said(ago=timedelta(hours=3).total_seconds())
    assert read_claims(moment, "clsl", 4.0).subject == "1"
    with pytest.raises(SignInRefused, match="more than 2 hours ago"):
        read_claims(moment, "clsl", 2.0)

"""Who may do what is decided in the services; tokens are kept as a hash; what is done is noted."""

import hashlib
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from app.services.access import audit_log, rights
from app.services.access.grants import AccessDenied, Grant
from app.services.access.rights import Actor, Forbidden, Role
from app.services.datasets import overview
from app.services.exporting import export
from app.services.jobs.table import JobKind
from app.services.learning import triggers
from app.services.people import api_tokens, people
from app.services.reviewing import flags, queue, undo, verdict_file, verdicts
from app.services.reviewing.queue import QueueQuery
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from clsl_core.errors import ClslError, ConflictError, InputError, NotFoundError
from db.models import Annotator, ApiToken
from db.types import now
from tests.builders import make_dataset, make_grant, make_proposals

Act = Callable[[Workspace, Grant], object]

ACTS: dict[str, tuple[Role, Act]] = {
    "cards": (Role.ANNOTATOR, lambda w, g: queue.next_cards(w, g, QueueQuery())),
    "renew": (Role.ANNOTATOR, lambda w, g: queue.renew_leases(w, g, [1])),
    "decide": (
        Role.ANNOTATOR,
        lambda w, g: verdicts.decide(w, g, [Answer(uuid.uuid4().hex, 1, 1, "absent")]),
    ),
    "absent": (Role.ANNOTATOR, lambda w, g: verdicts.mark_others_absent(w, g, "absent-id", 1)),
    "undo": (Role.ANNOTATOR, lambda w, g: undo.undo(w, g, "undo-id-1", "nothing")),
    "redo": (Role.ANNOTATOR, lambda w, g: undo.redo(w, g, "redo-id-1", "nothing")),
    "flag": (Role.ANNOTATOR, lambda w, g: flags.flag(w, g, "flag-id-1", 1)),
    "unflag": (Role.ANNOTATOR, lambda w, g: flags.unflag(w, g, "unflag-1", 1)),
    "export": (
        Role.REVIEWER,
        lambda w, g: export.export_dataset(w, "set", w.data_dir / "x.json"),
    ),
    "proposals": (
        Role.REVIEWER,
        lambda w, g: export.write_proposals(w, "set", w.data_dir / "x.csv"),
    ),
    "export job": (Role.REVIEWER, lambda w, g: w.jobs.submit(JobKind.EXPORT, g.dataset_id)),
    "import job": (Role.ADMIN, lambda w, g: w.jobs.submit(JobKind.IMPORT, g.dataset_id)),
    "run here": (
        Role.ADMIN,
        lambda w, g: w.jobs.run_here(JobKind.DEMO, None, {}, {JobKind.DEMO: lambda _: {}}),
    ),
    "cancel": (Role.ADMIN, lambda w, g: w.jobs.cancel(1)),
    "loop": (Role.ADMIN, lambda w, g: triggers.start(w, g.dataset_id)),
    "setting": (Role.ADMIN, lambda w, g: overview.set_retrain_after(w, "set", 3)),
    "role": (Role.ADMIN, lambda w, g: people.set_role(w, "bob", "viewer")),
    "token": (Role.ADMIN, lambda w, g: api_tokens.create(w, "script", "ada")),
    "revoke": (Role.ADMIN, lambda w, g: api_tokens.revoke(w, 1)),
}


def begun(workspace: Workspace) -> Grant:
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    workspace.jobs.submit(JobKind.DEMO, None)
    grant = make_grant(workspace, dataset_id)
    api_tokens.create(workspace, "first", "ada")
    return grant


pytestmark = pytest.mark.filled(by=begun)


@pytest.fixture
def grant(known: Grant) -> Grant:
    return known


@pytest.mark.parametrize("role", list(Role))
def test_every_act_takes_its_role(workspace: Workspace, grant: Grant, role: Role) -> None:
    roles, refused = list(Role), []
    for name, (least, act) in ACTS.items():
        allowed = roles.index(role) >= roles.index(least)
        with rights.acting(Actor("ada", role)):
            if allowed:
                act(workspace, grant)
                continue
            with pytest.raises(Forbidden, match=f"takes the role {least}"):
                act(workspace, grant)
            refused.append(name)
    assert len(refused) == {"viewer": 19, "annotator": 11, "reviewer": 8, "admin": 0}[role]
    assert rights.current() == rights.PROGRAM


def test_verdicts_in_bulk_take_a_role_too(workspace: Workspace, grant: Grant) -> None:
    file = workspace.data_dir / "v.csv"
    file.write_text("file_name,category,verdict\n000.jpg,green,absent\n")
    with rights.acting(Actor("ada", Role.VIEWER)), pytest.raises(Forbidden):
        verdict_file.decide_file(workspace, "set", file, "ada")
    assert verdict_file.decide_file(workspace, "set", file, "ada").saved == 1


def test_roles_are_given_and_the_last_administrator_stays(
    workspace: Workspace, grant: Grant
) -> None:
    assert [(p.name, p.role) for p in people.everybody(workspace)] == [("ada", Role.ADMIN)]
    with pytest.raises(ConflictError, match="last administrator"):
        people.set_role(workspace, "ada", "viewer")
    people.set_role(workspace, "bob", "admin")
    assert people.set_role(workspace, "ada", "viewer").role is Role.VIEWER
    assert people.actor(workspace, grant.annotator_id).role is Role.VIEWER
    assert people.actor_by_name(workspace, "ada").role is Role.VIEWER
    assert people.actor_by_name(workspace, "new").role is Role.ADMIN
    with pytest.raises(InputError, match="there is no role"):
        people.set_role(workspace, "bob", "king")
    with pytest.raises(NotFoundError):
        people.actor(workspace, 99)


def test_a_token_is_shown_once_and_ends(workspace: Workspace, grant: Grant) -> None:
    token = api_tokens.create(workspace, "nightly", "ada", days=2)
    with workspace.database.read() as session:
        kept = session.scalars(select(ApiToken).where(ApiToken.name == "nightly")).one()
        everything = [str(row) for row in session.execute(text("SELECT * FROM api_token"))]
    assert kept.digest == hashlib.sha256(token.encode()).hexdigest()
    assert not any(token in row for row in everything)
    assert api_tokens.check(workspace, token, "set") == Grant(grant.annotator_id, grant.dataset_id)
    assert next(t for t in api_tokens.tokens(workspace) if t.id == kept.id).last_used_at is not None
    with pytest.raises(NotFoundError, match="X-CLSL-Dataset"):
        api_tokens.check(workspace, token, "other")
    for wrong in ("", "clsl_", token[:-1], token + "x", kept.digest, "\ud800"):
        with pytest.raises(AccessDenied):
            api_tokens.check(workspace, wrong, "set")
    with workspace.database.write() as session:
        session.execute(update(ApiToken).values(expires_at=now() - timedelta(seconds=1)))
    with pytest.raises(AccessDenied):
        api_tokens.check(workspace, token, "set")
    other = api_tokens.create(workspace, "other", "ada")
    api_tokens.revoke(
        workspace, next(t.id for t in api_tokens.tokens(workspace) if t.name == "other")
    )
    with pytest.raises(AccessDenied):
        api_tokens.check(workspace, other, "set")


@pytest.mark.refusal
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", "nobody"), "nobody called"),
        (("", "ada"), "cannot be"),
        (("x", "ada", 0), "cannot end after 0"),
    ],
)
def test_tokens_that_cannot_be(
    workspace: Workspace, grant: Grant, arguments: tuple, message: str
) -> None:
    with pytest.raises(ClslError, match=message):
        api_tokens.create(workspace, *arguments)


def test_what_is_done_is_noted_with_who_did_it(workspace: Workspace, grant: Grant) -> None:
    with rights.acting(Actor("ada", Role.ADMIN)):
        job = workspace.jobs.submit(JobKind.EMBED, grant.dataset_id)
        workspace.jobs.cancel(job.id)
        overview.set_retrain_after(workspace, "set", 7)
        people.set_role(workspace, "bob", "viewer")
    with rights.acting(Actor("bob", Role.VIEWER)), pytest.raises(Forbidden):
        workspace.jobs.cancel(job.id)
    found = audit_log.events(workspace.database)
    assert [(one.actor, one.action) for one in found[:4]] == [
        ("ada", "role"),
        ("ada", "setting"),
        ("ada", "job.cancel"),
        ("ada", "job.embed"),
    ]
    assert found[1].details == {"retrain_after": 7}
    assert [one.actor for one in found[4:]] == ["the program"] * len(found[4:])
    assert audit_log.events(workspace.database, limit=1, before=found[0].id) == [found[1]]


def test_what_is_refused_leaves_no_trace(workspace: Workspace, grant: Grant) -> None:
    before = audit_log.events(workspace.database)
    with pytest.raises(NotFoundError):
        workspace.jobs.cancel(99)
    with pytest.raises(NotFoundError):
        api_tokens.revoke(workspace, 99)
    assert audit_log.events(workspace.database) == before
    with workspace.database.read() as session:
        assert session.scalars(select(Annotator.role)).all() == [Role.ADMIN]

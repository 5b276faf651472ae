"""A table maps categories to another vocabulary: all at one go, and back as one."""

import pytest

from app.services.access import rights
from app.services.access.rights import Actor, Forbidden, Role
from app.services.categories import changes, mapping
from app.services.categories.changes import Policy, Rule
from app.services.workspace import Workspace
from clsl_core.errors import InputError
from tests.builders import coco_document, make_dataset
from tests.services.categories.test_changes import everything


def five(workspace: Workspace) -> None:
    """A dataset of five categories."""
    make_dataset(workspace, document=coco_document(images=10, categories=5))


pytestmark = pytest.mark.filled(by=five)


def shown(workspace: Workspace) -> list[str]:
    return [one.name for one in changes.listed(workspace, "set") if one.merged_into is None]


@pytest.mark.parametrize("separator", [",", ";"])
def test_renames_and_merges_are_one(workspace: Workspace, separator: str) -> None:
    before = everything(workspace)
    rows = [
        ("from", "to"),
        ("red", "warm"),
        ("green", "cold"),
        ("blue", "cold"),
        ("white", "grey"),
        ("grey", ""),
    ]
    table = "\r\n".join(separator.join(row) for row in rows)
    plan = mapping.plan(workspace, "set", table)
    assert [(step.stays, step.name, step.merge is None) for step in plan.steps] == [
        ("red", "warm", True),
        ("green", "cold", False),
        ("grey", "grey", False),
    ]
    assert plan.left == 0
    assert everything(workspace) == before
    made = mapping.apply(workspace, "set", table, Policy.SAME)
    assert len({one.batch for one in made}) == 1
    assert shown(workspace) == ["warm", "cold", "grey"]
    undone = changes.undo(workspace, "set", made[0].id)
    assert len(undone.changes) == len(made) == 4
    assert everything(workspace) == before


def test_one_forecast_is_what_then_happens(workspace: Workspace) -> None:
    table = "from,to\nred,colour\ngreen,colour\nblue,colour\n"
    (step,) = mapping.plan(workspace, "set", table).steps
    assert step.merge is not None
    expected = step.merge.chosen(Policy.WIDER, Rule.TARGET)
    mapping.apply(workspace, "set", table, Policy.WIDER)
    (row,) = [one for one in changes.listed(workspace, "set") if one.name == "colour"]
    assert (row.present, row.absent) == (expected.present, expected.absent) == (6, 0)


@pytest.mark.refusal
@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("a,b\nred,warm\n", "line 1 is 'a,b'; the columns from and to"),
        ("", "columns from and to"),
        ("from,to\nred,warm,more\n", "line 2 has 3 cells"),
        ("from,to\n\npurple,warm\n", "line 3: there is no category called 'purple'"),
        ("from,to\nred,warm\nred,cold\n", "line 3: 'red' is in line 2 already"),
        ("from,to\nred,green\ngreen,red\n", "line 2 maps to 'green', which line 3.*a loop"),
        ("from,to\nred,green\ngreen,blue\nblue,red\n", "line 2 .*a loop"),
        ("from,to\nred,green\ngreen,warm\n", "line 2 .*a chain"),
        ('from,to\nred,"warm\ncold"\n', "printable"),
        ('from,to\nred,"warm', "line 2 cannot be read"),
        ("from,to\nred,\ngreen,green\n", "changes nothing"),
        ("from,to\nred,\u202ewarm\n", "printable"),
    ],
)
def test_what_is_wrong_is_named_by_line(workspace: Workspace, table: str, message: str) -> None:
    before = everything(workspace)
    with pytest.raises(InputError, match="(?s)" + message):
        mapping.apply(workspace, "set", table, Policy.SAME)
    assert everything(workspace) == before


def test_all_that_is_wrong_is_told_at_once(workspace: Workspace) -> None:
    table = "from,to\nred,warm\nno,x\nred,cold\n"
    with pytest.raises(InputError, match=r"(?s)line 3.*line 4"):
        mapping.plan(workspace, "set", table)


def test_names_are_text_whatever_they_look_like(workspace: Workspace) -> None:
    mapping.apply(workspace, "set", "from,to\nred,'=1+1\ngreen,<script>\n", Policy.SAME)
    assert shown(workspace)[:2] == ["=1+1", "<script>"]
    mapping.apply(workspace, "set", "from,to\n'=1+1,red\n<script>,green\n", Policy.SAME)
    assert shown(workspace)[:2] == ["red", "green"]


def test_an_error_in_the_last_step_changes_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(workspace)

    def fails(*_: object) -> None:
        raise RuntimeError("the last step")

    monkeypatch.setattr(mapping, "add_rename", fails)
    with pytest.raises(RuntimeError, match="the last step"):
        mapping.apply(workspace, "set", "from,to\nred,warm\ngreen,warm\n", Policy.SAME)
    assert everything(workspace) == before


def test_only_administrators_map(workspace: Workspace) -> None:
    with rights.acting(Actor("rita", Role.REVIEWER)), pytest.raises(Forbidden):
        mapping.apply(workspace, "set", "from,to\nred,warm\n", Policy.SAME)


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(InputError, match="UTF-8"):
        mapping.decoded(b"\xff\xfe", "a.csv")
    with pytest.raises(InputError, match="larger"):
        mapping.decoded(b"x" * (mapping.MOST_BYTES + 1), "a.csv")

"""The end of a run says what it left out, whether one process ran the tests or several."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = """
import pytest

def test_first(): pass

@pytest.mark.parametrize("number", range(3))
@pytest.mark.second_order("with numbers")
def test_numbers(number): pass

@pytest.mark.second_order("on the moon")
def test_moon(): pass
"""


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (["-m", "not second_order"], "4 tests (3 with numbers, 1 on the moon)."),
        (["-m", "not second_order", "-n", "2"], "4 tests (3 with numbers, 1 on the moon)."),
        (["-m", "second_order", "-n", "2"], None),
        (["-m", "not second_order", "-k", "first"], None),
    ],
    ids=["first", "first in two processes", "second", "by name"],
)
def test_what_is_left_to_the_other_command_is_said(
    tmp_path: Path, chosen: list[str], said: str | None
) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = second_order(why): left out\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.orders", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*command, *chosen, str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.findall(r"Left to `make test-all`: (.*)", done.stdout)
    assert found == ([said] if said else [])


def test_every_reason_to_leave_a_test_out_is_in_the_rule() -> None:
    rule = (ROOT / "CONTRIBUTING.md").read_text()
    code = "".join(path.read_text() for path in ROOT.glob("tests/*/**/*.py"))
    code += (ROOT / "tests/conftest.py").read_text()
    reasons = set(re.findall(r'mark\.second_order\("([^"]+)"\)', code))
    assert reasons
    for reason in reasons:
        assert f"*{reason}*" in rule

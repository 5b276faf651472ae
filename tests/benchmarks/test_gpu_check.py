"""The GPU check, tried without one: every section on the processor at tiny sizes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import gpu_check
from benchmarks.gpu.agreement import relative_error
from benchmarks.gpu.section import NotRun, Row, Section, Setup
from benchmarks.gpu.timing import median_seconds
from tests.benchmarks.drawn import write_tokens

ROOT = Path(__file__).parents[2]
HERE = ["--device", "cpu", "--tiny"]
NOT_THERE = ["sqlalchemy", "streamlit", "skimage", "huey", "alembic", "pydantic_settings", "orjson"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """All is so tiny that threads waiting for each other take most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Fake(Section):
    """A section made of given rows; an error among them is raised."""

    generate: Callable[[Setup], Iterator[Row]] = field(kw_only=True)

    def rows(self, setup: Setup) -> Iterator[Row]:
        return self.generate(setup)


def section(name: str, generate: Any, correctness: bool = False) -> Section:
    return Fake(name, name.upper(), 9, correctness, generate=generate)


def run(
    monkeypatch: pytest.MonkeyPatch, path: Path, *sections: Section, minutes: float = 5
) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(gpu_check, "SECTIONS", sections)
    arguments = [*HERE, "--json", str(path), "--minutes", str(minutes)]
    return gpu_check.main(arguments), json.loads(path.read_text())


def rows(*found: Row | BaseException) -> Any:
    def generate(setup: Setup) -> Iterator[Row]:
        for row in found:
            if isinstance(row, BaseException):
                raise row
            yield row

    return generate


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a card")
def test_a_bare_machine_without_a_card_is_told_so() -> None:
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({NOT_THERE}))\n"
        "from importlib import import_module\n"
        "from benchmarks.gpu_check import SECTIONS, main\n"
        "for section in SECTIONS: import_module('benchmarks.gpu.' + section.name)\n"
        "sys.exit(main([]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "not run: no CUDA device\n"), done.stderr


@pytest.mark.slow
def test_every_section_runs_on_the_processor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tokens = tmp_path / "out.json", write_tokens(tmp_path / "drawn.npz")
    assert gpu_check.main([*HERE, "--json", str(out), "--tokens", str(tokens)]) == 0
    printed = capsys.readouterr().out
    found = json.loads(out.read_text())
    states = {verdict["name"]: verdict["state"] for verdict in found["summary"]}
    assert states.pop("search") == "not run"
    assert set(states.values()) == {"done"}, found["summary"]
    assert {cell["section"] for cell in found["cells"]} == set(states)
    judged = [cell for cell in found["cells"] if "sound" in cell]
    assert {"agreement", "memory", "trainings"} <= {cell["section"] for cell in judged}
    assert all(cell["sound"] for cell in judged)
    assert any(cell["what"] == "drawn.npz" for cell in judged)
    gpu_check.main(["--markdown", str(out)])
    assert capsys.readouterr().out.endswith(printed)


@pytest.mark.parametrize(("correctness", "code"), [(True, 1), (False, 0)])
@pytest.mark.parametrize(
    ("bad", "state", "said"),
    [
        (ValueError("first\nsecond"), "failed", "second"),
        ({"what": "row", "failed": "it broke"}, "failed", "row"),
        ({"what": "row", "sound": False}, "wrong", "row"),
    ],
)
def test_what_breaks_is_recorded_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    bad: Any,
    state: str,
    said: str,
    correctness: bool,
    code: int,
) -> None:
    broken = section("a", rows({"what": "kept"}, bad), correctness)
    sound = section("b", rows({"what": "fine", "sound": True}), correctness=True)
    ended, found = run(monkeypatch, tmp_path / "out.json", broken, sound)
    assert ended == code
    assert [verdict["state"] for verdict in found["summary"]] == [state, "done"]
    assert said in found["summary"][0]["reason"]
    kept = [cell["what"] for cell in found["cells"]]
    assert (kept[0], kept[-1]) == ("kept", "fine")


def test_what_has_no_time_is_cut_short_or_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def slow(setup: Setup) -> Iterator[Row]:
        yield {"what": "in time"}
        try:
            time.sleep(60)
        except Exception:  # as a library may that catches everything
            pytest.fail("the limit was swallowed")
        yield {"what": "too late"}

    sections = section("a", slow, correctness=True), section("b", rows({"what": "b"}))
    began = time.monotonic()
    ended, found = run(monkeypatch, tmp_path / "out.json", *sections, minutes=0.01)
    assert time.monotonic() - began < 30
    assert ended == 0
    assert [verdict["state"] for verdict in found["summary"]] == ["cut short", "skipped"]
    assert [cell["what"] for cell in found["cells"]] == ["in time"]


def test_what_cannot_run_here_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unable = section("a", rows(NotRun("faiss is not installed")), correctness=True)
    ended, found = run(monkeypatch, tmp_path / "out.json", unable)
    assert (ended, found["summary"][0]["state"]) == (0, "not run")
    assert found["summary"][0]["reason"] == "faiss is not installed"


def test_a_missing_faiss_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    arguments = [*HERE, "--only", "search", "--json", str(tmp_path / "out.json")]
    assert gpu_check.main(arguments) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["summary"][0]["reason"] == "faiss is not installed"


def test_a_section_that_cannot_be_imported_breaks_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    for name in [name for name in sys.modules if name.startswith("benchmarks.gpu.")]:
        if name.rpartition(".")[2] in ("embedding", "towers"):
            monkeypatch.delitem(sys.modules, name)
    chosen = ["--only", "environment", "embedding", "search"]
    assert gpu_check.main([*HERE, *chosen, "--json", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())["summary"]
    assert [verdict["state"] for verdict in found] == ["done", "not run", "failed"]
    assert "open_clip" in found[2]["reason"]


def test_results_that_cannot_be_read_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.json"
    path.write_text("[]")
    assert gpu_check.main(["--markdown", str(path)]) == 1
    assert "holds no results of gpu_check" in capsys.readouterr().err


def test_an_error_is_relative_and_never_hides_what_is_no_number() -> None:
    exact = np.array([3.0, 4.0])
    assert relative_error(exact, exact) == 0
    assert relative_error([3.0, 4.5], exact) == pytest.approx(0.1)
    assert np.isnan(relative_error([np.nan, 4.0], exact))


def test_calls_to_warm_up_do_not_count() -> None:
    pauses = iter([0.2, 0.0, 0.0, 0.0])
    seconds = median_seconds(lambda: time.sleep(next(pauses)), torch.device("cpu"), 3)
    assert seconds < 0.1
    assert next(pauses, None) is None

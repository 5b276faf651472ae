"""The page's script: its modules, how browsers get them, and its own tests under Node."""

from __future__ import annotations

import json
import posixpath
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.api import page_script
from app.components.page_script import MODULES, PATH, loader
from app.services.people.preferences import CARD_KEYS, GRID_KEYS

REPOSITORY = Path(__file__).parents[2]
NODE = shutil.which("node")
OLDEST = 20  # the first with the clock that the tests move


def node_version() -> int:
    if NODE is None:
        return 0
    said = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.removeprefix("v").split(".")[0])


@pytest.mark.parametrize("name", ["outbox", "keys", "queue"])
def test_under_node(name: str) -> None:
    if NODE is None or node_version() < OLDEST:
        pytest.skip(f"the script's own tests need Node {OLDEST} or newer (Debian: nodejs)")
    ran = subprocess.run(
        [NODE, "--test", f"tests/js/{name}.test.js"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    passed = re.search(r"^# pass (\d+)$", ran.stdout, re.MULTILINE)
    assert passed is None or int(passed.group(1)) > 5


def test_the_browser_side_never_parses_text_as_markup() -> None:
    scripts = b"\n".join(MODULES.values()).decode()
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in scripts
    assert "http:" not in scripts.replace("http://www.w3.org/2000/svg", "")  # a name, no address
    assert "https:" not in scripts
    assert scripts.count("export default") == 1


IMPORT = re.compile(r"^import \{[^}]+\} from \"(\.[^\"]+)\";$", re.MULTILINE)


def imports(name: str) -> set[str]:
    """The modules that a module imports, by name; fails for anything but a relative import."""
    text = MODULES[name].decode()
    found = IMPORT.findall(text)
    assert len(found) == len(re.findall(r"\bimport\b", re.sub(r"//.*", "", text))), name
    folder = posixpath.dirname(name)
    return {posixpath.normpath(posixpath.join(folder, one)) for one in found}


def test_the_modules_import_one_another_in_one_direction() -> None:
    above: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        assert name not in above, f"a circle: {' → '.join([*above, name])}"
        above.append(name)
        for other in imports(name) if name not in seen else ():
            visit(other)
        seen.add(above.pop())

    visit("review.js")
    assert seen == set(MODULES)  # none is left over


def test_browsers_get_exactly_these_modules_and_keep_them() -> None:
    client = TestClient(Starlette(routes=[page_script.ROUTE]))
    for name, content in MODULES.items():
        answer = client.get(PATH + name)
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["content-type"].startswith("text/javascript")
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/api/script/0000000000000000/review.js",  # another version's
        f"{PATH}nothing.js",
        f"{PATH}..%2f__init__.py",
        f"{PATH}../../../__init__.py",
        f"{PATH}card",
        PATH,
    ],
)
def test_there_is_nothing_else_under_the_address(path: str) -> None:
    answer = TestClient(Starlette(routes=[page_script.ROUTE])).get(path)
    assert answer.status_code == 404
    assert "immutable" not in answer.headers.get("cache-control", "")


def test_the_loader_names_every_module_and_no_other_place() -> None:
    text = loader()
    assert all(json.dumps(name) in text for name in MODULES)
    assert PATH in text
    assert "://" not in text


@pytest.mark.parametrize(("mode", "keys"), [("card", CARD_KEYS), ("grid", GRID_KEYS)])
def test_the_help_lists_exactly_the_actions_that_have_keys(mode: str, keys: dict[str, str]) -> None:
    listed = re.search(rf"^  {mode}: \{{\n(.*?)^  \}},$", MODULES["keys.js"].decode(), re.M | re.S)
    assert listed
    assert set(re.findall(r"^    (\w+):", listed.group(1), re.M)) == set(keys)

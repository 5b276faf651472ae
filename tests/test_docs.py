"""The documentation is true where a machine can tell."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


FOLDERS = "app|benchmarks|clsl_core|db|migrations|tests"
HISTORY = ("CHANGELOG.md", "docs/adr/")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_are_there(page: Path) -> None:
    if str(page.relative_to(ROOT)).startswith(HISTORY):
        return  # tells of what was
    for named in re.findall(rf"\b((?:{FOLDERS})/[\w/*]+\.(?:py|js))\b", page.read_text()):
        assert list(ROOT.glob(named)), f"{page.name}: {named}"


def test_a_name_without_a_folder_stands_beside_the_one_before_it() -> None:
    for row in re.findall(r"^\|.*", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE):
        folder = ROOT / "nowhere"
        for named in re.findall(r"`([\w/]+\.(?:py|js))", row):
            place = ROOT / named if "/" in named else folder / named
            assert place.is_file(), row
            folder = place.parent


def test_the_picture_of_the_floors_is_that_of_the_contracts() -> None:
    lines = (ROOT / "ARCHITECTURE.md").read_text().splitlines()
    picture = [line.strip() for line in lines if line.startswith("    ")]
    words = [word for line in picture for word in re.split(r" {2,}", line)]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    for contract in settings["contracts"]:
        if "containers" in contract:
            floors = [layer.replace(" | ", " · ") for layer in contract["layers"]]
            assert [word for word in words if word in floors] == floors


def test_the_command_line_reference_is_current(tmp_path: Path) -> None:
    output = tmp_path / "cli.md"
    command = ["-m", "typer", "app/cli/main.py", "utils", "docs", "--name", "clsl", "--output"]
    subprocess.run([sys.executable, *command, output], cwd=ROOT, check=True, capture_output=True)
    current = (ROOT / "docs/reference/cli.md").read_text()
    assert output.read_text() == current, "run `make docs`"


def test_the_readme_begins_with_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    first, second = readme.index("make run"), readme.index("make test")
    assert first < second < readme.index("pip install")


def test_every_setting_is_documented() -> None:
    from app.services.runtime.settings import Settings

    text = (ROOT / "docs/reference/settings.md").read_text()
    for name in Settings.model_fields:
        assert f"`CLSL_{name.upper()}`" in text


def test_every_route_is_documented() -> None:
    from app.api import routes

    text = (ROOT / "docs/reference/http.md").read_text()
    for route in routes(lambda: None):  # type: ignore[arg-type, return-value]
        path = re.sub(r"\{[^}]+\}", "ID", route.path)
        assert f" {path}" in text

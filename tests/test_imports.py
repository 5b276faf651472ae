"""Imports go one way: no circle, those inside functions and for types included; no module roomless.

What stands on which floor is in the contracts of pyproject.toml, which `lint-imports` checks.
"""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("app", "benchmarks", "clsl_core", "db", "migrations")

Graph = dict[str, set[str]]


def _name(file: Path, root: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _base(module: str, file: Path, node: ast.ImportFrom) -> str:
    """The module that `from … import` names, the dots of a relative import resolved."""
    package = module.split(".")[: None if file.name == "__init__.py" else -1]
    dots = package[: len(package) + 1 - node.level] if node.level else []
    return ".".join([*dots, *([node.module] if node.module else [])])


def _imported(module: str, file: Path) -> Iterator[tuple[str, str]]:
    """Every import of a file, wherever it stands: module and name, no name for `import x`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, file, node)
            yield from ((base, alias.name) for alias in node.names)


def import_graph(root: Path, packages: tuple[str, ...]) -> Graph:
    """What each module imports of these packages; a package stands for its `__init__`."""
    files = {_name(file, root): file for name in packages for file in (root / name).rglob("*.py")}
    graph: Graph = {}
    for module, file in files.items():
        found = _imported(module, file)
        named = (f"{base}.{name}" if f"{base}.{name}" in files else base for base, name in found)
        graph[module] = {name for name in named if name in files}
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Modules that reach each other: the strongly connected components of two and more."""
    places = {module: place for place, module in enumerate(graph)}
    edges = [(places[one], places[other]) for one, others in graph.items() for other in others]
    rows, columns = np.array(edges, np.int64).reshape(-1, 2).T
    matrix = coo_array((np.ones(len(edges)), (rows, columns)), (len(graph), len(graph)))
    count, component = connected_components(matrix, connection="strong")
    found = [[module for module in graph if component[places[module]] == i] for i in range(count)]
    return [sorted(modules) for modules in found if len(modules) > 1]


def test_no_module_imports_one_that_imports_it() -> None:
    graph = import_graph(ROOT, PACKAGES)
    assert len(graph) > 300, "the modules of the house are not where this test looks"
    found = circles(graph)
    assert not found, "circles of imports:\n" + "\n".join(" <-> ".join(each) for each in found)


def _renamed(file: Path) -> Iterator[str]:
    """Imports of our own that rename what they import, though its name is free in the file."""
    tree = ast.parse(file.read_text())
    taken = {
        getattr(node, "name", None) or getattr(node, "arg", None) or getattr(node, "id", None)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.arg)
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    }
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    taken |= {alias.name for node in imports for alias in node.names if alias.asname is None}
    for node in imports:
        for alias in node.names:
            ours = (node.module or "").split(".")[0] in PACKAGES
            if ours and alias.asname not in (None, alias.name) and alias.name not in taken:
                yield f"{file.relative_to(ROOT)}:{node.lineno}: {alias.name} as {alias.asname}"


def test_what_is_imported_keeps_its_name() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    renamed = [line for file in files for line in _renamed(file)]
    assert not renamed, "\n".join(renamed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("from house import b\n", "import house.a\n"),
        ("from house.b import thing\n", "def late():\n    from house.a import it\n"),
        ("from . import b\n", "if TYPE_CHECKING:\n    from .a import it\n"),
    ],
    ids=["plain", "in a function", "for types, relative"],
)
def test_a_circle_is_found(tmp_path: Path, one: str, other: str) -> None:
    (tmp_path / "house").mkdir()
    for name, text in (("__init__", ""), ("a", one), ("b", other), ("c", "import house.a\n")):
        (tmp_path / "house" / f"{name}.py").write_text(text)
    assert circles(import_graph(tmp_path, ("house",))) == [["house.a", "house.b"]]


def test_a_module_put_in_no_room_breaks_the_contracts(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=lambda _, names: _not_python(names)
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("app", "app/services", "clsl_core"):
        (tmp_path / package / "stray.py").write_text('"""In no room."""\n')
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=tmp_path,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    said = " ".join(done.stdout.split())
    assert done.returncode == 1, done.stdout + done.stderr
    assert said.count("BROKEN") == 3
    for package in ("app", "app.services", "clsl_core"):
        assert f"{package}.stray" in said


def _not_python(names: list[str]) -> list[str]:
    return [name for name in names if "." in name and not name.endswith(".py")]

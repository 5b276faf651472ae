"""What scripts may use of clsl_core: the example runs, every name is there, torch waits."""

import doctest
import importlib
import subprocess
import sys

import pytest

import clsl_core
from clsl_core.recovery import model, model_file, train


def test_the_example_runs() -> None:
    found = doctest.testmod(clsl_core)
    assert found.failed == 0
    assert found.attempted > 10


def test_every_name_leads_to_its_home() -> None:
    for name in clsl_core.__all__:
        assert getattr(clsl_core, name).__name__ == name
    assert clsl_core.fit is train.fit
    assert clsl_core.Recovery is model.Recovery
    assert clsl_core.load_recovery is model_file.load_recovery


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'blend'"):
        _ = clsl_core.blend  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        importlib.import_module("clsl_core.blend")


def test_the_package_is_light_until_the_model_is_asked_for() -> None:
    script = (
        "import sys, clsl_core; assert not {'torch', 'numpy'} & set(sys.modules);"
        "from clsl_core import fit; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)

"""Speed programs measure what they say; how fast it was is no matter here."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import train_step, training_growth, training_speed
from benchmarks.runs import run_here
from benchmarks.train_step import HEADS
from benchmarks.training_growth import exponents
from clsl_core.backbones.spec import FakeBackbone

SIZES = {
    "batch": 2, "patches": 9, "width": 16, "categories": 5, "steps": 2, "device": "cpu",
}  # fmt: skip


@pytest.mark.parametrize("name", list(HEADS))
def test_every_head_takes_a_step(name: str) -> None:
    found = train_step.run({**SIZES, "head": name})
    assert found["seconds"] > 0
    assert found["step_bytes"] >= 0
    assert not found["autocast"]
    head = HEADS[name](SIZES)
    output = head(torch.randn(2, 9, 16))
    assert output.z1.shape == output.z0.shape == (2, 5)


def test_the_same_widths_are_the_same() -> None:
    theirs, ours = HEADS["released"](SIZES), HEADS["ours, same widths"](SIZES)
    assert theirs.U.weight.shape == ours.U.weight.shape == (32, 16)
    assert ours.encoder is not None


def test_a_smaller_reference_batch_is_scaled(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    sizes = ["--batch", "4", "--reference-batch", "2", "--patches", "9", "--width", "16",
             "--categories", "3", "--steps", "1", "--device", "cpu"]  # fmt: skip
    assert train_step.main([*sizes, "--json", str(out)], run_here) == 0
    cells = {cell["head"]: cell for cell in json.loads(out.read_text())["cells"]}
    assert cells["released"]["scaled_seconds"] == pytest.approx(2 * cells["released"]["seconds"])
    reference = cells["released"]
    growing = reference["step_bytes"] - reference["fixed_bytes"]
    assert reference["scaled_bytes"] <= reference["step_bytes"] + max(growing, 0)
    ours = cells["ours, default"]
    assert ours["scaled_seconds"] == ours["seconds"]
    assert "| released" in capfd.readouterr().out
    assert train_step.main(["--patches", "10"]) == 1
    assert "no square" in capfd.readouterr().err


def test_training_is_timed_beside_a_plain_loop() -> None:
    found = training_speed.training_speed(40, 4, 3)
    assert min(found[f"{name}_seconds"] for name in ("first", "retraining", "plain")) > 0


def test_embedding_is_timed_in_batches_and_one_by_one() -> None:
    found = training_speed.embedding_speed(FakeBackbone(), 40)
    assert set(found["per_second"]) == {"batches", "one by one"}
    assert np.all(np.array(list(found["per_second"].values())) > 0)


def test_growth_is_read_off_neighbouring_sizes() -> None:
    sizes = [10.0, 20.0, 80.0]
    assert exponents(sizes, [s**2 for s in sizes]) == pytest.approx([2, 2])
    assert exponents(sizes, [3 * s for s in sizes]) == pytest.approx([1, 1])
    assert exponents(sizes, [5.0, 5.0, 5.0]) == pytest.approx([0, 0])


def test_growth_measures_both_series(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    sizes = ["--images", "30", "60", "--fixed-categories", "3", "--categories", "2", "6",
             "--fixed-images", "30", "--patches", "4", "--json", str(out)]  # fmt: skip
    assert training_growth.main(sizes, run_here) == 0
    cells = json.loads(out.read_text())["cells"]
    assert [(c["series"], c["images"], c["categories"]) for c in cells] == [
        ("images", 30, 3), ("images", 60, 3), ("categories", 30, 2), ("categories", 30, 6),
    ]  # fmt: skip
    assert min(cell["cpu_seconds"] for cell in cells) > 0
    assert capfd.readouterr().out.count("exponent") == 2

"""Tensors on disk: whole or refused."""

import json
from pathlib import Path

import pytest
import torch

from clsl_core.checkpoint import load_checkpoint, save_checkpoint, select
from clsl_core.errors import InputError

TENSORS = {"a.x": torch.arange(6.0).view(2, 3), "b.y": torch.tensor([True])}


def test_what_is_saved_is_loaded_and_the_old_file_goes(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "model", {"a.x": torch.zeros(1)}, {"epoch": 1})
    save_checkpoint(tmp_path, "model", TENSORS, {"epoch": 2})
    tensors, record = load_checkpoint(tmp_path, "model")
    assert record["epoch"] == 2
    for name, value in TENSORS.items():
        torch.testing.assert_close(tensors[name], value)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert list(select(tensors, "a.")) == ["x"]


def test_a_kill_before_the_json_leaves_the_old_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, "model", TENSORS, {"epoch": 1})
    rename = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if str(target).endswith(".json"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, "model", {"a.x": torch.zeros(1)}, {"epoch": 2})
    tensors, record = load_checkpoint(tmp_path, "model")
    assert record["epoch"] == 1
    torch.testing.assert_close(tensors["a.x"], TENSORS["a.x"])


def test_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "model", TENSORS, {})
    (path,) = tmp_path.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        load_checkpoint(tmp_path, "model")


def test_missing_or_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing or unreadable"):
        load_checkpoint(tmp_path, "model")
    save_checkpoint(tmp_path, "model", TENSORS, {})
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(InputError, match="missing or unreadable"):
        load_checkpoint(tmp_path, "model")


def test_the_json_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "inside", "model", TENSORS, {})
    (path,) = (tmp_path / "inside").glob("*.safetensors")
    path.rename(tmp_path / path.name)
    note = tmp_path / "inside" / "model.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "tensors": f"../{path.name}"}))
    with pytest.raises(InputError):
        load_checkpoint(tmp_path / "inside", "model")

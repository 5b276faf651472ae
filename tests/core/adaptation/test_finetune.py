"""Fine-tuning through a tiny random tower: what learns, resuming, merging, loading."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch import nn

from clsl_core.adaptation import finetune as finetuning
from clsl_core.adaptation.finetune import FinetuneConfig, Finetuned, finetune
from clsl_core.adaptation.pictures import Augmentation, cut_out, squeezed
from clsl_core.adaptation.tower import Tower
from clsl_core.backbones.open_clip import OpenClipBackbone
from clsl_core.backbones.spec import BUILTIN
from clsl_core.backbones.split_attention import SplitAttention, join_attention, split_attention
from clsl_core.errors import BackboneError, ImageError, JobCancelled, TrainingError
from clsl_core.types import Finetune, no_progress

VIT, RESNET = "clsl-tuned-vit", "clsl-tuned-resnet"
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 16}
COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}
CONFIG = FinetuneConfig(
    image_size=32, epochs=4, batch_size=8, lora_rate=1e-2, full_rate=2e-3, head_rate=1e-2,
    ema=0.9, held_out=0.2, operations=1, rank=4,
)  # fmt: skip
MODES = [
    pytest.param(Finetune.LORA, id="lora"),
    pytest.param(Finetune.FULL, id="full"),
]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    resnet = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    for name, vision in ((VIT, VISION), (RESNET, resnet)):
        config = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": TEXT}
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    for name in (VIT, RESNET):
        model = open_clip.create_model(name)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter, mean=0.5, std=0.3)
        torch.save(model.state_dict(), folder / f"{name}.pt")
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The tower is so tiny that threads waiting for each other take most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Finetune:
    if request.param is Finetune.LORA:
        pytest.importorskip("peft")
    chosen: Finetune = request.param
    return chosen


class Squares:
    """Pictures of coloured squares; the labels are the colours."""

    def __init__(self, count: int = 40, broken: frozenset[int] = frozenset()) -> None:
        chance = np.random.default_rng(0)
        self.truth = chance.random((count, 3)) < 0.5
        self.keys = [f"{index}" for index in range(count)]
        self.broken = broken

    def load(self, index: int) -> Image.Image:
        if index in self.broken:
            raise ImageError("nothing there", "missing")
        pixels = np.full((48, 48, 3), 90, np.uint8)
        for place, colour in enumerate(COLOURS.values()):
            if self.truth[index, place]:
                pixels[16 * place : 16 * place + 16] = colour
        return Image.fromarray(pixels)

    def labels(self, known: float = 1.0) -> Any:
        labels = np.where(self.truth, 1, -1).astype(np.int8)
        labels[np.random.default_rng(1).random(labels.shape) >= known] = 0
        return labels


def load(checkpoints: Path, size: int = 32) -> Tower:
    return Tower.load(VIT, str(checkpoints / f"{VIT}.pt"), size, "cpu")


def tune(
    tower: Tower,
    config: FinetuneConfig,
    pictures: Squares | None = None,
    labels: Any = None,
    progress: Callable[[int, int, str], None] = no_progress,
    resume_dir: Path | None = None,
) -> Finetuned:
    pictures = pictures or Squares()
    vectors = tower.backbone.encode_categories(list(COLOURS))
    labels = pictures.labels() if labels is None else labels
    return finetune(
        tower, pictures, labels, vectors, config, progress=progress, resume_dir=resume_dir
    )


def state_of(tower: Tower) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in tower.backbone.model.state_dict().items()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_split_attention_is_the_same_function() -> None:
    torch.manual_seed(0)
    joined = nn.MultiheadAttention(16, 2, batch_first=True)
    nn.init.normal_(joined.in_proj_bias)
    nn.init.normal_(joined.out_proj.bias)
    holder, x = nn.Sequential(joined), torch.randn(3, 5, 16)
    expected = joined(x, x, x, need_weights=False)[0]
    alone = torch.full((5, 5), float("-inf")).fill_diagonal_(0.0)
    values = joined(x, x, x, need_weights=False, attn_mask=alone)[0]
    split_attention(holder)
    split = holder[0]
    assert isinstance(split, SplitAttention)
    assert torch.allclose(split(x, x, x)[0], expected, atol=1e-6)
    assert torch.allclose(split.values(x), values, atol=1e-6)
    join_attention(holder)
    assert {n: v.tolist() for n, v in holder[0].state_dict().items()} == {
        n: v.tolist() for n, v in joined.state_dict().items()
    }


def test_the_loss_falls_and_the_kept_out_pictures_gain(checkpoints: Path, mode: Finetune) -> None:
    tower = load(checkpoints)
    config = replace(CONFIG, mode=mode, epochs=12, cutout=0.0, operations=0)
    outcome = tune(tower, config)
    losses = [row["loss"] for row in outcome.curves]
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < 0.8 * losses[0]
    assert outcome.held_out_after > outcome.held_out_before


def test_only_what_is_meant_to_learn_does(checkpoints: Path, mode: Finetune) -> None:
    tower = load(checkpoints)
    assert not tower.parameters()
    tower.unfreeze(mode, 4, 16.0, 0)
    names = set(tower.parameters())
    assert len(names) > 10
    assert all("lora_" in name for name in names) is (mode is Finetune.LORA)
    tower = load(checkpoints)
    plain = OpenClipBackbone.load(VIT, str(checkpoints / f"{VIT}.pt"), "cpu")
    tune(tower, replace(CONFIG, mode=mode))
    moved = changed(plain.model.state_dict(), state_of(tower))
    visual = {name for name in plain.model.state_dict() if name.startswith("visual.")}
    if mode is Finetune.FULL:
        assert moved == visual - {name for name in visual if "num_batches" in name}
    else:
        parts = ("in_proj_weight", "out_proj.weight", "c_fc.weight", "c_proj.weight")
        blocks = ("visual.transformer.resblocks.0", "visual.transformer.resblocks.1")
        assert moved == {n for n in visual if n.startswith(blocks) and n.endswith(parts)}
    assert not any(p.requires_grad for p in tower.backbone.model.parameters())


class Killed(BaseException):
    """Stands for kill -9: nothing may be done about it."""


@pytest.mark.parametrize("moment", [3, 4, 9])
def test_a_resumed_training_equals_an_uninterrupted_one(
    checkpoints: Path, mode: Finetune, moment: int, tmp_path: Path
) -> None:
    config = replace(CONFIG, mode=mode, epochs=3)
    whole = load(checkpoints)
    expected = tune(whole, config)
    steps = []

    def stop(done: int, total: int, what: str) -> None:
        if "epoch" in what:
            steps.append(done)
            if done == moment:
                raise Killed

    with pytest.raises(Killed):
        tune(load(checkpoints), config, progress=stop, resume_dir=tmp_path)
    assert len(steps) == moment + 1
    steps.clear()
    moment = -1
    resumed = load(checkpoints)
    found = tune(resumed, config, progress=stop, resume_dir=tmp_path)
    assert steps[0] == 4 * (len(expected.curves) * 4 - len(steps)) // 4
    assert changed(state_of(whole), state_of(resumed)) == set()
    assert (found.curves, found.held_out_after) == (expected.curves, expected.held_out_after)
    assert found.held_out_before == expected.held_out_before


def test_a_damaged_or_foreign_checkpoint_starts_from_the_beginning(
    checkpoints: Path, tmp_path: Path
) -> None:
    config = replace(CONFIG, mode=Finetune.FULL, epochs=1)
    tune(load(checkpoints), config, resume_dir=tmp_path)
    seen = []

    def note(done: int, total: int, what: str) -> None:
        if "epoch" in what:
            seen.append(done)

    other = replace(config, seed=1)
    tune(load(checkpoints), other, progress=note, resume_dir=tmp_path)
    assert seen == [0, 1, 2, 3]
    [path] = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    seen.clear()
    tune(load(checkpoints), other, progress=note, resume_dir=tmp_path)
    assert seen == [0, 1, 2, 3]
    seen.clear()
    tune(load(checkpoints), other, progress=note, resume_dir=tmp_path)
    assert seen == []


def test_merging_changes_no_output_and_the_file_is_a_backbone(
    checkpoints: Path, mode: Finetune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower, seen = load(checkpoints), {}
    pixels = torch.stack([squeezed(Squares().load(index), 32) for index in range(6)])
    merge = tower.merge

    def look_then_merge() -> None:
        tower.visual.eval()
        with torch.no_grad():
            seen["before"] = tower.forward(pixels)
        merge()

    monkeypatch.setattr(tower, "merge", look_then_merge)
    tune(tower, replace(CONFIG, mode=mode))
    with torch.no_grad():
        after = tower.forward(pixels)
    for one, two in zip(seen["before"], after, strict=True):
        assert torch.allclose(one, two, atol=1e-5)

    path = tower.save(tmp_path / "backbones")
    assert tower.save(tmp_path / "backbones") == path
    loaded = OpenClipBackbone.load(VIT, str(path), "cpu")
    plain = OpenClipBackbone.load(VIT, str(checkpoints / f"{VIT}.pt"), "cpu")
    assert loaded.spec.key != plain.spec.key
    assert loaded.spec.revision != plain.spec.revision
    features = loaded.encode_images([Squares().load(index) for index in range(6)])
    assert np.allclose(features.tokens, after[0].numpy(), atol=2e-3)
    assert np.allclose(features.pooled, after[1].numpy(), atol=2e-3)
    assert not np.allclose(
        features.pooled,
        plain.encode_images([Squares().load(index) for index in range(6)]).pooled,
        atol=2e-3,
    )
    texts = [backbone.encode_categories(["red thing"]) for backbone in (loaded, plain)]
    assert np.array_equal(*texts)


def test_another_size_interpolates_the_positions_and_is_remembered(
    checkpoints: Path, tmp_path: Path
) -> None:
    plain = OpenClipBackbone.load(VIT, str(checkpoints / f"{VIT}.pt"), "cpu")
    tower = load(checkpoints, size=448)
    own = plain.model.visual.positional_embedding  # (1 + 2·2, 16)
    large = tower.visual.positional_embedding
    assert large.shape == (1 + 28 * 28, 16)
    expected = nn.functional.interpolate(
        own[1:].T.reshape(1, 16, 2, 2), size=(28, 28), mode="bicubic", antialias=True
    )
    assert torch.equal(large[0], own[0])
    assert torch.allclose(large[1:], expected.reshape(16, -1).T, atol=1e-5)
    tower.merge()
    path = tower.save(tmp_path)
    loaded = OpenClipBackbone.load(VIT, str(path), "cpu")
    assert (loaded.spec.image_size, loaded.spec.grid) == (448, (28, 28))
    assert torch.equal(loaded.model.visual.positional_embedding, large)
    with pytest.raises(BackboneError, match="multiple of 16"):
        load(checkpoints, size=450)


def test_the_settings_of_the_weights_go_on(checkpoints: Path, tmp_path: Path) -> None:
    tower = load(checkpoints)
    tower.settings |= {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "quick_gelu": True}
    tower.merge()
    path = str(tower.save(tmp_path))
    model = OpenClipBackbone.load(VIT, path, "cpu").model
    assert list(model.visual.preprocess_cfg["mean"]) == [0.1, 0.2, 0.3]
    assert list(model.visual.preprocess_cfg["std"]) == [0.4, 0.5, 0.6]
    assert "QuickGELU" in repr(model.visual)
    again = Tower.load(VIT, path, 32, "cpu")
    assert {k: again.settings[k] for k in ("mean", "quick_gelu")} == {
        "mean": [0.1, 0.2, 0.3],
        "quick_gelu": True,
    }
    with pytest.raises(BackboneError, match=f"fine-tuned {VIT}, not a {RESNET}"):
        OpenClipBackbone.load(RESNET, path, "cpu")


def test_running_out_of_memory_halves_the_part_and_changes_nothing_else(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, mode=Finetune.FULL, epochs=1)
    whole = load(checkpoints)
    expected = tune(whole, config)
    forward = Tower.forward

    def narrow(self: Tower, pixels: torch.Tensor) -> Any:
        if torch.is_grad_enabled() and len(pixels) > 3:
            raise torch.OutOfMemoryError
        return forward(self, pixels)

    monkeypatch.setattr(Tower, "forward", narrow)
    parted = load(checkpoints)
    found = tune(parted, config)
    assert (expected.part, found.part) == (8, 2)
    assert np.isclose(found.curves[0]["loss"], expected.curves[0]["loss"], rtol=1e-4)
    for one, two in zip(state_of(whole).values(), state_of(parted).values(), strict=True):
        assert torch.allclose(one, two, atol=1e-3)

    def never(self: Tower, pixels: torch.Tensor) -> Any:
        if torch.is_grad_enabled():
            raise torch.OutOfMemoryError
        return forward(self, pixels)

    monkeypatch.setattr(Tower, "forward", never)
    with pytest.raises(TrainingError, match="single picture of 32 pixels"):
        tune(load(checkpoints), config)


def test_unknown_labels_are_left_out_or_weakly_negative(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    weigh = finetuning._Finetuning._weights

    def note(self: Any, labels: torch.Tensor, rows: Any) -> torch.Tensor:
        weights = weigh(self, labels, rows)
        seen.append((labels, weights))
        return weights

    monkeypatch.setattr(finetuning._Finetuning, "_weights", note)
    config, pictures = replace(CONFIG, mode=Finetune.FULL, epochs=1), Squares()
    mixed = pictures.labels(known=0.5)
    mixed[mixed > 0] *= np.random.default_rng(2).random((mixed > 0).sum()) < 0.3
    assert (mixed < 0).sum() >= 4 * (mixed > 0).sum()
    tune(load(checkpoints), config, pictures, mixed)
    assert all((weights[labels == 0] == 0).all() for labels, weights in seen)
    assert all(np.isclose(weights.sum(), 1) for _, weights in seen)
    seen.clear()
    tune(load(checkpoints), config, pictures, np.maximum(pictures.labels(), 0))
    for labels, weights in seen:
        assert np.isclose(weights[labels > 0].sum(), 1)
        assert np.isclose(weights[labels == 0].sum(), config.loss.weak_negative)


def test_pictures_that_cannot_be_used_teach_nothing(checkpoints: Path) -> None:
    config = replace(CONFIG, mode=Finetune.FULL, epochs=1, held_out=0.0)
    broken = frozenset({3, 17})
    one, two = load(checkpoints), load(checkpoints)
    labels = Squares().labels()
    outcome = tune(one, config, Squares(broken=broken), labels)
    assert outcome.unusable == [3, 17]
    assert np.isnan(outcome.held_out_after)
    swapped = labels.copy()
    swapped[[3, 17]] = labels[[17, 3]]
    assert (swapped != labels).any()
    tune(two, config, Squares(broken=broken), swapped)
    assert changed(state_of(one), state_of(two)) == set()


def test_it_can_be_cancelled(checkpoints: Path) -> None:
    def cancel(done: int, total: int, what: str) -> None:
        if done == 2 and "epoch" in what:
            raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        tune(load(checkpoints), replace(CONFIG, mode=Finetune.FULL), progress=cancel)


def test_what_cannot_be_tuned_is_refused_in_words(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError, match="none PRESENT"):
        tune(load(checkpoints), CONFIG, labels=np.zeros((40, 3), np.int8))
    with pytest.raises(BackboneError, match="choose a ViT"):
        Tower.load(RESNET, str(checkpoints / f"{RESNET}.pt"), 64, "cpu")
    with pytest.raises(BackboneError, match="no weights to fine-tune"):
        Tower.load(BUILTIN, None, 64, "cpu")
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(BackboneError, match=r"clsl\[finetune\]"):
        tune(load(checkpoints), CONFIG)


def test_augmentation_depends_on_its_seed_alone() -> None:
    vary = Augmentation(32, 2, 9, 0.5)
    picture = Squares().load(0)
    state = torch.get_rng_state()
    one, two = vary(picture, 5), vary(picture, 5)
    assert torch.equal(state, torch.get_rng_state())
    assert (one.shape, one.dtype) == ((3, 32, 32), torch.uint8)
    assert torch.equal(one, two)
    assert len({vary(picture, seed).numpy().tobytes() for seed in range(8)}) == 8
    plain = Augmentation(32, 0, 9, 0.0)(picture, 5)
    assert torch.equal(plain, squeezed(picture, 32))


def test_cutout_hides_one_square() -> None:
    torch.manual_seed(0)
    pixels = torch.zeros(3, 20, 20, dtype=torch.uint8)
    sizes = set()
    for _ in range(200):
        hidden = cut_out(pixels, 6)[0] == 128
        rows, columns = hidden.any(1).sum(), hidden.any(0).sum()
        assert hidden.sum() == rows * columns
        sizes.add((int(rows), int(columns)))
    assert max(sizes) == (6, 6)
    assert min(rows for rows, _ in sizes) < 6  # it may stand over the edge
    assert torch.equal(pixels, torch.zeros_like(pixels))

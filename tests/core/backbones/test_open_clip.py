"""open_clip through tiny random models: the value path, the texts, the checkpoints."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from clsl_core.backbones import weights
from clsl_core.backbones.choice import choose_backbone, load_backbone
from clsl_core.backbones.open_clip import TEMPLATES, OpenClipBackbone, patch_and_pooled
from clsl_core.errors import BackboneError
from tests.core.backbones.test_spec import check_features

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 3, "width": 16, "head_width": 8, "patch_size": 8}
CONFIGS = {
    "clsl-tiny-vit": {"embed_dim": 12, "vision_cfg": VISION, "text_cfg": TEXT},
    "clsl-tiny-resnet": {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": TEXT,
    },
    "clsl-tiny-pooler": {
        "embed_dim": 12,
        "vision_cfg": {**VISION, "attentional_pool": True, "attn_pooler_heads": 2},
        "text_cfg": TEXT,
    },
}
VIT, RESNET, POOLER = CONFIGS


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the random weights of every tiny model."""
    folder = tmp_path_factory.mktemp("open_clip")
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    for name in CONFIGS:
        model = open_clip.create_model(name)
        for parameter in model.parameters():  # zero biases would hide a forgotten bias
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter, mean=0.5, std=0.3)
        torch.save(model.state_dict(), folder / f"{name}.pt")
    save_file(model.state_dict(), folder / "pooler.safetensors")
    vit = torch.load(folder / f"{VIT}.pt", weights_only=True)
    save_file(vit, folder / f"{VIT}.safetensors")
    return folder


@pytest.fixture(scope="module")
def vit(checkpoints: Path) -> OpenClipBackbone:
    return OpenClipBackbone.load(VIT, str(checkpoints / f"{VIT}.pt"), "cpu")


def pictures(count: int = 3) -> list[Image.Image]:
    chance = np.random.default_rng(0)
    sizes = [(40, 30), (32, 32), (10, 90)]
    return [
        Image.fromarray(chance.integers(0, 256, (*sizes[i % 3], 3), dtype=np.uint8))
        for i in range(count)
    ]


def test_features_and_spec(vit: OpenClipBackbone) -> None:
    spec = vit.spec
    assert (spec.image_size, spec.grid, spec.dim, spec.has_text) == (32, (4, 4), 12, True)
    check_features(spec, vit.encode_images(pictures()), 3)
    check_features(spec, vit.encode_images([]), 0)
    again = vit.encode_images(pictures()[1:2])
    assert np.allclose(again.tokens[0], vit.encode_images(pictures()).tokens[1], atol=1e-3)


def test_the_pooled_vector_is_the_models_own(vit: OpenClipBackbone) -> None:
    pixels = vit._pixels(pictures())
    expected = vit._model.encode_image(pixels, normalize=True).numpy()
    assert np.allclose(vit.encode_images(pictures()).pooled, expected, atol=1e-3)


def test_pixels_are_squeezed_and_scaled_as_the_model_expects(vit: OpenClipBackbone) -> None:
    pixels = vit._pixels([Image.new("RGB", (64, 16), (255, 0, 51))])
    assert pixels.shape == (1, 3, 32, 32)
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    expected = [(value - m) / s for value, m, s in zip((1, 0, 0.2), mean, std, strict=True)]
    assert np.allclose(pixels[0, :, 5, 7], expected, atol=1e-5)


def test_tokens_are_what_attention_to_oneself_gives(vit: OpenClipBackbone) -> None:
    # Independent of our formula: the block's own attention under a mask that leaves each token
    # only itself, then the model's last norm and projection.
    visual, pixels = vit._model.visual, vit._pixels(pictures())
    seen: dict[str, torch.Tensor] = {}
    last = visual.transformer.resblocks[-1]
    hook = last.register_forward_pre_hook(lambda module, inputs: seen.update(x=inputs[0]))
    visual(pixels)
    hook.remove()
    normed = last.ln_1(seen["x"])
    alone = torch.full((17, 17), float("-inf")).fill_diagonal_(0.0)
    values = last.attn(normed, normed, normed, attn_mask=alone, need_weights=False)[0]
    expected = visual.ln_post(values)[:, 1:] @ visual.proj
    found, pooled = patch_and_pooled(visual, pixels)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(pooled, visual(pixels), atol=1e-5)
    mixed = visual.ln_post(last.attn(normed, normed, normed, need_weights=False)[0])[:, 1:]
    assert not torch.allclose(found, mixed @ visual.proj, atol=1e-2)


def test_a_resnets_tokens_go_through_its_attention_pool(checkpoints: Path) -> None:
    backbone = load_backbone(RESNET, str(checkpoints / f"{RESNET}.pt"), "cpu")
    assert isinstance(backbone, OpenClipBackbone)
    assert (backbone.spec.grid, backbone.spec.dim) == ((2, 2), 12)
    check_features(backbone.spec, backbone.encode_images(pictures()), 3)
    visual, pixels = backbone._model.visual, backbone._pixels(pictures())
    tokens, pooled = patch_and_pooled(visual, pixels)
    assert torch.allclose(pooled, visual(pixels), atol=1e-4)
    # Attention pooling over one value everywhere gives that value: a picture whose feature map
    # is one cell repeated pools to its token when positions do not differ.
    with torch.no_grad():
        visual.attnpool.positional_embedding.zero_()
    cell = torch.randn(1, 8 * 32, 1, 1)
    pool = visual.attnpool(cell.expand(1, -1, 2, 2))
    assert torch.allclose(pool, visual.attnpool.c_proj(visual.attnpool.v_proj(cell[..., 0, 0])),
                          atol=1e-4)  # fmt: skip
    assert tokens.shape == (3, 4, 12)


def test_category_vectors_are_the_mean_over_the_templates(vit: OpenClipBackbone) -> None:
    names = ["cat", "traffic_light", "日本 \ud800", ""]
    vectors = vit.encode_categories(names)
    assert (vectors.shape, vectors.dtype) == ((4, 12), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    tokenizer = open_clip.get_tokenizer(VIT)
    texts = tokenizer([template.format("traffic light") for template in TEMPLATES])
    mean = vit._model.encode_text(texts, normalize=True).mean(0)
    assert np.allclose(vectors[1], (mean / mean.norm()).numpy(), atol=1e-5)
    assert vit.encode_categories([]).shape == (0, 12)
    many = vit.encode_categories([f"thing {i}" for i in range(70)])
    assert np.allclose(many[69], vit.encode_categories(["thing 69"])[0], atol=1e-5)


def test_both_kinds_of_checkpoint_give_the_same(checkpoints: Path, vit: OpenClipBackbone) -> None:
    path = checkpoints / f"{VIT}.safetensors"
    other, notice = choose_backbone(VIT, str(path), "cpu")
    assert notice is None
    assert other.spec.revision == vit.spec.revision
    assert other.spec.pretrained == str(path)
    found = other.encode_images(pictures())
    assert np.array_equal(found.tokens, vit.encode_images(pictures()).tokens)


def test_other_weights_are_another_spec(checkpoints: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoints / f"{VIT}.pt", weights_only=True)
    state["visual.proj"][0, 0] += 1e-3
    torch.save(state, tmp_path / f"{VIT}.pt")
    one = load_backbone(VIT, str(checkpoints / f"{VIT}.pt"), "cpu").spec
    two = load_backbone(VIT, str(tmp_path / f"{VIT}.pt"), "cpu").spec
    assert one.revision != two.revision


class Trap:
    """A pickle that would run code."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def test_a_wrong_checkpoint_is_named_and_never_executed(checkpoints: Path, tmp_path: Path) -> None:
    (tmp_path / "noise.pt").write_bytes(b"not a checkpoint")
    (tmp_path / "noise.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save({"state_dict": Trap(tmp_path / "executed")}, tmp_path / "trap.pt")
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pt")
    wrong = [*tmp_path.iterdir(), checkpoints / f"{RESNET}.pt"]
    assert len(wrong) == 6
    for path in wrong:
        with pytest.raises(BackboneError, match="is it a checkpoint of this model"):
            load_backbone(VIT, str(path), "cpu")
    assert not (tmp_path / "executed").exists()


def test_a_wrong_device_is_named(checkpoints: Path) -> None:
    with pytest.raises(BackboneError, match="abacus"):
        load_backbone(VIT, str(checkpoints / f"{VIT}.pt"), "abacus")


def test_an_unsupported_tower_is_refused_in_words(checkpoints: Path) -> None:
    with pytest.raises(BackboneError, match="supported are"):
        load_backbone(POOLER, str(checkpoints / f"{POOLER}.pt"), "cpu")


def test_a_tag_is_taken_from_the_cache_with_its_settings(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def cached(repository: str, name: str) -> str | None:
        asked.append((repository, name))
        return str(checkpoints / f"{VIT}.pt") if name.endswith(".bin") else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    found = weights.find_weights("ViT-B-16", "openai")
    assert (found.source, found.path) == ("openai", checkpoints / f"{VIT}.pt")
    assert found.settings["quick_gelu"] is True
    repository = "timm/vit_base_patch16_clip_224.openai"
    assert asked == [
        (repository, "open_clip_model.safetensors"),
        (repository, "open_clip_pytorch_model.bin"),
    ]
    assert weights.find_weights("ViT-B-16", None).source == weights.DEFAULT_WEIGHTS


def test_a_dead_network_is_noticed_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *names: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(BackboneError, match=r"127\.0\.0\.1 cannot be reached"):
        weights.find_weights("ViT-B-32", "openai")


def test_what_the_hub_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*names: str, **options: object) -> str:
        raise OSError("403 for " + "/".join(names))

    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(weights, "_reachable", lambda address: True)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *names: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(BackboneError, match="403 for timm"):
        weights.find_weights("ViT-B-32", "openai")

"""The seam: specs, choosing a backbone, the fake; and nothing heavy on import."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from clsl_core.backbones.choice import choose_backbone, load_backbone
from clsl_core.backbones.spec import BackboneSpec, FakeBackbone, ImageFeatures
from clsl_core.errors import BackboneError

SPEC = BackboneSpec("ViT-B-16", "openai", 224, (14, 14), 512, True, "r1")


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """No weights in the cache and no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    module = pytest.importorskip("huggingface_hub.file_download")
    monkeypatch.setattr(module.constants, "HF_HUB_CACHE", str(tmp_path))


def test_importing_the_seam_loads_nothing_heavy() -> None:
    code = (
        "import sys, clsl_core.backbones.choice, clsl_core.pictures.loading, clsl_core.formats, "
        "clsl_core.demo.collection;"
        "print([m for m in ('torch', 'open_clip', 'skimage', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_spec_survives_json_and_its_key_names_it() -> None:
    assert BackboneSpec.from_json(json.loads(json.dumps(SPEC.to_json()))) == SPEC
    others = [
        replace(SPEC, name="RN50"),
        replace(SPEC, pretrained=None),
        replace(SPEC, image_size=336),
        replace(SPEC, grid=(24, 24)),
        replace(SPEC, dim=768),
        replace(SPEC, has_text=False),
        replace(SPEC, revision="r2"),
    ]
    keys = {spec.key for spec in (SPEC, *others)}
    assert len(keys) == 8
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys)


def test_a_spec_describes_itself_in_one_sentence() -> None:
    text = SPEC.describe()
    assert "ViT-B-16" in text
    assert "14 × 14" in text
    assert "reads category names" in text
    assert "does not read" in load_backbone("builtin").spec.describe()


@pytest.mark.usefixtures("nowhere")
def test_auto_falls_back_and_says_so() -> None:
    backbone, notice = choose_backbone("auto")
    assert backbone.spec.name == "builtin"
    assert notice is not None
    for words in ("ViT-B-16", "checkpoint file", "HF_HUB_CACHE", "offline"):
        assert words in notice


@pytest.mark.usefixtures("nowhere")
def test_a_named_backbone_never_falls_back() -> None:
    for name, pretrained, words in (
        ("ViT-B-32", "openai", "not here"),
        ("ViT-B-32", "no-such-tag", "its tags: openai"),
        ("ViT-B-32", None, "needs weights to be chosen"),
        ("ViT-B-99", None, "no model 'ViT-B-99'"),
        ("auto", "/no/such/file.pt", "no checkpoint file"),
    ):
        with pytest.raises(BackboneError, match=words):
            load_backbone(name, pretrained)


def test_builtin_needs_no_notice() -> None:
    backbone, notice = choose_backbone("builtin")
    assert (backbone.spec.name, notice) == ("builtin", None)


def test_the_fake_keeps_the_promises_of_the_seam() -> None:
    fake = FakeBackbone()
    images = [Image.new("RGB", (9, 5), colour) for colour in ("red", "blue", "black")]
    features = fake.encode_images(images)
    check_features(fake.spec, features, 3)
    assert not np.allclose(features.pooled[0], features.pooled[1])
    vectors = fake.encode_categories(["cat", "dog"])
    assert vectors is not None
    assert vectors.shape == (2, fake.spec.dim)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert FakeBackbone(has_text=False).encode_categories(["cat"]) is None


def check_features(spec: BackboneSpec, features: ImageFeatures, count: int) -> None:
    """What every backbone promises of its output."""
    rows, columns = spec.grid
    assert features.tokens.shape == (count, rows * columns, spec.dim)
    assert features.pooled.shape == (count, spec.dim)
    for vectors in (features.tokens, features.pooled):
        assert vectors.dtype == np.float16
        lengths = np.linalg.norm(vectors.astype(np.float32), axis=-1)
        assert np.allclose(lengths, 1, atol=2e-3)

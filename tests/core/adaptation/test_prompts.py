"""Learned context words: the same as plain words at the start, and better after learning."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from clsl_core.adaptation.prompts import PromptConfig, PromptReader, learn_context
from clsl_core.backbones.open_clip import OpenClipBackbone
from clsl_core.errors import BackboneError, JobCancelled, TrainingError
from clsl_core.features import FeatureView
from tests.core.adaptation.test_finetune import VIT, checkpoints, one_thread  # noqa: F401 - fixtures

NAMES = ["cat", "traffic_light", "日本", "fire hydrant"]
CONFIG = PromptConfig(steps=60, batch_size=32, learning_rate=0.05, temperature=0.1)


@pytest.fixture(scope="module")
def reader(checkpoints: Path) -> PromptReader:  # noqa: F811
    return PromptReader(OpenClipBackbone.load(VIT, str(checkpoints / f"{VIT}.pt"), "cpu"))


def problem(reader: PromptReader) -> tuple[FeatureView, np.ndarray]:
    """Pictures whose patches are what the names mean after other words than the usual ones."""
    torch.manual_seed(0)
    hidden = reader.start() + torch.randn(4, 16)
    meant = reader.vectors(NAMES, hidden)
    rng = np.random.default_rng(0)
    truth = rng.random((120, 4)) < 0.3
    tokens = rng.normal(size=(120, 6, 12))
    tokens /= np.linalg.norm(tokens, axis=-1, keepdims=True)
    for row, column in np.argwhere(truth):
        tokens[row, column] = meant[column]
    labels = np.where(truth, 1, -1).astype(np.int8)
    return FeatureView.from_arrays(tokens, grid=(2, 3)), labels


def test_at_the_start_it_reads_what_the_words_say(reader: PromptReader) -> None:
    tokenizer = open_clip.get_tokenizer(VIT)
    words = ["cat", "traffic light", "日本", "fire hydrant"]
    texts = tokenizer([f"a photo of a {word}." for word in words])
    expected = reader.backbone.model.encode_text(texts, normalize=True)
    assert torch.allclose(reader.read(NAMES, reader.start()), expected, atol=1e-6)
    torch.manual_seed(0)
    other = reader.read(NAMES, reader.start() + torch.randn(4, 16))
    assert not torch.allclose(other, expected, atol=1e-3)
    # The hook is gone again: plain reading is as before.
    assert torch.equal(reader.backbone.model.encode_text(texts, normalize=True), expected)
    many = reader.vectors(NAMES * 20, reader.start())
    assert many.shape == (80, 12)
    assert np.allclose(many[76:], expected.numpy(), atol=1e-5)


def test_the_gradient_reaches_every_word_and_nothing_else(reader: PromptReader) -> None:
    context = reader.start().requires_grad_(True)
    (reader.read(NAMES, context) ** 3).sum().backward()
    assert context.grad is not None
    assert (context.grad.abs().sum(1) > 0).all()
    assert all(p.grad is None for p in reader.backbone.model.parameters())


def test_learning_lowers_the_loss_and_is_repeatable(reader: PromptReader) -> None:
    features, labels = problem(reader)
    before = {n: v.clone() for n, v in reader.backbone.model.state_dict().items()}
    found = learn_context(reader, features, labels, NAMES, ["sky", "wall"], CONFIG)
    assert np.mean(found.losses[-10:]) < 0.9 * np.mean(found.losses[:10])
    assert found.after > found.before + 0.1
    assert found.better
    assert found.context.shape == (4, 16)
    assert not np.allclose(found.context, reader.start().numpy())
    after = reader.backbone.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    again = learn_context(reader, features, labels, NAMES, ["sky", "wall"], CONFIG)
    assert np.array_equal(found.context, again.context)
    assert (found.losses, found.after) == (again.losses, again.after)


def test_positives_alone_and_few_names_at_a_time_are_enough(reader: PromptReader) -> None:
    features, labels = problem(reader)
    config = replace(CONFIG, categories=2, steps=100)
    found = learn_context(reader, features, np.maximum(labels, 0), NAMES, [], config)
    assert found.after > found.before


def test_refusals_and_cancelling(reader: PromptReader, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = problem(reader)
    with pytest.raises(TrainingError, match="none PRESENT"):
        learn_context(reader, features, np.minimum(labels, 0), NAMES, [], CONFIG)

    def cancel(done: int, total: int, what: str) -> None:
        if done == 3:
            raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        learn_context(reader, features, labels, NAMES, [], CONFIG, cancel)
    monkeypatch.setattr(reader.backbone.model, "token_embedding", torch.nn.Identity())
    with pytest.raises(BackboneError, match="cannot learn prompts"):
        PromptReader(reader.backbone)

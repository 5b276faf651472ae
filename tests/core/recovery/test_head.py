"""The head: shapes, switches, the attention in blocks, priors, and where the text prior enters."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clsl_core.recovery.head.clsl import CLSLHead, ModelConfig, bilinear_scores
from clsl_core.recovery.label_graph import GraphConfig, build_graph
from clsl_core.recovery.text_prior import TextPrior

SMALL = ModelConfig(width=16, attention_width=6, hidden=12, learned_vector=10, dropout=0.0)


def make_head(config: ModelConfig = SMALL, categories: int = 5, text: bool = False) -> CLSLHead:
    torch.manual_seed(0)
    vectors = np.random.default_rng(0).normal(size=(categories, 8)).astype(np.float32)
    graph = build_graph(
        np.zeros((4, categories), np.int8), vectors, GraphConfig(neighbours=2), unknown_weight=1.0
    )
    priors = np.linspace(0.05, 0.6, categories, dtype=np.float32)
    head = CLSLHead(
        config,
        (3, 4),
        8,
        priors,
        vectors=vectors,
        graph=graph,
        text=TextPrior(vectors, temperature=0.1) if text else None,
    )
    return head.eval()


def wake(head: CLSLHead) -> CLSLHead:
    torch.nn.init.normal_(head.patch_out.weight)
    return head


@pytest.mark.parametrize("part", ["encoder", "srfl", "sgfe", "graph", "text_prior"])
@pytest.mark.parametrize("on", [True, False])
def test_every_part_is_a_switch(part: str, on: bool) -> None:
    head = wake(make_head(replace(SMALL, **{part: on}), text=True))
    tokens = torch.randn(2, 12, 8)
    out = head(tokens)
    assert out.z1.shape == out.z0.shape == (2, 5)
    assert out.R.shape == (2, 12, 5)
    (out.z1.sum() + out.z0.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


@pytest.mark.parametrize("part", ["srfl", "sgfe", "graph"])
def test_a_switch_changes_the_scores(part: str) -> None:
    tokens = torch.randn(2, 12, 8)
    heads = [wake(make_head(replace(SMALL, **{part: on}))) for on in (True, False)]
    with torch.no_grad():
        assert not torch.allclose(heads[0](tokens).R, heads[1](tokens).R)


def test_an_untrained_head_scores_like_the_class_priors() -> None:
    head = make_head()
    with torch.no_grad():
        p = torch.sigmoid(head(torch.randn(3, 12, 8)).z1)
    torch.testing.assert_close(p, torch.linspace(0.05, 0.6, 5).expand(3, 5), rtol=1e-4, atol=1e-5)


def test_an_untrained_head_with_text_scores_like_the_text_and_the_priors() -> None:
    head, tokens = make_head(text=True), torch.randn(3, 12, 8)
    with torch.no_grad():
        assert head.text is not None
        torch.testing.assert_close(head(tokens).z1, head.text(tokens) + head.b)


def dense_scores(q: torch.Tensor, k: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.tanh(q[:, :, None] * k[:, None]) @ w


@pytest.mark.parametrize("chunk", [1, 7, 60, 500, 0])
@pytest.mark.parametrize("images", [1, 3])
def test_attention_in_blocks_equals_attention_at_once(chunk: int, images: int) -> None:
    torch.manual_seed(1)
    q = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    k = torch.randn(images, 6, 5, dtype=torch.float64, requires_grad=True)
    w = torch.randn(5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 4, 6, dtype=torch.float64)
    expected, found = dense_scores(q, k, w), bilinear_scores(q, k, w, chunk)
    torch.testing.assert_close(found, expected)
    slopes = torch.autograd.grad((found * weight).sum(), (q, k, w))
    for ours, theirs in zip(
        slopes, torch.autograd.grad((expected * weight).sum(), (q, k, w)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_attention_never_holds_a_block_larger_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    tanh = torch.Tensor.tanh_

    def watched(self: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, self.numel())
        return tanh(self)

    monkeypatch.setattr(torch.Tensor, "tanh_", watched)
    q, k = torch.randn(4, 9, 8, requires_grad=True), torch.randn(4, 50, 8)
    bilinear_scores(q, k, torch.randn(8), chunk=1000).sum().backward()
    assert 500 < largest <= 1000


def test_the_softmax_runs_over_categories_at_each_patch() -> None:
    head = wake(make_head(categories=1))
    X = torch.randn(2, 12, 16)
    with torch.no_grad():
        F = head._enhance(X)
        V = head._label_features(X)
    torch.testing.assert_close(F, V.expand(2, 12, 16))  # one category takes all the attention


def test_pooling_lies_between_the_mean_and_the_best_patch() -> None:
    head = wake(make_head())
    with torch.no_grad():
        out = head(torch.randn(2, 12, 8))
    z = out.z1 - head.b
    assert (z <= out.R.amax(1) + 1e-5).all()
    assert (z >= out.R.mean(1) - 1e-5).all()


def test_patches_may_be_left_out_and_keep_their_place() -> None:
    head = wake(make_head(replace(SMALL, encoder=True)))
    tokens, order = torch.randn(1, 12, 8), torch.randperm(12)
    with torch.no_grad():
        torch.testing.assert_close(
            head(tokens[:, order], order).z1, head(tokens).z1, rtol=1e-4, atol=1e-5
        )
        assert not torch.allclose(head(tokens[:, order]).z1, head(tokens).z1)


def test_positions_differ_from_patch_to_patch() -> None:
    head = make_head(replace(SMALL, encoder=True))
    assert head.encoder is not None
    assert len(torch.unique(head.encoder.positions, dim=0)) == 12


def test_standardised_tokens_have_mean_zero_and_scale_one() -> None:
    head, tokens = make_head(), torch.randn(50, 12, 8) * 7 + 3
    head.standardise(tokens.half())
    seen = (tokens - head.token_mean) / head.token_scale
    assert abs(float(seen.mean())) < 1e-2
    assert float(seen.std()) == pytest.approx(1, abs=1e-2)


def test_heads_of_the_encoder_are_halved_until_they_fit() -> None:
    head = make_head(replace(SMALL, width=12, encoder=True))
    assert head.encoder is not None
    assert head.encoder.heads == 4

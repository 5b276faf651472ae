"""What names say: it finds the patch, hears background words, and never saturates."""

import numpy as np
import pytest
import torch

from clsl_core.recovery.text_prior import TextPrior, best_patches, word_evidence


def drawn(spread: float, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Tokens (40, 12, 16) and words (5, 16) whose cosines spread by about ``spread``."""
    rng = np.random.default_rng(seed)
    common = np.eye(16)[0]
    words = common + spread * rng.normal(size=(5, 16))
    tokens = common + spread * rng.normal(size=(40, 12, 16))
    return torch.from_numpy(tokens.astype(np.float32)), words.astype(np.float32)


@pytest.mark.parametrize("spread", [0.01, 0.1, 1.0, 10.0])
def test_a_score_never_saturates_however_the_space_spreads(spread: float) -> None:
    tokens, words = drawn(spread)
    prior = TextPrior(words)
    prior.standardise(tokens)
    z = prior(tokens)
    assert z.abs().max() < 6
    assert len(torch.unique(z)) == z.numel()
    assert float(z.mean()) == pytest.approx(0, abs=1e-3)
    assert float(z.std(correction=0)) == pytest.approx(1, abs=1e-3)
    assert float(prior.saturated) < 0.01


def test_what_saturates_is_said() -> None:
    tokens, words = drawn(1.0)
    prior = TextPrior(words, temperature=0.001)
    prior.standardise(tokens)
    assert float(prior.saturated) > 0.9
    assert float(prior.temperature) == pytest.approx(0.001)


def test_the_score_sees_the_one_patch_that_shows_the_category() -> None:
    words = torch.eye(4, 6)
    tokens = torch.zeros(1, 5, 6)
    tokens[..., 5] = 1.0  # nothing named
    tokens[0, 3] = words[2]
    z = best_patches(word_evidence(tokens, words, words[:0], 0.1))
    assert z[0].argmax() == 2
    assert z[0, 2] > z[0, [0, 1, 3]].max() + 5


def test_a_background_word_takes_from_the_score_of_a_category() -> None:
    words, tokens = torch.eye(2, 4), torch.tensor([[[0.5, 0.0, 0.9, 0.0]]])
    without = best_patches(word_evidence(tokens, words, words[:0], 0.1))
    heard = best_patches(word_evidence(tokens, words, torch.eye(4)[2:3], 0.1))
    assert heard[0, 0] < without[0, 0] - 1


def test_other_words_are_scored_on_the_same_scale_with_a_gradient() -> None:
    tokens, words = drawn(0.2)
    prior = TextPrior(words)
    prior.standardise(tokens)
    own = torch.from_numpy(words).requires_grad_(True)
    torch.testing.assert_close(prior(tokens, own).detach(), prior(tokens))
    prior(tokens, own).sum().backward()
    assert own.grad is not None
    assert own.grad.abs().sum() > 0


def test_the_score_keeps_its_digits_where_all_else_is_bfloat16() -> None:
    tokens, words = drawn(0.05)
    prior = TextPrior(words)
    prior.standardise(tokens)
    z = prior(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(prior(tokens), z)

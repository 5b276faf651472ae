"""The losses: detached focusing, known and unknown balanced, missed positives not punished."""

import math

import pytest
import torch

from clsl_core.recovery.head.losses import (
    LossConfig,
    asymmetric_loss,
    expected_positives_loss,
    ranking_loss,
    recovery_loss,
    reject_large_losses,
)

PLAIN = LossConfig(gamma_positive=0, gamma_negative=0)


def test_without_focusing_it_is_cross_entropy() -> None:
    logits, targets = torch.randn(4, 3), torch.rand(4, 3)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, targets, reduction="none"
    )
    torch.testing.assert_close(asymmetric_loss(logits, targets, PLAIN), expected)


def test_focusing_weights_are_detached() -> None:
    z = torch.tensor([[0.7]], requires_grad=True)
    asymmetric_loss(z, torch.zeros(1, 1), LossConfig(gamma_negative=2)).sum().backward()
    p = 1 / (1 + math.exp(-0.7))
    assert z.grad is not None
    assert float(z.grad) == pytest.approx(p**2 * p, rel=1e-5)  # weight p² times slope p


def test_the_balance_does_not_depend_on_how_many_labels_are_known() -> None:
    logits = torch.full((10, 10), 0.3)
    targets, weights = torch.full((10, 10), 0.5), torch.ones(10, 10)
    few, many = torch.zeros(10, 10), torch.zeros(10, 10)
    few[0, 0], many[:5] = 1, 1
    losses = [recovery_loss(logits, y, targets, weights, 1.0, PLAIN) for y in (few, many)]
    torch.testing.assert_close(losses[0], losses[1])
    assert float(losses[0]) == pytest.approx(
        math.log1p(math.exp(-0.3)) + 0.5 * (math.log1p(math.exp(0.3)) + math.log1p(math.exp(-0.3))),
        rel=1e-5,
    )


def test_recovered_labels_reach_the_head_only_through_their_weight() -> None:
    logits = torch.zeros(2, 2, requires_grad=True)
    labels = torch.tensor([[1, 0], [0, 0]])
    weights = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    recovery_loss(logits, labels, torch.ones(2, 2), weights, 0.5, PLAIN).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.5, -0.25], [0.0, 0.0]]))


def test_a_batch_without_known_labels_has_a_finite_loss() -> None:
    empty = recovery_loss(
        torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(2, 2), 1.0, PLAIN
    )
    assert float(empty) == 0.0


def test_the_largest_losses_are_rejected_or_flipped() -> None:
    p = torch.tensor([[0.99, 0.6, 0.2, 0.9], [0.1, 0.3, 0.05, 0.97]])
    labels = torch.zeros(2, 4)
    labels[1, 3] = -1  # known: never touched
    targets, weights = torch.full((2, 4), 0.1), torch.ones(2, 4)
    targets[0, 3] = 0.9  # recovered as present already
    new_targets, new_weights = reject_large_losses(p, labels, targets, weights, 0.34, 0.95)
    assert new_targets[0, 0] == 1.0
    assert new_weights[0, 0] == 1.0
    assert new_weights[0, 1] == 0.0
    assert new_weights.sum() == 7
    torch.testing.assert_close(new_targets[1], targets[1])
    assert new_targets[0, 3] == pytest.approx(0.9)


def test_no_share_rejects_nothing() -> None:
    targets, weights = torch.zeros(2, 2), torch.ones(2, 2)
    found = reject_large_losses(torch.rand(2, 2), torch.zeros(2, 2), targets, weights, 0.0, 0.9)
    assert found == (targets, weights)


def test_the_expected_count_is_pulled_to_the_prior_from_both_sides() -> None:
    labels, priors = torch.zeros(8, 1), torch.tensor([0.25])
    for start, sign in ((2.0, 1), (-4.0, -1)):
        z = torch.full((8, 1), start, requires_grad=True)
        expected_positives_loss(z, labels, priors).backward()
        assert z.grad is not None
        assert (z.grad.sign() == sign).all()
    exact = torch.full((8, 1), math.log(1 / 3))
    assert float(expected_positives_loss(exact, labels, priors)) == pytest.approx(0, abs=1e-10)


def test_known_positives_are_pulled_above_unknowns() -> None:
    logits = torch.zeros(6, 2, requires_grad=True)
    labels = torch.zeros(6, 2)
    labels[0, 0] = 1
    draw = torch.Generator().manual_seed(0)
    ranking_loss(logits, labels, torch.zeros(6, 2), 64, draw).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] < 0
    assert (logits.grad[1:, 0] > 0).all()
    assert (logits.grad[:, 1] == 0).all()


def test_recovered_positives_are_not_pushed_down() -> None:
    logits = torch.zeros(3, 1, requires_grad=True)
    labels, targets = torch.tensor([[1.0], [0.0], [0.0]]), torch.tensor([[0.0], [1.0], [0.0]])
    draw = torch.Generator().manual_seed(0)
    ranking_loss(logits, labels, targets, 64, draw).backward()
    assert logits.grad is not None
    assert logits.grad[1, 0] == 0
    assert logits.grad[2, 0] > 0


def test_ranking_without_positives_is_zero_but_differentiable() -> None:
    logits = torch.randn(3, 2, requires_grad=True)
    loss = ranking_loss(logits, torch.zeros(3, 2), torch.zeros(3, 2), 4, torch.Generator())
    loss.backward()
    assert float(loss.detach()) == 0.0

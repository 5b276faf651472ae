"""Blending a category between pictures, and agreement with categories alike in words."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clsl_core.recovery.head.clsl import CLSLHead, ModelConfig
from clsl_core.recovery.head.losses import (
    LossConfig,
    Structure,
    blending_loss,
    draw_partners,
    structure_loss,
)
from clsl_core.recovery.head.training import HeadTrainer
from clsl_core.recovery.text_prior import TextPrior
from clsl_core.recovery.train import fit
from clsl_core.types import no_progress
from tests.core.synthetic import Collection, make_collection, tiny_config

PLAIN = LossConfig(gamma_positive=0, gamma_negative=0)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits_of(collection: Collection, **loss: float) -> np.ndarray:
    """What a short training says, with these losses beside the usual ones."""
    config = tiny_config(epochs=2, loss=replace(LossConfig(), **loss))
    model = fit(
        collection.features, collection.mixed(0.4), category_vectors=collection.vectors,
        text=True, config=config, progress=no_progress,
    )  # fmt: skip
    return model.predict(collection.features).values


def test_partners_are_other_pictures_known_to_show_the_category() -> None:
    labels = torch.tensor([[1, 0, -1], [1, -1, -1], [-1, 1, 0], [0, 0, -1]])
    seen: dict[tuple[int, int], set[int]] = {}
    for seed in range(60):
        partners, there = draw_partners(labels, draw(seed))
        for row, column in torch.nonzero(there).tolist():
            partner = int(partners[row, column])
            assert partner != row
            assert labels[partner, column] > 0
            seen.setdefault((row, column), set()).add(partner)
    assert seen[3, 0] == {0, 1}  # every one of them, sooner or later
    assert seen[0, 0] == {1}
    assert (2, 1) not in seen  # it is the only one itself
    assert not any(column == 2 for _, column in seen)


def test_a_blend_is_the_mixed_score_against_the_mixed_label() -> None:
    # One category, one positive: the partner is certain, and the share can be read off the loss.
    logits = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    labels, targets = torch.tensor([[1], [-1]]), torch.zeros(2, 1, dtype=torch.float64)
    share = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    blended = share * -1.0 + (1 - share) * 2.0
    curve = torch.nn.functional.binary_cross_entropy_with_logits(
        blended, 1 - share, reduction="none"
    )
    shares = set()
    for seed in range(40):
        loss = blending_loss(logits, labels, targets, targets, PLAIN, draw(seed))
        best = (curve - loss).abs().min(0)
        if float(loss) == 0:  # chance gave the picture itself
            continue
        assert float(best.values) < 1e-4
        shares.add(round(float(share[best.indices]), 2))
    assert len(shares) > 5


def test_no_positive_no_blend_and_no_global_randomness() -> None:
    z, labels = torch.randn(4, 3, requires_grad=True), -torch.ones(4, 3)
    before = torch.get_rng_state()
    loss = blending_loss(z, labels, torch.zeros(4, 3), torch.ones(4, 3), PLAIN, draw())
    assert float(loss.detach()) == 0.0
    assert torch.equal(before, torch.get_rng_state())


def test_neighbours_in_words_move_a_score_towards_what_they_know() -> None:
    vectors = np.array([[1, 0.1, 0], [1, -0.1, 0], [-1, 0, 0.1], [-1, 0, -0.1]], np.float32)
    structure = Structure.of(vectors, "cpu")
    assert structure is not None
    assert structure.index[:, 0].tolist() == [1, 0, 3, 2]
    z = torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]], requires_grad=True)
    labels = torch.tensor([[0, 1, 0, 0], [0, -1, 0, 0]])
    structure_loss(z, labels, structure, 0.5).backward()
    assert z.grad is not None
    assert z.grad[0, 0] < 0 < z.grad[1, 0]  # a step against the gradient follows the neighbour
    assert (z.grad[:, 1] == 0).all()  # known labels are left alone
    assert z.grad[0, 0].abs() > 5 * z.grad[0, 2].abs()
    assert Structure.of(vectors[:1], "cpu") is None


@pytest.mark.parametrize("switch", [{"blending": 0.5}, {"structure": 0.5}])
def test_a_switch_changes_the_head_and_its_gradient(switch: dict[str, float]) -> None:
    collection = make_collection()
    labels = torch.from_numpy(collection.mixed(0.4))[:16]
    head = CLSLHead(
        ModelConfig(width=16, attention_width=8, hidden=16), (3, 3), 10,
        np.full(4, 0.2, np.float32), vectors=collection.vectors, text=TextPrior(collection.vectors),
    )  # fmt: skip
    torch.nn.init.normal_(head.patch_out.weight, std=0.1)
    z = head(torch.from_numpy(collection.features.tokens(np.arange(16)))).z1
    if "blending" in switch:
        none = torch.zeros_like(z)
        loss = blending_loss(z, labels, none, none, LossConfig(), draw())
    else:
        structure = Structure.of(collection.vectors + 1.0, "cpu")
        assert structure is not None
        weight = torch.ones_like(structure.weight)
        loss = structure_loss(z, labels, Structure(structure.index, weight), 0.5)
    loss.backward()
    for parameter in (head.patch_out.weight, head.patch_in.weight, head.label_in.weight):
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_switched_off_they_are_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*values: object) -> None:
        raise AssertionError("asked although it is off")

    collection = make_collection()
    usual = logits_of(collection)
    monkeypatch.setattr("clsl_core.recovery.head.training.blending_loss", refuse)
    monkeypatch.setattr("clsl_core.recovery.head.training.structure_loss", refuse)
    assert np.array_equal(logits_of(collection), usual)
    assert HeadTrainer(collection.features, tiny_config(), "cpu", None)._structure is None
    with pytest.raises(AssertionError, match="although it is off"):
        logits_of(collection, blending=0.5)
    with pytest.raises(AssertionError, match="although it is off"):
        logits_of(collection, structure=0.5)


@pytest.mark.parametrize("switch", [{"blending": 0.5}, {"structure": 0.5}])
def test_switched_on_training_is_repeatable(switch: dict[str, float]) -> None:
    collection = make_collection()
    found = logits_of(collection, **switch)
    assert np.isfinite(found).all()
    assert np.array_equal(found, logits_of(collection, **switch))

"""Every baseline learns what it can, says what it cannot, and the released one has its faults."""

import numpy as np
import pytest
import torch

from benchmarks.baselines import METHODS, NotApplicable, Predicted, Question, make_method
from benchmarks.baselines.blend import RankBlend, blend
from benchmarks.baselines.frequency import class_shares
from benchmarks.baselines.logistic import LogisticPerCategory
from benchmarks.baselines.ours import ABLATIONS, Ours
from benchmarks.baselines.released import ReleasedHead, ReleasedLoss, sharpen
from benchmarks.baselines.vote import NeighbourVote
from benchmarks.evaluation import judge
from benchmarks.regimes import Regime
from benchmarks.tokens import Categories, subset
from clsl_core.errors import NotFoundError
from clsl_core.recovery.train import TrainConfig
from tests.benchmarks.drawn import NAMES, make_question
from tests.core.synthetic import tiny_config

LEARNERS = ("knn", "logistic-known", "logistic-weak", "token-head")


def quality(truth: np.ndarray, scores: np.ndarray, judged: np.ndarray | None = None) -> float:
    mask = np.ones(truth.shape, bool) if judged is None else judged
    return judge(truth, scores, mask, 1).map


@pytest.mark.parametrize("name", LEARNERS)
def test_learners_beat_chance_on_known_entries(name: str) -> None:
    question, truth, test = make_question(Regime.MIXED)
    found = make_method(name).fit_predict(question)
    chance = make_method("random").fit_predict(question)
    unknown = question.labels == 0
    assert quality(test, found.test) > quality(test, chance.test) + 0.2
    assert quality(truth, found.train, unknown) > quality(truth, chance.train, unknown) + 0.2


@pytest.mark.parametrize("name", ["knn", "logistic-weak", "token-head"])
def test_learners_beat_chance_on_positives_only(name: str) -> None:
    question, truth, test = make_question(Regime.POSITIVES)
    found = make_method(name).fit_predict(question)
    unknown = question.labels == 0
    assert quality(test, found.test) > 0.5
    assert quality(truth, found.train, unknown) > quality(truth, -found.train, unknown) + 0.1


@pytest.mark.parametrize("name", ["random", "frequency", *LEARNERS])
def test_scores_are_shares_and_the_same_again(name: str) -> None:
    question, _, _ = make_question(Regime.MIXED, 0.3)
    first, again = (make_method(name).fit_predict(question) for _ in range(2))
    assert first.train.shape == question.labels.shape
    assert first.test.shape == (60, 4)
    assert (first.train >= 0).all()
    assert (first.train <= 1).all()
    assert np.array_equal(first.train, again.train)
    assert np.array_equal(first.test, again.test)


@pytest.mark.parametrize("name", ["random", "frequency", *LEARNERS])
def test_there_need_not_be_anything_to_test_on(name: str) -> None:
    question, _, _ = make_question(Regime.MIXED)
    nothing = subset(question.test, np.zeros(0, np.int64))
    alone = Question(question.train, question.labels, nothing, question.categories, 0)
    found = make_method(name).fit_predict(alone)
    assert found.test.shape == (0, 4)
    assert np.allclose(found.train, make_method(name).fit_predict(question).train)


def test_frequency_is_the_known_share() -> None:
    question, _, _ = make_question(Regime.MIXED, 0.5)
    column = question.labels[:, 0]
    expected = (column > 0).sum() / (column != 0).sum()
    found = make_method("frequency").fit_predict(question).test[0, 0]
    assert found == pytest.approx(expected, abs=0.02)


def test_a_regression_on_known_entries_needs_negatives() -> None:
    question, _, _ = make_question(Regime.POSITIVES)
    with pytest.raises(NotApplicable, match="no negative is known"):
        make_method("logistic-known").fit_predict(question)
    weak = LogisticPerCategory(True).fit_predict(question)
    assert np.array_equal(LogisticPerCategory().fit_predict(question).train, weak.train)


def test_a_picture_has_no_vote_about_itself() -> None:
    question, _, _ = make_question(Regime.MIXED, 1.0)
    lonely = question.labels.copy()
    lonely[:, 0] = -1
    lonely[7, 0] = 1  # the only positive: nobody but itself could vote for it
    changed = Question(question.train, lonely, question.test, question.categories, 0)
    votes = NeighbourVote().fit_predict(changed).train[:, 0]
    assert votes[7] < class_shares(lonely)[0] < votes.max()


def test_unknown_neighbours_vote_against_where_asked() -> None:
    question, _, _ = make_question(Regime.MIXED, 0.3)
    known = NeighbourVote().fit_predict(question)
    weak = NeighbourVote(unknown_as_negative=True).fit_predict(question)
    assert weak.test.mean() < 0.6 * known.test.mean()
    positives, _, _ = make_question(Regime.POSITIVES)
    first, second = (NeighbourVote(w).fit_predict(positives) for w in (None, True))
    assert np.array_equal(first.test, second.test)


def test_zero_shot_needs_text_and_nothing_else() -> None:
    question, truth, test = make_question(Regime.MIXED, text=True)
    for name in ("zero-shot-global", "zero-shot-patch"):
        blind = Question(
            question.train, np.zeros_like(truth), question.test, question.categories, 0
        )
        found = make_method(name).fit_predict(blind)
        assert quality(test, found.test) > 0.6
        glove = Question(
            question.train,
            question.labels,
            question.test,
            Categories(NAMES, question.categories.vectors, False),
            0,
        )
        with pytest.raises(NotApplicable, match="no text"):
            make_method(name).fit_predict(glove)


def test_the_blend_gives_each_part_the_same_say() -> None:
    up = np.linspace(0, 1, 5, dtype=np.float32)[:, None]
    sure = Predicted(up**9, up[:0])
    twisted = Predicted(up[[0, 1, 2, 4, 3]] * 0.01, up[:0])
    found = blend([sure, twisted]).train[:, 0]
    # The last two have tied ranks (4.5), the rest keep their order.
    assert list(np.argsort(found[:3])) == [0, 1, 2]
    assert found[:3].max() < found[3:].min()
    assert np.array_equal(np.sort(found), np.sort((up**9 + up[[0, 1, 2, 4, 3]] * 0.01)[:, 0] / 2))


def test_the_blend_is_made_of_its_parts() -> None:
    question, _, _ = make_question(Regime.MIXED)
    parts = (NeighbourVote(), LogisticPerCategory())
    found = RankBlend(parts).fit_predict(question)
    expected = blend([part.fit_predict(question) for part in parts])
    assert np.array_equal(found.test, expected.test)


def test_ours_and_its_ablations_are_configurations() -> None:
    question, _, test = make_question(Regime.MIXED)
    small = Ours(lambda config: tiny_config(seed=config.seed))
    assert quality(test, small.fit_predict(question).test) > 0.6
    for name, change in ABLATIONS.items():
        assert change(TrainConfig()) != TrainConfig(), name
    assert {f"ours:{name}" for name in ABLATIONS} < set(METHODS)


def test_a_warm_start_goes_on_from_the_last_model() -> None:
    question, _, _ = make_question(Regime.MIXED)
    method = Ours(lambda config: tiny_config(seed=config.seed), warm=True)
    method.fit_predict(question)
    cold = method.last
    method.fit_predict(question)
    assert cold is not None
    assert method.last is not None
    assert len(method.last.curves) < len(cold.curves)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(NotFoundError, match="no method 'best'; the methods are: random"):
        make_method("best")


# ---- the released method and its faults --------------------------------------------------------


def released(known: float = 0.1, seed: int = 0) -> tuple[ReleasedHead, ReleasedLoss, Question]:
    torch.manual_seed(seed)
    question, _, _ = make_question(Regime.MIXED, known)
    head = ReleasedHead((3, 3), 10, 4, torch.from_numpy(question.categories.vectors), 8)
    return head, ReleasedLoss(head, question.train, question.labels, torch.device("cpu")), question


def batch(question: Question, rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(question.train.tokens(rows)).float()


def test_the_released_method_learns() -> None:
    question, _, test = make_question(Regime.MIXED)
    assert quality(test, make_method("released").fit_predict(question).test) > 0.5


def terms(loss: ReleasedLoss, question: Question, count: int) -> tuple[float, float]:
    rows = np.arange(count)
    with torch.no_grad():
        known, recovered = loss.terms(batch(question, rows), rows)
    return float(known), float(recovered)


def test_fault_a_recovery_drowns_in_the_sum_of_known_entries() -> None:
    head, loss, question = released(0.1)
    loss.begin(loss.epochs, head)
    known, recovered = terms(loss, question, 32)
    assert int((question.labels[:32] != 0).sum()) < 25  # about a tenth of 128
    assert 0 < recovered < 0.1 * known
    # As the known term is a sum it grows with the batch, the recovered one does not.
    more_known, more_recovered = terms(loss, question, 120)
    assert more_known > 2 * known
    assert more_recovered < 2 * recovered
    assert more_recovered < 0.03 * more_known


def test_fault_b_sharpening_turns_everything_positive_where_all_logits_are_negative() -> None:
    logits = torch.tensor([[-1.0, -2.0, -5.0], [2.0, -1.0, 0.5]])
    found = sharpen(logits)
    assert (found[0] > 0.5).all()
    assert list(found[1] > 0.5) == [True, False, True]


def test_fault_c_recovered_labels_do_not_teach_the_scores() -> None:
    head, loss, question = released(0.1)
    loss.begin(loss.epochs, head)
    rows = np.arange(32)
    _, recovered = loss.terms(batch(question, rows), rows)
    recovered.backward()
    assert head.auxiliary.weight.grad is not None
    assert all(parameter.grad is None for parameter in head.classify.parameters())


def test_it_normalises_over_the_batch() -> None:
    head, _, question = released()
    head.train()
    for module in head.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    head.attend.dropout = 0.0
    tokens = batch(question, np.arange(8))
    together, alone = head(tokens).z1[:2], head(tokens[:2]).z1
    assert not torch.allclose(together, alone, atol=1e-4)


def test_before_the_warm_up_ends_nothing_is_recovered() -> None:
    head, loss, question = released()
    loss.begin(0, head)
    assert terms(loss, question, 16)[1] == 0.0

"""Methods with other words for the categories."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.baselines import METHODS, NotApplicable, make_method
from benchmarks.literature.embedding import embed
from benchmarks.literature.original import Part
from benchmarks.tokens import load
from clsl_core.adaptation.prompts import LearnedContext
from clsl_core.backbones.open_clip import OpenClipBackbone
from clsl_core.errors import InputError
from clsl_core.types import no_progress
from tests.benchmarks.drawn import make_question, write_tokens
from tests.core.adaptation.test_finetune import VIT, Squares, checkpoints, one_thread  # noqa: F401 - fixtures

ZERO = "zero-shot-patch"
NAMES = ("red", "green", "blue")


def embedded(folder: Path, checkpoints: Path, descriptions: dict[str, list[str]]) -> Path:  # noqa: F811
    pictures = Squares(12)
    (folder / "pictures").mkdir(parents=True)
    files = [f"{index}.png" for index in range(12)]
    for index, file in enumerate(files):
        pictures.load(index).save(folder / "pictures" / file)
    truth = np.where(pictures.truth, 1, -1).astype(np.int8)
    part = Part(folder / "pictures", files, truth)
    backbone = OpenClipBackbone.load(VIT, str(checkpoints / f"{VIT}.pt"), "cpu")
    place = folder / "work"
    place.mkdir()
    embed(part, NAMES, backbone, place, no_progress, descriptions)
    return place


def test_descriptions_come_with_the_inputs(tmp_path: Path, checkpoints: Path) -> None:  # noqa: F811
    collection = load(embedded(tmp_path, checkpoints, {"red": ["the colour of blood"]}))
    categories = collection.categories
    assert categories.vectors is not None
    assert categories.described is not None
    same = (categories.vectors == categories.described).all(1)
    assert same.tolist() == [False, True, True]
    again = load(embedded(tmp_path / "without", checkpoints, {})).categories
    assert again.described is None
    with pytest.raises(InputError, match="described_embeddings"):
        load(write_tokens(tmp_path / "x.npz", described_embeddings=np.zeros((3, 5))))


def test_a_described_method_gets_the_described_vectors() -> None:
    question, _, _ = make_question(text=True)
    with pytest.raises(NotApplicable, match="no descriptions"):
        make_method(f"{ZERO}:with-descriptions").fit_predict(question)
    vectors = question.categories.vectors
    assert vectors is not None
    swapped = replace(question.categories, described=vectors[::-1].copy())
    found = make_method(f"{ZERO}:with-descriptions").fit_predict(
        replace(question, categories=swapped)
    )
    plain = make_method(ZERO).fit_predict(question)
    assert np.allclose(found.test, plain.test[:, ::-1])
    assert {"ours:with-descriptions", "ours:with-prompts"} < set(METHODS)


@pytest.mark.parametrize("better", [True, False])
def test_a_prompted_method_learns_from_the_known_labels(
    tmp_path: Path,
    checkpoints: Path,  # noqa: F811
    better: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collection = load(embedded(tmp_path, checkpoints, {}))
    question, _, _ = make_question()
    with pytest.raises(NotApplicable, match="which open_clip model"):
        make_method(f"{ZERO}:with-prompts").fit_predict(question)
    own = replace(
        question,
        train=collection.features,
        test=collection.features,
        labels=collection.truth,
        categories=collection.categories,
    )
    seen = []

    def learn(reader, features, labels, names, background, config, progress):  # type: ignore[no-untyped-def]
        seen.append((labels is own.labels, tuple(names), config.seed))
        context = np.random.default_rng(0).normal(size=reader.start().shape)
        return LearnedContext(context.astype(np.float32), [], 0.5, 0.6 if better else 0.5)

    monkeypatch.setattr("clsl_core.adaptation.prompts.learn_context", learn)
    found = make_method(f"{ZERO}:with-prompts").fit_predict(own)
    assert seen == [(True, NAMES, own.seed)]
    plain = make_method(ZERO).fit_predict(own)
    assert np.array_equal(found.train, plain.train) is not better

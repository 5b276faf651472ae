"""Words for the text tower: kept beside the data, and seen by the next training."""

from pathlib import Path

import numpy as np
import pytest

from app.services.learning import category_text, embedding
from app.services.workspace import Workspace
from clsl_core.adaptation.prompts import LearnedContext
from clsl_core.errors import BackboneError, InputError
from db.models import EmbeddingRun
from tests.builders import coco_document, make_dataset
from tests.core.adaptation.test_finetune import VIT, checkpoints, one_thread  # noqa: F401 - fixtures


@pytest.fixture
def dataset_id(workspace: Workspace, checkpoints: Path) -> int:  # noqa: F811
    made = make_dataset(workspace, document=coco_document(images=8)).dataset_id
    embedding.embed(workspace, made, VIT, str(checkpoints / f"{VIT}.pt"))
    return made


def texts(workspace: Workspace) -> embedding.TextVectors:
    with workspace.database.read() as session:
        run_id = session.query(EmbeddingRun).one().id
    vectors = embedding.text_vectors(workspace, run_id)
    assert vectors is not None
    return vectors


def names_of(document: dict[str, list[dict[str, str]]]) -> list[str]:
    return [category["name"] for category in document["categories"]]


def test_descriptions_change_their_category_alone_and_can_be_forgotten(
    workspace: Workspace, dataset_id: int, tmp_path: Path
) -> None:
    plain, name = texts(workspace), names_of(coco_document())[1]
    file = tmp_path / "said.csv"
    file.write_text(f"category,description\n{name},a thing with two sides\nunicorn,a horse\n")
    assert category_text.keep_descriptions(workspace, dataset_id, file) == ["unicorn"]
    said = texts(workspace)
    same = [np.array_equal(*pair) for pair in zip(plain.categories, said.categories, strict=True)]
    assert same == [True, False, True]
    assert np.array_equal(plain.background, said.background)
    category_text.forget_descriptions(workspace, dataset_id)
    assert np.array_equal(texts(workspace).categories, plain.categories)
    file.write_text("category,description\nunicorn,a horse\n")
    with pytest.raises(InputError, match="describes no category of this dataset"):
        category_text.keep_descriptions(workspace, dataset_id, file)


@pytest.mark.parametrize("better", [True, False])
def test_prompts_are_kept_where_they_do_better(
    workspace: Workspace, dataset_id: int, better: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = texts(workspace)
    seen = []

    def learn(reader, features, labels, names, background, config, progress):  # type: ignore[no-untyped-def]
        seen.append((len(features), labels.shape, list(names), background))
        context = reader.start().numpy() + 1.0
        return LearnedContext(context, [1.0], 0.5, 0.6 if better else 0.4)

    monkeypatch.setattr("clsl_core.adaptation.prompts.learn_context", learn)
    result = embedding.embed(workspace, dataset_id, prompts="learned")
    [(images, shape, names, background)] = seen
    assert (images, shape, names) == (8, (8, 3), names_of(coco_document()))
    assert not set(names) & set(background)
    learned = texts(workspace)
    assert np.array_equal(learned.background, plain.background)
    assert np.array_equal(learned.categories, plain.categories) is not better
    assert ("prompts learned" if better else "prompts not kept") in result["message"]
    embedding.embed(workspace, dataset_id)
    assert np.array_equal(texts(workspace).categories, learned.categories)
    embedding.embed(workspace, dataset_id, prompts="sentences")
    assert np.array_equal(texts(workspace).categories, plain.categories)


def test_prompts_are_learned_from_what_is_known(workspace: Workspace, dataset_id: int) -> None:
    result = embedding.embed(workspace, dataset_id, prompts="learned")
    assert "on images kept out" in result["message"]


def test_a_backbone_without_names_says_what_to_do(workspace: Workspace, dataset_id: int) -> None:
    with pytest.raises(BackboneError, match="cannot learn prompts: choose an open_clip model"):
        embedding.embed(workspace, dataset_id, "builtin", prompts="learned")

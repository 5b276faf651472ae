"""Small token files and questions whose truth is known."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baselines import Question
from benchmarks.regimes import Regime, keep
from benchmarks.tokens import Categories, subset
from tests.core.synthetic import make_collection

NAMES = ("bear", "canoe", "kite", "lamp")


def write_tokens(path: Path, images: int = 60, seed: int = 0, **changes: Any) -> Path:
    """A token file with text vectors of the tokens' space; None leaves an array out."""
    drawn = make_collection(images, len(NAMES), seed)
    arrays: dict[str, Any] = {
        "tokens": drawn.features.tokens(np.arange(images)),
        "labels": (drawn.truth > 0).astype(np.int8),
        "categories": np.array(NAMES),
        "files": np.array([f"{i}.jpg" for i in range(images)]),
        "label_embeddings": drawn.vectors,
    }
    arrays.update(changes)
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def make_question(
    regime: Regime = Regime.MIXED, known: float = 0.5, *, text: bool = False, seed: int = 0
) -> tuple[Question, np.ndarray, np.ndarray]:
    """A question of 120 images, with the truth of these and of 60 to test on."""
    drawn = make_collection(180, len(NAMES), seed)
    train, test = np.arange(120), np.arange(120, 180)
    question = Question(
        subset(drawn.features, train),
        keep(drawn.truth[train], regime, known, seed),
        subset(drawn.features, test),
        Categories(NAMES, drawn.vectors, text),
        seed,
    )
    return question, drawn.truth[train], drawn.truth[test]

"""How fast are training and embedding on this machine, beside a plain way to do the same?

    python -m benchmarks.training_speed --json OUT.json [--backbone builtin] [--categories 80]

Three measurements: a training step against the released architecture (``benchmarks.train_step``),
a whole first training with the head against a plain loop without any of the method (a linear
head on the same tokens, as many passes), and embedding in batches against one picture at a time.
Timings compare within one run only.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import train_step
from benchmarks.baselines.method import Question
from benchmarks.baselines.token_head import TokenHead
from benchmarks.runs import Sheet, end_with_the_cell, say
from benchmarks.table import print_table
from benchmarks.tokens import Categories
from clsl_core.backbones.choice import load_backbone
from clsl_core.backbones.spec import Backbone, normalised
from clsl_core.errors import ClslError
from clsl_core.features import FeatureView
from clsl_core.recovery.train import TrainConfig, fit
from clsl_core.types import no_progress

__all__ = ["drawn", "embedding_speed", "main", "training_speed"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when everything was measured."""
    options = _parse(arguments)
    try:
        sheet = Sheet.open(options.json, {}, resume=False)
        train_step.measure(sheet, options)
        rows = []
        for images in options.images:
            say(f"training on {images} images")
            sheet.add(training_speed(images, options.tokens, options.labels), [])
            rows.append(sheet.cells[-1])
        _report_training(rows)
        say(f"embedding with {options.backbone}")
        backbone = load_backbone(options.backbone, options.pretrained)
        sheet.add(embedding_speed(backbone, options.pictures), [])
        _report_embedding(sheet.cells[-1])
    except ClslError as error:
        say(f"training_speed: {error}")
        return 1
    return 1 if any("failed" in cell for cell in sheet.cells) else 0


def training_speed(images: int, patches: int, categories: int) -> dict[str, Any]:
    """Seconds of a first training and of a retraining, and of the plain loop, on drawn tokens."""
    features, labels = drawn(images, patches, categories)
    began = time.perf_counter()
    first = fit(
        features, labels, category_vectors=None, text=False, config=TrainConfig(),
        progress=no_progress,
    )  # fmt: skip
    cold = time.perf_counter() - began
    began = time.perf_counter()
    fit(
        features, _with_verdicts(labels), category_vectors=None, text=False,
        config=TrainConfig(), progress=no_progress, warm_start=first,
    )  # fmt: skip
    warm = time.perf_counter() - began
    began = time.perf_counter()
    names = Categories(tuple(map(str, range(categories))), None, text=False)
    TokenHead().fit_predict(Question(features, labels, features, names, 0))
    plain = time.perf_counter() - began
    return {
        "key": f"training-{images}-{patches}-{categories}",
        "images": images,
        "patches": patches,
        "categories": categories,
        "first_seconds": cold,
        "retraining_seconds": warm,
        "plain_seconds": plain,
    }


def embedding_speed(backbone: Backbone, pictures: int) -> dict[str, Any]:
    """Pictures a second, in batches of 32 and one by one."""
    rng = np.random.default_rng(0)
    drawn = [
        Image.fromarray(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
        for _ in range(pictures)
    ]
    backbone.encode_images(drawn[:1])
    rates = {}
    for name, size in (("batches", 32), ("one by one", 1)):
        began = time.perf_counter()
        for start in range(0, pictures, size):
            backbone.encode_images(drawn[start : start + size])
        rates[name] = pictures / (time.perf_counter() - began)
    return {"key": "embedding", "backbone": backbone.spec.describe(), "per_second": rates}


def drawn(
    images: int, patches: int, categories: int
) -> tuple[FeatureView, np.ndarray[Any, np.dtype[np.int8]]]:
    """Tokens in which categories show, and a tenth of the labels."""
    rng = np.random.default_rng(0)
    directions = normalised(rng.normal(size=(categories, 128)).astype(np.float32))
    truth = rng.random((images, categories)) < 1.5 / categories
    tokens = rng.normal(size=(images, patches, 128)).astype(np.float32) / 128**0.5
    rows, columns = np.nonzero(truth)
    tokens[rows, rng.integers(0, patches, len(rows))] += directions[columns]
    known = rng.random(truth.shape) < 0.1
    labels = np.where(known, np.where(truth, 1, -1), 0).astype(np.int8)
    return FeatureView.from_arrays(normalised(tokens)), labels


def _with_verdicts(
    labels: np.ndarray[Any, np.dtype[np.int8]],
) -> np.ndarray[Any, np.dtype[np.int8]]:
    """Two hundred more labels, as a round of review gives them."""
    more = labels.copy()
    places = np.flatnonzero(more == 0)[:200]
    more.ravel()[places] = -1
    return more


def _report_training(rows: Sequence[dict[str, Any]]) -> None:
    print()
    print_table(
        ["images × patches × categories", "first training s", "after 200 verdicts s",
         "plain linear head s", "ratio"],
        [
            [
                f"{row['images']} × {row['patches']} × {row['categories']}",
                f"{row['first_seconds']:.1f}",
                f"{row['retraining_seconds']:.1f}",
                f"{row['plain_seconds']:.1f}",
                f"{row['first_seconds'] / row['plain_seconds']:.1f} ×",
            ]
            for row in rows
        ],
    )  # fmt: skip


def _report_embedding(record: dict[str, Any]) -> None:
    batches, single = record["per_second"]["batches"], record["per_second"]["one by one"]
    print(f"\n{record['backbone']}\n")
    print(f"{batches:.1f} pictures a second in batches, {single:.1f} one by one: ", end="")
    print(f"{batches / single:.2f} ×")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_speed", description=(__doc__ or "").splitlines()[0]
    )
    train_step.add_options(parser)
    parser.add_argument("--images", type=int, nargs="+", default=[2000], help="of the training")
    parser.add_argument("--tokens", type=int, default=49, help="patches of an image in it")
    parser.add_argument("--labels", type=int, default=20, help="categories in it")
    parser.add_argument("--backbone", default="builtin", help="to embed with")
    parser.add_argument("--pretrained", help="hub tag, or path of a checkpoint")
    parser.add_argument("--pictures", type=int, default=64, help="to embed")
    parser.add_argument("--json", type=Path, help="file for the results")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    end_with_the_cell()
    sys.exit(main())

"""How many hidden labels are among the first proposals?

Hides a share of the positive labels of a COCO file, tells the model nothing else (absence is
UNKNOWN), and counts the hidden ones among the first N proposals, against two orders that need
no picture: random, and categories by how often they are known.

    python -m benchmarks.hidden_labels --file instances.json --images DIR [--json OUT]
    python -m benchmarks.hidden_labels --tokens FILE.npz [--json OUT]

A token file holds patch tokens made elsewhere; ``benchmarks.tokens`` describes it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.regimes import hide
from benchmarks.tokens import load
from clsl_core.arrays import Labels
from clsl_core.backbones.choice import choose_backbone
from clsl_core.errors import ImageError
from clsl_core.features import FeatureView
from clsl_core.formats import get_format
from clsl_core.pictures.loading import LocalImages
from clsl_core.recovery.ranking import ProposeConfig, propose
from clsl_core.recovery.train import TrainConfig, fit
from clsl_core.types import AnnotationSet, no_progress

Order = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def embed(content: AnnotationSet, images: LocalImages, name: str) -> tuple[FeatureView, list[int]]:
    """Features of every usable picture, and its place in the file."""
    backbone, _ = choose_backbone(name)
    parts, rows = [], []
    for row, image in enumerate(content.images):
        try:
            parts.append(backbone.encode_images([images.load(image.file_name)]))
            rows.append(row)
        except ImageError as error:
            print(f"left out: {error}")
    tokens = np.concatenate([part.tokens for part in parts])
    pooled = np.concatenate([part.pooled for part in parts]).astype(np.float32)
    return FeatureView.from_arrays(tokens, pooled, backbone.spec.grid), rows


def truth(content: AnnotationSet, rows: Sequence[int]) -> Labels:
    """(N, C) with 1 where the file knows a label to be present."""
    places = {content.images[row].source_id: i for i, row in enumerate(rows)}
    columns = {category.source_id: i for i, category in enumerate(content.categories)}
    labels = np.zeros((len(places), len(columns)), np.int8)
    for label in content.labels:
        if label.state > 0 and label.image_id in places:
            labels[places[label.image_id], columns[label.category_id]] = 1
    return labels


def random_order(known: Labels, rng: np.random.Generator) -> Order:
    """Unknown pairs in random order."""
    rows, columns = np.nonzero(known == 0)
    order = rng.permutation(len(rows))
    return rows[order], columns[order]


def frequency_order(known: Labels, rng: np.random.Generator) -> Order:
    """Unknown pairs, those of the category that is known most often first."""
    rows, columns = random_order(known, rng)
    order = np.argsort(-(known > 0).sum(0)[columns], kind="stable")
    return rows[order], columns[order]


def model_order(features: FeatureView, known: Labels, seed: int) -> tuple[Order, float]:
    """Pairs as the program proposes them, and the seconds that training took."""
    began = time.perf_counter()
    recovery = fit(
        features,
        known,
        category_vectors=None,
        text=False,
        config=TrainConfig(seed=seed),
        progress=no_progress,
    )
    seconds = time.perf_counter() - began
    proposals = propose(recovery.predict(features), known, ProposeConfig(), seed)
    present = proposals.states > 0
    return (proposals.rows[present], proposals.columns[present]), seconds


def measure(
    features: FeatureView, labels: Labels, hidden: float, first: int, seed: int
) -> dict[str, float]:
    """Share of hidden positives among the first pairs, for each order."""
    rng = np.random.default_rng(seed)
    known = hide(labels, hidden, rng)
    proposed, seconds = model_order(features, known, seed)
    orders: Mapping[str, Order] = {
        "random": random_order(known, rng),
        "category frequency": frequency_order(known, rng),
        "proposals": proposed,
    }
    shares = {
        name: float((labels[rows[:first], columns[:first]] > 0).mean())
        for name, (rows, columns) in orders.items()
    }
    return {**shares, "training seconds": seconds}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--file", type=Path, help="COCO instances JSON")
    parser.add_argument("--images", type=Path, help="folder of its pictures")
    parser.add_argument("--tokens", type=Path, help="a token file instead of pictures")
    parser.add_argument("--hide", type=float, default=0.5, help="share of positives to hide")
    parser.add_argument("--first", type=int, default=500, help="how many proposals to look at")
    parser.add_argument("--seeds", type=int, default=3, help="repetitions")
    parser.add_argument("--backbone", default="builtin", help="builtin or an open_clip model")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    if options.tokens is not None:
        collection = load(options.tokens)
        features, labels = collection.features, collection.truth
    elif options.file is not None and options.images is not None:
        content, _ = get_format("coco").read(options.file)
        features, rows = embed(content, LocalImages(options.images), options.backbone)
        labels = truth(content, rows)
    else:
        parser.error("give --file and --images, or --tokens")
    results = [
        measure(features, labels, options.hide, options.first, seed)
        for seed in range(options.seeds)
    ]
    positives = round(options.hide * int((labels > 0).sum()))
    print(f"{len(labels)} images × {labels.shape[1]} categories, {positives} positives hidden")
    figures = {
        name: {
            "mean": float(np.mean([result[name] for result in results])),
            "sd": float(np.std([result[name] for result in results], ddof=1)),
        }
        for name in results[0]
    }
    for name, figure in figures.items():
        shown = "{mean:7.1f} ± {sd:.1f} s" if "seconds" in name else "{mean:7.1%} ± {sd:.1%}"
        print(f"{name:20}", shown.format(**figure))
    if options.json:
        options.json.write_text(json.dumps({"runs": results, "figures": figures}, indent=1))


if __name__ == "__main__":
    main()

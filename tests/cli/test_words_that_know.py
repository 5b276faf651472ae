"""Words that know something, from the file to the queue: import, embed, train and propose.

The towers are random but agree by construction. A picture's patches are flat colours; the text
projection is solved for, so that what the text tower says of a category lies near the patch token
of its colour, off by as much as makes words useful and not enough.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from app.cli.main import cli
from app.components.run_findings import part_in_words
from clsl_core.backbones.open_clip import TEMPLATES, OpenClipBackbone
from clsl_core.statistics.metrics import mean_average_precision

MODEL = "clsl-agreeing-vit"
SIDE, PATCH, WIDTH = 48, 8, 24
CONFIG = {
    "embed_dim": WIDTH,
    "vision_cfg": {
        "image_size": SIDE, "layers": 2, "width": 32, "head_width": 8, "patch_size": PATCH,
    },
    "text_cfg": {
        "context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1,
    },
}  # fmt: skip
COLOURS = {
    "tomato": (220, 50, 40), "carrot": (240, 140, 30), "lemon": (240, 230, 60),
    "cabbage": (60, 190, 60), "lagoon": (40, 200, 190), "ocean": (40, 70, 220),
    "plum": (140, 40, 160), "rose": (240, 120, 180),
}  # fmt: skip
IMAGES = 120
SHARE = 0.2  # of the pictures show a category
MISREAD = 1.5  # how far words are off, in lengths of what they mean


@dataclass(frozen=True)
class Collection:
    """Pictures, and annotation files in which half of the positives are known, or nothing."""

    folder: Path
    files: dict[str, Path]
    truth: npt.NDArray[np.bool_]
    known: npt.NDArray[np.bool_]


def clsl(data: Path, *arguments: object) -> str:
    environment = {"CLSL_DATA_DIR": str(data), "COLUMNS": "200"}
    done = CliRunner().invoke(cli, [str(one) for one in arguments], env=environment)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def picture(chance: np.random.Generator, shown: Sequence[tuple[int, int, int]]) -> Image.Image:
    """Patches of noise, four of them in each of the colours, a little darker or lighter."""
    cells = SIDE // PATCH
    patches = chance.integers(100, 150, (cells * cells, 3)).astype(float)
    places = chance.choice(cells * cells, 4 * len(shown), replace=False)
    for index, colour in enumerate(shown):
        patches[places[4 * index : 4 * index + 4]] = colour + chance.normal(0, 10, 3)
    grid = np.clip(patches, 0, 255).astype(np.uint8).reshape(cells, cells, 3)
    return Image.fromarray(grid.repeat(PATCH, 0).repeat(PATCH, 1))


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder, chance = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    truth = chance.random((IMAGES, len(COLOURS))) < SHARE
    known = truth & (chance.random(truth.shape) < 0.5)
    for row, shown in enumerate(truth):
        colours = [colour for colour, there in zip(COLOURS.values(), shown, strict=True) if there]
        picture(chance, colours).save(folder / f"{row:03}.png")
    document: dict[str, Any] = {
        "images": [
            {"id": row, "file_name": f"{row:03}.png", "width": SIDE, "height": SIDE}
            for row in range(IMAGES)
        ],
        "categories": [{"id": place, "name": name} for place, name in enumerate(COLOURS)],
        "annotations": [],
    }
    files = {name: folder / f"{name}.json" for name in ("nothing", "half")}
    files["nothing"].write_text(json.dumps(document))
    document["annotations"] = [
        {"id": index, "image_id": int(row), "category_id": int(column), "bbox": [0, 0, 8, 8],
         "area": 64, "iscrowd": 0}
        for index, (row, column) in enumerate(np.argwhere(known))
    ]  # fmt: skip
    files["half"].write_text(json.dumps(document))
    return Collection(folder, files, truth, known)


def agree(model: Any, meanings: npt.NDArray[np.float64]) -> None:
    """Solve for the text projection that sends every sentence about a category to its meaning."""
    sentences = [template.format(name) for name in COLOURS for template in TEMPLATES]
    with torch.no_grad():
        model.text_projection = torch.nn.Parameter(torch.eye(len(model.text_projection)))
        said = model.encode_text(open_clip.get_tokenizer(MODEL)(sentences)).double().numpy()
        assert np.linalg.matrix_rank(said) == len(sentences)
        wanted = meanings.repeat(len(TEMPLATES), 0)
        solved = np.linalg.lstsq(said, wanted, rcond=None)[0]
        model.text_projection = torch.nn.Parameter(torch.from_numpy(solved).float())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a random image tower, and of a text tower that half agrees with it."""
    folder = tmp_path_factory.mktemp("agreeing")
    (folder / f"{MODEL}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model(MODEL)
    with torch.no_grad():
        model.token_embedding.weight.mul_(50)  # names apart, not all on nearly one vector
    file = folder / "random.pt"
    torch.save(model.state_dict(), file)
    flat = [Image.new("RGB", (SIDE, SIDE), colour) for colour in COLOURS.values()]
    tokens = OpenClipBackbone.load(MODEL, str(file), "cpu").encode_images(flat).tokens
    meanings = tokens.astype(np.float64).mean(1)
    meanings -= meanings.mean(0)
    off = np.random.default_rng(1).normal(size=meanings.shape)
    length = np.linalg.norm(meanings, axis=1, keepdims=True)
    off *= MISREAD * length / np.linalg.norm(off, axis=1, keepdims=True)
    agree(model, meanings + off)
    torch.save(model.state_dict(), folder / "agreeing.pt")
    return folder / "agreeing.pt"


def complete(
    data: Path, name: str, collection: Collection, checkpoint: Path
) -> tuple[npt.NDArray[np.float64], dict[str, Any]]:
    """Import, embed, train and propose; the proposals (N, C), and the run's metrics."""
    clsl(data, "import", collection.files[name], "--images", collection.folder, "--name", name)
    clsl(data, "embed", name, "--backbone", MODEL, "--pretrained", checkpoint)
    clsl(data, "train", name)
    clsl(data, "propose", name)
    (run,) = json.loads(clsl(data, "runs", name, "--json"))
    clsl(data, "proposals", name, "--output", data / "proposals.csv")
    with (data / "proposals.csv").open(newline="") as stream:
        return scores_of(csv.DictReader(stream)), run["metrics"]


def scores_of(rows: Iterable[dict[str, str]]) -> npt.NDArray[np.float64]:
    """How likely each pair is present (N, C) by the open proposals; nan where there is none."""
    names, found = list(COLOURS), np.full((IMAGES, len(COLOURS)), np.nan)
    for row in rows:
        score = float(row["score"])
        place = int(Path(row["file_name"]).stem), names.index(row["category"])
        found[place] = score if row["state"] == "present" else 1 - score
    return found


def test_training_is_better_than_words_that_know_something(
    collection: Collection, checkpoint: Path, tmp_path: Path
) -> None:
    unknown = ~collection.known
    words, _ = complete(tmp_path, "nothing", collection, checkpoint)
    trained, metrics = complete(tmp_path, "half", collection, checkpoint)
    assert not np.isnan(words).any()
    np.testing.assert_array_equal(np.isnan(trained), collection.known)

    chance = collection.truth[unknown].mean()
    by_words, by_training = (
        mean_average_precision(collection.truth, scores, unknown) for scores in (words, trained)
    )
    assert by_words > 3 * chance, "words carry information"
    assert by_words < 0.7, "and leave something to learn"
    assert by_training > by_words + 0.1
    assert by_training > 5 * chance

    assert metrics["ordered_by"] == metrics["parts"]["ordered_by"]
    assert metrics["parts"]["compared"]
    assert "text" in metrics["parts"]["parts"]
    for name in metrics["parts"]["parts"]:
        said = part_in_words({**metrics, "ordered_by": name})
        assert said is not None
        assert "The part" not in said, "every part has words of its own"
    assert metrics["fits"]
    assert {count["kept_at_start"] for count in metrics["fits"].values()} == {0}

"""A desk for tests of imports: files and pictures, and the commands that people give."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

from PIL import Image as Pillow
from sqlalchemy import select

from app.services.exporting.export import export_dataset
from app.services.importing.identity import Match
from app.services.importing.ingest import AUTO, ImportRequest, ImportResult, import_file
from app.services.importing.plan import ImportPlan
from app.services.importing.preview import look
from app.services.reviewing import verdict_file, verdicts
from app.services.reviewing.verdicts import Answer
from app.services.workspace import Workspace
from db.models import Category, Dataset, Image, Label
from db.queries import datasets
from tests.builders import make_grant

State = dict[tuple[str, str], str]


def box(id_: int, image: int, category: int) -> dict[str, Any]:
    return {
        "id": id_,
        "image_id": image,
        "category_id": category,
        "bbox": [1, 2, 10, 12],
        "area": 120,
        "iscrowd": 0,
    }


def coco(
    images: Mapping[int, str],
    categories: Mapping[int, str],
    boxes: Iterable[tuple[int, int, int]] = (),
    **more: Any,
) -> dict[str, Any]:
    """A COCO document: names by id, and boxes as their id, image and category."""
    return {
        "info": {"description": "own"},
        "licenses": [],
        "images": [
            {"id": id_, "file_name": name, "width": 64, "height": 48}
            for id_, name in images.items()
        ],
        "categories": [
            {"id": id_, "name": name, "supercategory": ""} for id_, name in categories.items()
        ],
        "annotations": [box(*one) for one in boxes],
        **more,
    }


class Desk:
    """Files and pictures on the disk, and the commands that people give."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace, self.folder = workspace, folder
        self.pictures = folder / "pictures"
        self.pictures.mkdir()

    def picture(self, *names: str) -> None:
        """Make pictures, each another one."""
        for name in names:
            path = self.pictures / name
            path.parent.mkdir(parents=True, exist_ok=True)
            made = len(list(self.pictures.rglob("*.*")))
            Pillow.new("RGB", (64, 48), (made * 37 % 256, made * 11 % 256, 90)).save(path)

    def file(self, name: str, content: object) -> Path:
        """Write a file: JSON, or text."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def request(
        self, file: Path, name: str = "s", match: Match = Match.AUTO, format_name: str = AUTO
    ) -> ImportRequest:
        """Whether there are pictures or not: many files here only name some."""
        asked = ImportRequest(str(file), str(self.pictures), name, format_name, match=match)
        return replace(asked, pictures_later=True)

    def take(
        self, file: Path, name: str = "s", match: Match = Match.AUTO, format_name: str = AUTO
    ) -> ImportResult:
        return import_file(self.workspace, self.request(file, name, match, format_name))

    def plan(self, file: Path) -> ImportPlan:
        """What an import would do."""
        plan = look(self.workspace, self.request(file)).plan
        assert plan is not None
        return plan

    def decide(self, *said: str, name: str = "s") -> None:
        """Verdicts as ``file,category,verdict``."""
        rows = "\n".join(("file_name,category,verdict", *said))
        verdict_file.decide_file(self.workspace, name, self.file("v.csv", rows), "ada")

    def export(self, output: str, name: str = "s", format_name: str | None = None) -> Path:
        path = self.folder / output
        export_dataset(self.workspace, name, path, format_name)
        return path

    def labels(self, name: str = "s") -> State:
        """Every label by its picture and word, with its source."""
        query = select(Image.file_name, Category.name, Label.source, Label.state)
        query = query.join(Image, Image.id == Label.image_id)
        query = query.join(Category, Category.id == Label.category_id)
        query = query.join(Dataset, Dataset.id == Image.dataset_id).where(Dataset.name == name)
        with self.workspace.database.read() as session:
            return {(row[0], row[1]): f"{row[2]} {row[3].word}" for row in session.execute(query)}

    def pairs(self, name: str) -> set[tuple[str, str]]:
        """Every picture with every word."""
        of_dataset = Dataset.name == name
        with self.workspace.database.read() as session:
            images = session.scalars(select(Image.file_name).join(Dataset).where(of_dataset))
            words = session.scalars(select(Category.name).join(Dataset).where(of_dataset))
            return set(product(images.all(), words.all()))

    def answer(self, name: str, picture: str, word: str, verdict: str) -> None:
        """One verdict, whatever is in the names."""
        with self.workspace.database.read() as session:
            dataset = datasets.by_name(session, name)
            assert dataset is not None
            image = session.scalar(
                select(Image.id).where(Image.dataset_id == dataset.id, Image.file_name == picture)
            )
            (category,) = datasets.category_ids_by_name(session, dataset.id)[word]
        assert image is not None
        grant = make_grant(self.workspace, dataset.id, f"ada {uuid4().hex}")
        answer = Answer(f"client-{uuid4().hex}", image, category, verdict)
        verdicts.decide(self.workspace, grant, [answer])

    def same_elsewhere(self, suffix: str, name: str = "s", format_name: str = AUTO) -> None:
        """Export, import that into an empty dataset, export again: one state, one file."""
        folder = self.folder / f"out-{name}"
        folder.mkdir()
        first, second = folder / f"one{suffix}", folder / f"two{suffix}"
        export_dataset(self.workspace, name, first)
        self.take(first, f"{name}-again", format_name=format_name)
        assert states(self.labels(f"{name}-again")) == states(self.labels(name))
        export_dataset(self.workspace, f"{name}-again", second)
        assert files_of(second) == files_of(first)


def states(labels: State) -> State:
    """Without the sources."""
    return {pair: text.split()[-1] for pair, text in labels.items()}


def files_of(output: Path) -> dict[str, bytes]:
    """Everything that an export wrote, but the summary."""
    beside = output.with_name(f"{output.name}.provenance.csv")
    found = {"beside": beside.read_bytes()} if beside.exists() else {}
    if output.is_file():
        return {"": output.read_bytes(), **found}
    inside = [path for path in output.rglob("*") if path.is_file()]
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in inside} | found

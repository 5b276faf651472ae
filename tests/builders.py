"""Makes things for tests, with defaults for everything a test does not care about."""

import json
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image as Pillow
from sqlalchemy import insert
from sqlalchemy.orm import Session

import migrations
from app.services.access.grants import Grant
from app.services.importing.ingest import ImportRequest, ImportResult, import_file
from app.services.jobs.bell import SilentBell
from app.services.runtime.settings import Settings
from app.services.workspace import Workspace
from clsl_core.types import LabelState
from db.models import Annotator, Category, EmbeddingRun, Image, ModelRun, Proposal, RunStatus
from db.queries.labels import triples
from db.session import Database

DATABASE_FILE = "clsl.db"


@cache
def migrated_file() -> bytes:
    """SQLite's file of a migrated database without a row: all migrations are run once only."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / DATABASE_FILE
        database = Database(f"sqlite:///{file}")
        migrations.upgrade(database.engine)
        database.close()
        return file.read_bytes()


def put_migrated_file(folder: Path) -> None:
    """Give a data directory that has none its database, as opening it would."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / DATABASE_FILE).exists():
        return
    with NamedTemporaryFile(dir=folder) as whole:
        whole.write(migrated_file())
        whole.flush()
        with suppress(FileExistsError):  # a program that was started on it was quicker
            os.link(whole.name, folder / DATABASE_FILE)


def make_workspace(folder: Path, **settings: Any) -> Workspace:
    """A workspace whose bell rings nowhere."""
    made = Settings(**{"data_dir": folder, "backbone": "builtin", **settings})
    if made.database_url is None:
        put_migrated_file(folder)
    return Workspace.open(made, SilentBell())


def coco_document(images: int = 4, categories: int = 3) -> dict[str, Any]:
    """Image i (ids from 10) carries category i modulo the number of categories (ids from 1)."""
    return {
        "info": {"description": "made for a test"},
        "images": [
            {"id": 10 + i, "file_name": f"{i:03}.jpg", "width": 64, "height": 48}
            for i in range(images)
        ],
        "annotations": [
            {
                "id": i + 1,
                "image_id": 10 + i,
                "category_id": 1 + i % categories,
                "bbox": [1.0, 2.0, 10.0, 12.5],
                "area": 125.0,
                "iscrowd": 0,
            }
            for i in range(images)
        ],
        "categories": [
            {"id": 1 + i, "name": name, "supercategory": "thing"}
            for i, name in enumerate(["red", "green", "blue", "grey", "white"][:categories])
        ],
    }


COLOURS = ["#d22", "#2b2", "#22d", "#888", "#eee"]


def make_collection(
    folder: Path, document: dict[str, Any] | None = None, *, grain: float = 0.0
) -> tuple[Path, Path]:
    """Write a COCO file and one small picture for each image; returns (file, image root).

    Pictures of one colour are all the same unless there is a ``grain`` (its standard deviation).
    """
    document = document or coco_document()
    root = folder / "images"
    root.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(document["images"]):
        colour = COLOURS[i % len(document["categories"])]
        picture = Pillow.new("RGB", (64, 48), colour)
        if grain:
            noise = np.random.default_rng(i).normal(0.0, grain, (48, 64, 3))
            grainy = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
            picture = Pillow.fromarray(grainy)
        (root / image["file_name"]).parent.mkdir(exist_ok=True)
        picture.save(root / image["file_name"])
    file = folder / "instances.json"
    file.write_text(json.dumps(document))
    return file, root


def make_dataset(
    workspace: Workspace,
    name: str = "set",
    document: dict[str, Any] | None = None,
    *,
    grain: float = 0.0,
) -> ImportResult:
    """Import a made collection."""
    file, root = make_collection(workspace.data_dir / f"source-{name}", document, grain=grain)
    return import_file(workspace, ImportRequest(str(file), str(root), name))


def make_grant(workspace: Workspace, dataset_id: int, name: str = "ada") -> Grant:
    """An annotator on a dataset."""
    with workspace.database.write() as session:
        annotator = Annotator(name=name)
        session.add(annotator)
        session.flush()
        return Grant(annotator.id, dataset_id)


def make_run(
    session: Session, dataset_id: int, *, serving: bool = True, embedding_id: int | None = None
) -> ModelRun:
    """A finished model run that nobody trained, on new features unless they are named."""
    if embedding_id is None:
        embedding = EmbeddingRun(
            dataset_id=dataset_id,
            backbone_key=f"key-{dataset_id}",
            spec={"name": "builtin", "grid": [2, 2]},
            description="made for a test",
            directory="nowhere",
            status=RunStatus.READY,
        )
        session.add(embedding)
        session.flush()
        embedding_id = embedding.id
    run = ModelRun(
        dataset_id=dataset_id,
        embedding_run_id=embedding_id,
        status=RunStatus.READY,
        serving=serving,
        trigger="test",
        new_decisions=0,
        last_decision_id=0,
        known_present=0,
        known_absent=0,
        config={},
        seed=0,
        code_version="test",
    )
    session.add(run)
    session.flush()
    return run


def make_proposals(workspace: Workspace, dataset_id: int, **values: Any) -> ModelRun:
    """A serving run that proposes every unknown pair, in falling score order.

    ``values`` are column values of all proposals, or functions of a proposal's place.
    """
    with workspace.database.write() as session:
        run = make_run(session, dataset_id)
        images = session.query(Image).filter_by(dataset_id=dataset_id).all()
        categories = session.query(Category).filter_by(dataset_id=dataset_id).all()
        known = {
            (image_id, category_id) for image_id, category_id, _ in triples(session, dataset_id)
        }
        pairs = [
            (image.id, category.id)
            for image in images
            for category in categories
            if (image.id, category.id) not in known
        ]
        rows = [
            {
                "model_run_id": run.id,
                "image_id": image_id,
                "category_id": category_id,
                "state": LabelState.PRESENT,
                "score": 1.0 - i / (len(pairs) + 1),
                **{name: v(i) if callable(v) else v for name, v in values.items()},
            }
            for i, (image_id, category_id) in enumerate(pairs)
        ]
        session.execute(insert(Proposal), rows)
        return run


def make_questions(workspace: Workspace) -> Grant:
    """An annotator on a dataset of 4 × 3 pairs, 4 of them known, the rest proposed."""
    dataset_id = make_dataset(workspace).dataset_id
    make_proposals(workspace, dataset_id)
    return make_grant(workspace, dataset_id)

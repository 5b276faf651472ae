"""A backbone that reads names proposes before anything is known."""

from pathlib import Path

from app.services.datasets import overview
from app.services.learning import embedding, proposing, training
from app.services.workspace import Workspace
from db.models import EmbeddingRun
from tests.builders import coco_document, make_dataset
from tests.core.backbones.test_open_clip import VIT, checkpoints  # noqa: F401 - a fixture


def test_names_alone_give_proposals(workspace: Workspace, checkpoints: Path) -> None:  # noqa: F811
    document = coco_document(images=6)
    document["annotations"] = []
    dataset_id = make_dataset(workspace, document=document).dataset_id
    embedding.embed(workspace, dataset_id, VIT, str(checkpoints / f"{VIT}.pt"))
    training.train(workspace, dataset_id)
    proposing.propose(workspace, dataset_id)
    view = overview.dataset(workspace, "set")
    assert view.open_proposals > 0
    assert VIT in str(view.backbone)
    with workspace.database.read() as session:
        run = session.query(EmbeddingRun).one()
        folder, run_id = workspace.data_dir / run.directory, run.id
    (file,) = folder.glob("text-*.npy")
    made = file.stat().st_mtime_ns
    vectors = embedding.text_vectors(workspace, run_id)
    assert vectors is not None
    assert vectors.categories.shape == (3, 12)
    assert len(vectors.background) > 10
    assert file.stat().st_mtime_ns == made

"""What pages and the command line show: frozen dataclasses, and the reads that fill them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app.services.access import audit_log, rights
from app.services.access.rights import Right
from app.services.workspace import Workspace, find_dataset
from clsl_core.types import LabelState
from db.models import Dataset, ImageStatus
from db.queries import datasets, decisions, labels, queue, runs
from db.queries.datasets import CategoryCounts


@dataclass(frozen=True, slots=True)
class DatasetView:
    """One dataset at a glance."""

    id: int
    name: str
    format: str
    image_root: str
    absent: str
    images: int
    problem_images: int
    categories: int
    present: int
    absent_labels: int
    retrain_after: int
    schedule: str | None
    decisions_since_training: int
    backbone: str | None
    backbone_notice: str | None
    embedded: int
    serving_run: int | None
    open_proposals: int
    created_at: datetime

    @property
    def pairs(self) -> int:
        """Image × category pairs in all."""
        return self.images * self.categories

    @property
    def unknown(self) -> int:
        """Pairs that nothing is known of."""
        return self.pairs - self.present - self.absent_labels

    @property
    def known_share(self) -> float:
        """Share of pairs with a known label, in [0, 1]."""
        return 1.0 - self.unknown / self.pairs if self.pairs else 0.0


@dataclass(frozen=True, slots=True)
class ProblemImage:
    """A picture that cannot be used, and why."""

    id: int
    file_name: str
    reason: str
    problem: str


def all_datasets(workspace: Workspace) -> list[DatasetView]:
    """Every dataset, newest first."""
    with workspace.database.read() as session:
        return [_view(session, dataset) for dataset in datasets.all_datasets(session)]


def dataset(workspace: Workspace, name: str) -> DatasetView:
    """One dataset.

    Raises:
        NotFoundError: There is none of that name.
    """
    with workspace.database.read() as session:
        return _view(session, find_dataset(session, name))


def dataset_id(workspace: Workspace, name: str) -> int:
    """The id of a dataset.

    Raises:
        NotFoundError: There is none of that name.
    """
    with workspace.database.read() as session:
        return find_dataset(session, name).id


def _view(session: Session, row: Dataset) -> DatasetView:
    status = datasets.image_status_counts(session, row.id)
    states = labels.counts_by_state(session, row.id)
    embedding = runs.latest_embedding_run(session, row.id)
    serving = runs.serving_run(session, row.id)
    seen = runs.last_decision_seen(session, row.id)
    return DatasetView(
        id=row.id,
        name=row.name,
        format=row.format,
        image_root=row.image_root,
        absent=row.absent,
        images=sum(status.values()),
        problem_images=status.get(ImageStatus.PROBLEM, 0),
        categories=len(datasets.categories(session, row.id)),
        present=states.get(LabelState.PRESENT, 0),
        absent_labels=states.get(LabelState.ABSENT, 0),
        retrain_after=row.retrain_after,
        schedule=row.schedule,
        decisions_since_training=decisions.count_after(session, row.id, seen),
        backbone=embedding.description if embedding else None,
        backbone_notice=embedding.notice if embedding else None,
        embedded=embedding.image_count if embedding else 0,
        serving_run=serving.id if serving else None,
        open_proposals=queue.count_open(session, runs.shown_runs(session, row.id)),
        created_at=row.created_at,
    )


def problem_images(workspace: Workspace, name: str, limit: int = 200) -> list[ProblemImage]:
    """The pictures that cannot be used, in source order."""
    with workspace.database.read() as session:
        found = datasets.problem_images(session, find_dataset(session, name).id, limit)
        return [
            ProblemImage(row.id, row.file_name, row.reason or "unreadable", row.problem or "")
            for row in found
        ]


def category_counts(workspace: Workspace, name: str) -> list[CategoryCounts]:
    """Known labels by category, in source order."""
    with workspace.database.read() as session:
        return datasets.category_counts(session, find_dataset(session, name).id)


def splits(workspace: Workspace, name: str) -> list[str]:
    """The parts of the collection that its images name, in alphabetical order."""
    with workspace.database.read() as session:
        return datasets.splits(session, find_dataset(session, name).id)


def busiest_category(workspace: Workspace, dataset_id: int) -> int | None:
    """The category with most to accept; None while nothing waits."""
    with workspace.database.read() as session:
        return queue.busiest_category(session, runs.shown_runs(session, dataset_id))


def set_retrain_after(workspace: Workspace, name: str, decisions_needed: int) -> None:
    """Change after how many decisions a dataset retrains by itself; 0 turns it off."""
    rights.require(Right.MANAGE)
    with workspace.database.write(dataset_id(workspace, name)) as session:
        dataset = find_dataset(session, name)
        dataset.retrain_after = max(0, decisions_needed)
        audit_log.record(
            session, "setting", f"dataset {dataset.id}", retrain_after=dataset.retrain_after
        )

"""What an import would do, told without doing it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from sqlalchemy.orm import Session

from app.services.importing.ingest import check_format
from app.services.importing.rows import MissingFile, Written, write_rows
from app.services.importing.target import Rehearsal
from app.services.runtime.legible import legible
from app.services.workspace import Workspace
from clsl_core.types import AnnotationSet, JsonObject, LabelState, Progress, SourceId
from db.queries import datasets, imported

__all__ = ["ImportPlan", "KeptLabel", "plan_import"]

NOBODY = -1
"""As the id of a dataset that does not exist yet: no row belongs to it."""


@dataclass(frozen=True, slots=True)
class KeptLabel:
    """A label of the file that gives way to what a person decided."""

    image: str
    category: str
    in_file: str
    decided: str


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import into a dataset would do.

    Attributes:
        dataset: Its name.
        new: Whether it would be made.
        added, updated, unchanged: Records by table.
        kept: Labels that stay as people decided, though the file says otherwise.
        kept_examples: The first of those.
        image_root: Where the dataset's pictures are looked for now; None for a new one.
    """

    dataset: str
    new: bool
    added: dict[str, int]
    updated: dict[str, int]
    unchanged: dict[str, int]
    kept: int = 0
    kept_examples: tuple[KeptLabel, ...] = ()
    image_root: str | None = None

    @property
    def changes(self) -> bool:
        """Whether anything in the database would be different."""
        return self.new or any(self.added.values()) or any(self.updated.values())

    def to_json(self) -> JsonObject:
        """For reports."""
        return {**asdict(self), "changes": self.changes}


def plan_import(
    workspace: Workspace,
    name: str,
    content: AnnotationSet,
    problems: Mapping[SourceId, MissingFile],
    progress: Progress,
) -> ImportPlan:
    """Compare a file with the dataset it would go into; nothing is written.

    Args:
        workspace: Where the dataset is, or would be.
        name: The dataset's name.
        content: What was read.
        problems: Images whose file cannot be reached.
        progress: Told of the rows that were compared.

    Raises:
        InputError: The dataset came in another format.
    """
    sizes = {
        "images": len(content.images),
        "categories": len(content.categories),
        "annotations": len(content.annotations),
        "labels": len(content.labels),
    }
    with workspace.database.read() as session:
        dataset = datasets.by_name(session, name)
        if dataset is None:
            none = dict.fromkeys(sizes, 0)
            return ImportPlan(name, True, sizes, none, dict(none))
        check_format(name, dataset.format, content)

        def compared(done: int, total: int, what: str) -> None:
            progress(done, total, what.replace("writing", "comparing"))

        written = write_rows(Rehearsal(session), dataset.id, content, problems, compared)
        unchanged = {
            table: count
            - written.added[table]
            - written.updated[table]
            - (written.kept_human if table == "labels" else 0)
            for table, count in sizes.items()
        }
        return ImportPlan(
            name,
            False,
            written.added,
            written.updated,
            unchanged,
            written.kept_human,
            _examples(session, dataset.id, written),
            dataset.image_root,
        )


def _examples(session: Session, dataset_id: int, written: Written) -> tuple[KeptLabel, ...]:
    found = []
    for image_id, category_id, state in written.kept:
        keys = json.dumps(image_id), json.dumps(category_id)
        image, category = imported.names(session, dataset_id, *keys)
        other = LabelState(-state)
        found.append(
            KeptLabel(legible(image or ""), legible(category or ""), state.word, other.word)
        )
    return tuple(found)

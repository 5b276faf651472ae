"""What an import would do, told without doing it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from sqlalchemy.orm import Session

from app.services.importing.identity import Match, Undecided
from app.services.importing.ingest import second_file
from app.services.importing.near_pictures import Sought
from app.services.importing.rows import write_rows
from app.services.importing.second_file import UndecidedError
from app.services.importing.target import Rehearsal
from app.services.importing.written import NameChange, Written
from app.services.runtime.legible import legible
from app.services.workspace import Workspace
from clsl_core.types import JsonObject, LabelState, Progress
from db.queries import datasets, imported

__all__ = ["ChangedLabel", "ChangedName", "ImportPlan", "KeptLabel", "Question", "plan_import"]

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
class ChangedName:
    """A category or image that would be called something else, with all its labels.

    Attributes:
        before, now: What it is called.
        labels: How many labels it has.
        decided: How many of these people gave.
    """

    before: str
    now: str
    labels: int
    decided: int


@dataclass(frozen=True, slots=True)
class ChangedLabel:
    """A label that would say something else; ``unknown`` where nothing says it any more."""

    image: str
    category: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Question:
    """An id that means one thing in the dataset and another in the file, in both readings.

    Attributes:
        kind: ``category`` or ``image``.
        source_id: The id.
        before, now: What the dataset and the file call it.
        by_ids, by_names: What would happen.
    """

    kind: str
    source_id: str
    before: str
    now: str
    by_ids: str
    by_names: str


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import into a dataset would do.

    Attributes:
        dataset: Its name.
        new: Whether it would be made.
        added, updated, removed, unchanged: Records by table.
        kept: Labels that stay as people decided, though the file says otherwise.
        kept_examples: The first of those.
        image_root: Where the dataset's pictures are looked for now; None for a new one.
        words: Categories that would be called something else.
        pictures: Images whose picture would be another file.
        states: Labels that would say something else.
        questions: What must be decided first; nothing else is known then.
    """

    dataset: str
    new: bool
    added: dict[str, int]
    updated: dict[str, int]
    unchanged: dict[str, int]
    kept: int = 0
    kept_examples: tuple[KeptLabel, ...] = ()
    image_root: str | None = None
    removed: dict[str, int] = field(default_factory=dict)
    words: tuple[ChangedName, ...] = ()
    pictures: tuple[ChangedName, ...] = ()
    states: tuple[ChangedLabel, ...] = ()
    questions: tuple[Question, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything in the database would be different."""
        counts = (self.added, self.updated, self.removed)
        return self.new or any(number for one in counts for number in one.values())

    def to_json(self) -> JsonObject:
        """For reports."""
        return {**asdict(self), "changes": self.changes}


def plan_import(
    workspace: Workspace,
    name: str,
    sought: Sought,
    progress: Progress,
    root: str | None = None,
    match: Match = Match.AUTO,
) -> ImportPlan:
    """Compare a file with the dataset it would go into; nothing is written.

    Args:
        workspace: Where the dataset is, or would be.
        name: The dataset's name.
        sought: What was read, and which of its pictures cannot be reached.
        progress: Told of the rows that were compared.
        root: Where the pictures would be looked for; where the dataset's are, when None.
        match: What counts where ids and names disagree.

    Raises:
        InputError: The dataset came in another format.
    """
    content = sought.content
    sizes = {
        "images": len(content.images),
        "categories": len(content.categories),
        "annotations": len(content.annotations),
        "labels": len(content.labels),
    }
    with workspace.database.read() as session:
        dataset = datasets.by_name(session, name)
        none = dict.fromkeys(sizes, 0)
        if dataset is None:
            return ImportPlan(name, True, sizes, none, dict(none))

        def compared(done: int, total: int, what: str) -> None:
            progress(done, total, what.replace("writing", "comparing"))

        try:
            second = second_file(session, dataset, root or dataset.image_root, match, sought)
        except UndecidedError as error:
            questions = tuple(_question(session, one) for one in error.undecided)
            image_root = dataset.image_root
            return ImportPlan(
                name, False, none, none, none, image_root=image_root, questions=questions
            )
        found = {second.ids.image(key): problem for key, problem in sought.problems.items()}
        written = write_rows(
            Rehearsal(session), dataset.id, second.content, found, compared, second
        )
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
            written.removed,
            _words(session, written.words),
            _pictures(session, written.pictures),
            _states(session, written),
        )


def _question(session: Session, one: Undecided) -> Question:
    row = {"category_id": one.row} if one.kind == "category" else {"image_id": one.row}
    labels, decided = imported.label_counts(session, **row)
    before, now = legible(one.before), legible(one.now)
    if one.kind == "picture":
        told = f"{now} takes the place of the other picture, with its {labels:,} labels"
        return Question(one.kind, str(one.source_id), before, now, told, told)
    what = f"its {labels:,} labels ({decided:,} given by people)"
    return Question(
        one.kind,
        str(one.source_id),
        before,
        now,
        f"{before} is called {now} from now on, with {what}",
        f"{now} is new; {before} stays, with {what}",
    )


def _words(session: Session, changes: Sequence[NameChange]) -> tuple[ChangedName, ...]:
    return tuple(
        ChangedName(
            legible(one.before),
            legible(one.now),
            *imported.label_counts(session, category_id=one.row),
        )
        for one in changes
    )


def _pictures(session: Session, changes: Sequence[NameChange]) -> tuple[ChangedName, ...]:
    return tuple(
        ChangedName(
            legible(one.before),
            legible(one.now),
            *imported.label_counts(session, image_id=one.row),
        )
        for one in changes
    )


def _states(session: Session, written: Written) -> tuple[ChangedLabel, ...]:
    found = []
    for one in written.states:
        image, category = imported.names_of_pair(session, one.image, one.category)
        found.append(ChangedLabel(legible(image), legible(category), one.before.word, one.now.word))
    return tuple(found)


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

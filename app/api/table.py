"""Every route for holders of a key: what it reads, what it answers. The description follows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.responses import Response

from app.api import annotator, answers, pictures, requests, verdicts
from app.services.access.grants import Grant
from app.services.workspace import Workspace

Model = TypeVar("Model", bound=requests.Given)
PICTURE = ("image/webp", "image/png")


@dataclass(frozen=True, slots=True)
class Operation(Generic[Model]):
    """One method of one path.

    Attributes:
        path: As Starlette writes it: ``/api/images/{image_id:int}``.
        about: One sentence.
        reads: The model of its path, query or body; what ``handle`` is given.
        answers: Type of the JSON it answers; None where it sends a picture.
    """

    method: str
    path: str
    about: str
    handle: Callable[[Workspace, Grant, Model], Awaitable[Response]]
    reads: type[Model]
    answers: Any = None


OPERATIONS: tuple[Operation[Any], ...] = (
    Operation(
        "GET",
        "/api/queue",
        "The next cards, leased for five minutes.",
        verdicts.queue,
        requests.Queue,
        answers.QueuePage,
    ),
    Operation(
        "POST",
        "/api/leases",
        "Keep cards, or give all back.",
        verdicts.leases,
        requests.Leases,
        answers.Lost,
    ),
    Operation(
        "POST",
        "/api/decisions",
        "Verdicts, each stored once.",
        verdicts.decisions,
        requests.Decisions,
        answers.Results,
    ),
    Operation(
        "POST",
        "/api/absent",
        "Every category without a label is not in the image.",
        verdicts.absent,
        requests.Absent,
        answers.Receipt,
    ),
    Operation(
        "POST",
        "/api/undo",
        "Take a decision or a batch back.",
        verdicts.undo,
        requests.Undo,
        answers.Receipt,
    ),
    Operation(
        "POST",
        "/api/redo",
        "Decide again what was undone.",
        verdicts.redo,
        requests.Redo,
        answers.Receipt,
    ),
    Operation(
        "GET",
        "/api/history",
        "The annotator's own decisions, newest first.",
        verdicts.history,
        requests.History,
        answers.HistoryPage,
    ),
    Operation(
        "POST",
        "/api/flags",
        "Something is odd about an image.",
        annotator.flag,
        requests.Flag,
        answers.Receipt,
    ),
    Operation(
        "POST",
        "/api/unflag",
        "An image's flags are settled.",
        annotator.unflag,
        requests.Unflag,
        answers.Receipt,
    ),
    Operation(
        "GET",
        "/api/preferences",
        "The annotator's keys.",
        annotator.preferences,
        requests.Nothing,
        answers.Preferences,
    ),
    Operation(
        "POST",
        "/api/preferences",
        "Change the annotator's keys.",
        annotator.set_preferences,
        requests.Preferences,
        answers.Preferences,
    ),
    Operation(
        "GET",
        "/api/categories",
        "Every category of the dataset.",
        pictures.categories,
        requests.Nothing,
        answers.Categories,
    ),
    Operation(
        "GET",
        "/api/images/{image_id:int}",
        "A picture.",
        pictures.image,
        requests.Picture,
    ),
    Operation(
        "GET",
        "/api/boxes/{image_id:int}",
        "The source file's boxes of a picture.",
        pictures.boxes,
        requests.Boxes,
        answers.Boxes,
    ),
    Operation(
        "GET",
        "/api/heatmaps/{proposal_id:int}",
        "Where the model looked.",
        pictures.heatmap,
        requests.Heatmap,
    ),
)

"""What the routes answer, as the description says it.

What the services give is described from their own dataclasses; here is what only HTTP knows.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from app.services.pictures.boxes import Boxes, CategoryView
from app.services.reviewing.cards import Card
from app.services.reviewing.history import HistoryPage
from app.services.reviewing.queue import QueuePage

__all__ = [
    "Boxes",
    "Categories",
    "Failure",
    "HistoryPage",
    "Lost",
    "Outcome",
    "Preferences",
    "QueuePage",
    "Receipt",
    "Results",
]


class Outcome(BaseModel):
    """What became of one act."""

    client_id: str
    status: Literal["saved", "duplicate", "stale", "refused"]
    message: str | None


class Receipt(Outcome):
    """What became of an act that may change many labels.

    After an undo of a single verdict ``card`` is the question that it had answered.
    """

    count: int
    card: Card | None


class Results(BaseModel):
    """What became of each verdict."""

    results: list[Outcome]


class Lost(BaseModel):
    """The cards that somebody else has by now."""

    lost: list[int]


class Preferences(BaseModel):
    """The annotator's keys, all of them."""

    keys: dict[str, str]


class Categories(BaseModel):
    """Every category of the dataset."""

    categories: list[CategoryView]


class Failure(BaseModel):
    """Why nothing was done."""

    error: str

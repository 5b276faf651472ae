"""The review component: cards or a grid, moving on by itself, delivering behind the scenes.

Start reading at ``script/review.js``, the shell. ``script/delivery/`` holds what must never lose a
verdict and what outlives a page, ``script/queue/`` what is held ready; ``script/card/`` and
``script/grid/`` are the two modes, each with its ``view.js`` that draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal

import streamlit as st

from app.components.page_script import loader
from app.services.people.preferences import KEYS

__all__ = ["Filters", "Mode", "ReviewData", "ReviewResult", "Strategy", "review"]

Strategy = Literal[
    "likely", "uncertain", "mixed", "absent", "random", "disagreements", "flagged", "similar"
]
Mode = Literal["card", "grid"]

_FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a queue is narrowed to; None for no limit. The names are the route's.

    Attributes:
        state: ``present`` or ``absent``: what the model holds.
        min, max: Bounds of the probability.
        split: Images of this split.
        text: Part of the file name.
        anchor: For the queue ``similar``: id of the image whose neighbours are wanted.
    """

    state: str | None = None
    min: float | None = None
    max: float | None = None
    split: str | None = None
    text: str | None = None
    anchor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewData:
    """What the browser must know to fetch cards and send verdicts.

    Attributes:
        token: Short-lived signed token of this annotator and dataset; a newer one may arrive
            with any rerun and is used from then on.
        dataset_id: Keeps the verdicts waiting in the browser apart from other datasets'.
        annotator: Name of the person; keeps their waiting verdicts apart from other people's.
        mode: One picture with its proposals, or one category in many pictures.
        strategy: Which queue to show.
        category_id: Show this category only; None for all. A grid needs one.
        filters: What the queue is narrowed to.
        keys: Action to key, complete (``app.services.people.people.preferences``).
        next_steps: Sentences that the end of the queue shows.
        api_base: What stands before ``/api``: empty, or the base path of the server.
        prefetch: How many pictures after the current one are loaded and decoded ahead.
        score_word: Whether ``probability`` (where calibrated) or ``score`` is shown first.
    """

    token: str
    dataset_id: int
    annotator: str
    mode: Mode = "card"
    strategy: Strategy = "likely"
    category_id: int | None = None
    filters: Filters = Filters()
    keys: Mapping[str, str] = field(default_factory=lambda: dict(KEYS))
    next_steps: Sequence[str] = field(default_factory=list)
    api_base: str = ""
    prefetch: int = 6
    score_word: Literal["score", "probability"] = "probability"


@dataclass(frozen=True, slots=True)
class ReviewResult:
    """What the component reported in this run of the page.

    Attributes:
        token_expired: The routes refused the token; draw again with a fresh one.
        finished: The queue came to its end after at least one verdict.
        verdicts: Verdicts of this browser session at that end; 0 when not ``finished``.
    """

    token_expired: bool
    finished: bool
    verdicts: int


def _read(*names: str) -> str:
    return "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in names)


_component = st.components.v2.component(
    "clsl_review",
    html=_read("review.html", "grid.html"),
    css=_read("review.css", "card.css", "grid.css"),
    js=loader(),
)


def _ignore() -> None:
    """Streamlit reports only those events that have a callback."""


def review(
    data: ReviewData,
    *,
    key: str,
    on_token_expired: Callable[[], None] | None = None,
    on_finished: Callable[[], None] | None = None,
) -> ReviewResult:
    """Draw the review.

    Reruns with the same ``key`` keep the person's place; another ``mode``, ``strategy``,
    ``category_id``, ``filters``, ``dataset_id`` or ``annotator`` opens another queue.

    Args:
        data: Whose review it is, of what.
        key: Streamlit's key of the component.
        on_token_expired: Called before the rerun that an expired token causes, to make a new
            one. The component asks again every ten seconds until another token arrives.
        on_finished: Called before the rerun that the end of the queue causes; without it the
            end causes no rerun.

    Returns:
        What happened since the last run of the page.
    """
    result = _component(
        key=key,
        data={**asdict(data), "report_finished": on_finished is not None},
        on_token_expired_change=on_token_expired or _ignore,
        on_finished_change=on_finished or _ignore,
    )
    verdicts = result.finished
    return ReviewResult(
        token_expired=result.token_expired is not None,
        finished=verdicts is not None,
        verdicts=int(verdicts or 0),
    )

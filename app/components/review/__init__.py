"""The review component: one card at a time, moving on by itself, delivering behind the scenes.

Start reading at ``review.js``, the controller. ``delivery.js`` holds what must never lose a
verdict, ``queue.js`` the cards held ready, ``view.js`` everything that touches the page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import streamlit as st

__all__ = ["ReviewData", "ReviewResult", "Strategy", "review"]

Strategy = Literal["likely", "uncertain", "absent", "random", "mixed"]

_FOLDER: Final = Path(__file__).parent
_SCRIPTS: Final = ("delivery.js", "queue.js", "view.js", "review.js")
"""In this order they make up one ES module: each file uses only what stands before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewData:
    """What the browser must know to fetch cards and send verdicts.

    Attributes:
        token: Short-lived signed token of this annotator and dataset; a newer one may arrive
            with any rerun and is used from then on.
        dataset_id: Keeps the verdicts waiting in the browser apart from other datasets'.
        annotator: Name of the person; keeps their waiting verdicts apart from other people's.
        strategy: Which queue to show.
        category_id: Show this category only; None for all.
        api_base: What stands before ``/api``: empty, or the base path of the server.
        prefetch: How many pictures after the current one are loaded and decoded ahead.
        score_word: Whether ``probability`` (where calibrated) or ``score`` is shown first.
    """

    token: str
    dataset_id: int
    annotator: str
    strategy: Strategy = "likely"
    category_id: int | None = None
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
    html=_read("review.html"),
    css=_read("review.css"),
    js=_read(*_SCRIPTS),
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
    """Draw the review card.

    Reruns with the same ``key`` keep the person's place; another ``strategy``, ``category_id``,
    ``dataset_id`` or ``annotator`` opens another queue.

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

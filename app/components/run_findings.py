"""What a training says of itself: which part orders the proposals, and which fits failed."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.context import plain
from app.services.learning.model_runs import ModelRunView

_WHOLE = "all"
_PARTS = {
    "text": "The words alone order",
    "linear": "The linear model alone orders",
    "patches": "The patch models alone order",
    "vote": "The nearest pictures alone order",
    "prior": "How frequent each category is alone orders",
    "together": "Other labels of the picture alone order",
    "blend": "The base models stacked order",
    "ensemble": "Everything but the head orders",
}


def draw_findings(run: ModelRunView) -> None:
    """The part that orders, where it is not the whole, and the fits that did not converge."""
    part = part_in_words(run.metrics)
    if part is not None:
        st.info(plain(part), icon=":material/sort:")
    failed = failed_fits(run.metrics)
    if failed:
        st.warning(plain(failed), icon=":material/warning:")


def part_in_words(metrics: dict[str, Any]) -> str | None:
    """Which part orders the proposals, and by how much it was better; None for the whole.

    Args:
        metrics: Of a model run, as JSON values.
    """
    name = metrics.get("ordered_by", _WHOLE)
    if name == _WHOLE:
        return None
    subject = _PARTS.get(name, f"The part {name!r} orders")
    facts = metrics["parts"]["parts"][name]
    points, low, high = (100 * facts[key] for key in ("difference", "low", "high"))
    return (
        f"{subject} these proposals: better on held-out labels than everything together by "
        f"{points:.1f} points of mean average precision (interval {low:.1f} to {high:.1f})."
    )


def failed_fits(metrics: dict[str, Any]) -> str:
    """A sentence for each kind of fit of which some did not converge; empty where all did.

    Args:
        metrics: Of a model run, as JSON values.
    """
    return " ".join(
        f"{count['kept_at_start']} of {count['fitted']} fits ({what}) did not converge and were "
        "left at their start."
        for what, count in metrics.get("fits", {}).items()
        if count["kept_at_start"]
    )

"""Is it time to stop: a sentence, the table of categories and the recall curve."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from app.components.quality_charts import PERCENT, WHOLE, safe_csv, show_chart, table_of
from app.context import plain
from app.services.quality.completeness import CategoryCompleteness, Completeness

HELP = (
    "People look mostly where the model points. The random control arm is a uniform sample of "
    "what was unknown, so it tells what is missing however good the model is. Answer it in "
    "Review with the order 'Random sample'."
)


def draw_completeness(found: Completeness) -> None:
    """Everything that is known of what is missing."""
    if found.together is None:
        st.caption("An estimate needs proposals: train first.")
        return
    together = found.together
    say = st.success if together.stop else st.info
    say(plain(f"All categories together: {together.reason}"), icon=":material/flag:")
    st.caption(HELP)
    rows = [_row(one) for one in (together, *found.categories)]
    percent = st.column_config.NumberColumn(format="percent")
    amount = st.column_config.NumberColumn(format="%.0f")
    st.dataframe(
        rows,
        hide_index=True,
        width="stretch",
        placeholder="–",
        column_config={
            **dict.fromkeys(("found share", "at least"), percent),
            **dict.fromkeys(("missing", "from", "to"), amount),
        },
    )
    st.download_button(
        "Data as CSV",
        safe_csv(pd.DataFrame(rows)),
        "completeness.csv",
        "text/csv",
        key="csv-completeness",
        on_click="ignore",
        icon=":material/download:",
    )
    _recall(found)


def _row(one: CategoryCompleteness) -> dict[str, object]:
    return {
        "category": one.category,
        "positives found": one.found,
        "missing": one.missing,
        "from": one.low,
        "to": one.high,
        "found share": one.share,
        "at least": one.share_low,
        "random pairs": one.drawn,
        "to answer": one.waiting,
        "stop": one.stop,
        "in words": one.reason,
    }


def _recall(found: Completeness) -> None:
    data = table_of(found.recall)
    base = alt.Chart(data).encode(x=alt.X("verdicts:Q", title="verdicts given"))
    band = base.mark_area(opacity=0.25).encode(y=alt.Y("low:Q", axis=PERCENT), y2="high:Q")
    line = base.mark_line().encode(
        y=alt.Y("share:Q", scale=WHOLE, axis=PERCENT, title="share of all positives found"),
        tooltip=["verdicts:Q", alt.Tooltip("share:Q", format=".1%")],
    )
    show_chart(band + line, data, "recall", "The recall curve needs the whole random sample.")

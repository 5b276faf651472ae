"""Tables of how far people agree; numbers on few pairs say so."""

from __future__ import annotations

import streamlit as st

from app.services.quality.agreement import FEW, AgreementReport

PERCENT = st.column_config.NumberColumn(format="percent")
TWO = st.column_config.NumberColumn(format="%.2f")
FEW_PAIRS = f"fewer than {FEW} pairs"
HELP = (
    "Kappa and alpha are 1 where all agree and 0 where they agree as chance would have it; there "
    "is none where all gave the same answer everywhere. Shares have their 95 % interval."
)


def draw_agreement(found: AgreementReport) -> None:
    """By category and two by two."""
    if found.together is None:
        st.caption("There is no pair yet on which several people have spoken.")
        return
    st.caption(HELP)
    _table(
        [
            {
                "category": one.category,
                "pairs": one.pairs,
                "verdicts": one.verdicts,
                "all the same": one.unanimous,
                "from": one.low,
                "to": one.high,
                "Fleiss' kappa": one.fleiss,
                "Krippendorff's alpha": one.alpha,
                "remark": FEW_PAIRS if one.few else "",
            }
            for one in (found.together, *found.categories)
        ]
    )
    _table(
        [
            {
                "one": one.first,
                "other": one.second,
                "pairs": one.pairs,
                "the same": one.same,
                "from": one.low,
                "to": one.high,
                "Cohen's kappa": one.kappa,
                "remark": FEW_PAIRS if one.few else "",
            }
            for one in found.people
        ]
    )


def draw_gold(found: AgreementReport) -> None:
    """How often each gave the known answer."""
    if not found.gold:
        st.caption("Nobody has been asked a question with a known answer yet.")
        return
    _table(
        [
            {
                "person": one.annotator,
                "pairs": one.pairs,
                "right": one.accuracy,
                "from": one.low,
                "to": one.high,
                "missed": one.missed,
                "invented": one.invented,
                "remark": FEW_PAIRS if one.few else "",
            }
            for one in found.gold
        ]
    )


def _table(rows: list[dict[str, object]]) -> None:
    shares = dict.fromkeys(("all the same", "the same", "right", "from", "to"), PERCENT)
    coefficients = ("Fleiss' kappa", "Krippendorff's alpha", "Cohen's kappa")
    st.dataframe(
        rows,
        hide_index=True,
        width="stretch",
        column_config={**shares, **dict.fromkeys(coefficients, TWO)},
    )

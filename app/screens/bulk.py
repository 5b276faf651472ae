"""Accept many proposals at once, when a checked sample shows that enough of them are right."""

import uuid

import streamlit as st

from app.components.judge import judge
from app.context import annotator, current_dataset, error_boundary, plain, workspace
from app.services.access.grants import Grant
from app.services.datasets.overview import DatasetView
from app.services.people.annotators import enter
from app.services.quality import bulk_acceptance
from app.services.quality.bulk_acceptance import Offer
from clsl_core.statistics.bulk_audit import AuditConfig

TARGETS = [0.9, 0.95, 0.98, 0.99]
HOW = (
    "Choose how many of the labels must be right. Of a category's proposals a few are drawn by "
    "lot, and you check them. As soon as they show, with 95 % confidence for each category, that "
    "enough of the others are right, those can be accepted without a look at each. "
    "The history takes all of them back with one click."
)


def offers_table(offers: list[Offer]) -> None:
    """Every category: what qualifies, and what is needed first."""
    st.dataframe(
        [
            {
                "category": one.category,
                "proposals": one.proposals,
                "can be accepted": one.qualify,
                "right, at least": one.precision_low,
                "checks needed": one.ask,
                "checked": one.checked,
                "audit": "begun" if one.begun else "",
                "target": one.target,
                "in words": one.reason,
            }
            for one in offers
        ],
        hide_index=True,
        width="stretch",
        placeholder="–",
        column_config=dict.fromkeys(
            ("right, at least", "target"), st.column_config.NumberColumn(format="percent")
        ),
    )


def draw_audit(grant: Grant, offer: Offer, config: AuditConfig) -> None:
    """One category: begin, check, accept."""
    st.subheader(plain(offer.category))
    st.write(plain(offer.reason))
    if not offer.begun:
        st.button(
            "Begin an audit",
            type="primary",
            key="bulk-begin",
            disabled=offer.state == "excluded",
            on_click=begin,
            args=(grant, offer, config),
        )
        return
    left, right = st.columns(2)
    left.button(
        f"Accept {offer.qualify:,} unseen",
        type="primary",
        key="bulk-apply",
        disabled=not offer.qualify,
        on_click=accept,
        args=(grant, offer),
        width="stretch",
    )
    right.button(
        "Begin anew with the proposals of now",
        key="bulk-anew",
        on_click=begin,
        args=(grant, offer, config),
        width="stretch",
    )
    asked = bulk_acceptance.checks(workspace(), grant, offer.category_id)
    judge(grant, asked, key="bulk")


def begin(grant: Grant, offer: Offer, config: AuditConfig) -> None:
    """Begin an audit."""
    with error_boundary():
        bulk_acceptance.begin(workspace(), grant, offer.category_id, config)


def accept(grant: Grant, offer: Offer) -> None:
    """Accept what qualifies and say so."""
    with error_boundary():
        receipt = bulk_acceptance.apply(workspace(), grant, offer.category_id, uuid.uuid4().hex)
        st.toast(f"{receipt.count:,} labels accepted. History takes them back.")


def draw(dataset: DatasetView) -> None:
    """The promise, the table, and one category's audit."""
    st.caption(HOW)
    if not annotator():
        st.info("Type your name in the sidebar: every verdict is stored with it.")
        return
    grant = enter(workspace(), dataset.name, annotator())
    target = st.select_slider(
        "Share of labels that must be right (for audits that begin now)",
        TARGETS,
        value=0.98,
        format_func=lambda share: f"{share:.0%}",
        key="bulk-target",
    )
    config = AuditConfig(target=float(target))
    offers = bulk_acceptance.offers(workspace(), dataset.name, config)
    offers_table(offers)
    usable = {one.category_id: one for one in offers if one.begun or one.state != "excluded"}
    if not usable:
        st.info("No category has enough proposals and known positives: review them one by one.")
        return
    chosen = st.selectbox(
        "Category", list(usable), format_func=lambda id_: usable[id_].category, key="bulk-category"
    )
    draw_audit(grant, usable[chosen], config)


with error_boundary():
    st.title("Accept in bulk")
    dataset = current_dataset()
    if dataset is None:
        st.info("There is no dataset yet. Start with Datasets.")
    else:
        draw(dataset)

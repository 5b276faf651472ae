"""Divide the images into train, val and test, with every category in each of them."""

import streamlit as st

from app.context import current_dataset, error_boundary, plain, workspace
from app.services.access import rights
from app.services.access.rights import Right
from app.services.datasets import splits
from app.services.datasets.overview import DatasetView
from app.services.datasets.splits import SplitPlan
from app.services.runtime.legible import legible

USUAL = "train=80, val=10, test=10"


def now(dataset: DatasetView) -> None:
    """How the images are divided at the moment."""
    sizes = splits.sizes(workspace(), dataset.name)
    if set(sizes) <= {""}:
        st.info("No image is in a split yet. Say which splits you want, and look at the preview.")
        return
    said = [f"{images:,} in {legible(split, 30) or 'none'}" for split, images in sizes.items()]
    st.markdown(plain(f"Now: {', '.join(said)}."))


def preview(plan: SplitPlan) -> None:
    """What dividing would do, before it does."""
    for column, (split, images) in zip(
        st.columns(max(4, len(plan.images))), plan.images.items(), strict=False
    ):
        column.metric(split, f"{images:,}")
    st.markdown(
        f"A category's share in a split is off by **{plan.deviation:.1%}** in the mean; drawn at "
        f"random, it would be **{plan.by_chance:.1%}**. {plan.moved:,} images change their split."
    )
    if plan.together is None:
        st.caption("Which pictures are the same is known once they are embedded; train first.")
    elif plan.together:
        st.caption(f"{plan.together:,} images show the same picture as another: they stay with it.")
    st.dataframe(
        [
            {"category": legible(one.name), **dict(zip(plan.images, one.positives, strict=True))}
            for one in plan.categories
        ],
        hide_index=True,
        width="stretch",
        height=280,
    )
    st.caption("Known positive labels of each category, the rarest first.")


def change(dataset: DatasetView) -> None:
    """Say which splits, look, and do it."""
    left, right = st.columns([3, 1])
    wanted = left.text_input(
        "Splits and their shares", USUAL, key="split-shares", help="In percent, or together 1."
    )
    seed = right.number_input("Seed", 0, 2**31 - 1, 0, key="split-seed")
    keep = st.toggle("Images that are in one of these splits stay there", key="split-keep")
    shares = splits.parse_shares(wanted)
    with st.spinner("Working out the splits"):
        plan = splits.plan(workspace(), dataset.name, shares, int(seed), keep=keep)
    preview(plan)
    may = rights.may(Right.MANAGE)
    one, other, _ = st.columns([1, 1, 2])
    if one.button("Divide the images", type="primary", key="split", disabled=not may):
        splits.split_images(workspace(), dataset.name, shares, int(seed), keep=keep)
        st.rerun()
    if other.button("Undo the last division", key="split-undo", disabled=not may):
        splits.undo(workspace(), dataset.name)
        st.rerun()


with error_boundary():
    st.title("Splits")
    st.caption(
        "Each split gets its share of every category, also of the rare ones, and the same picture "
        "is not put in two of them. What a file says of splits is replaced; undo brings it back."
    )
    dataset = current_dataset()
    if dataset is None:
        st.info("There is no dataset yet. Start with Datasets.")
    else:
        now(dataset)
        st.subheader("Divide anew")
        change(dataset)

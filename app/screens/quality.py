"""How good labels and model are, in figures that come from what people said."""

import streamlit as st

from app.components import quality_charts
from app.components.completeness_audit import draw_audit
from app.components.completeness_table import draw_completeness
from app.context import current_dataset, error_boundary, plain, workspace
from app.services.datasets.overview import DatasetView
from app.services.quality.completeness import completeness_of
from app.services.quality.report import BLOCK, MATRIX, PROBABILITIES, QualityReport, quality_of

EFFORT = (
    "The random control arm is a uniform sample of the unknown pairs. Those of its pairs that "
    "stand high in other queues are answered sooner, so as long as the arm is answered in part "
    "it looks better than random choice is."
)


def draw(dataset: DatasetView) -> None:
    """All charts."""
    report = quality_of(workspace(), dataset.name)
    st.subheader("How much is missing?")
    draw_completeness(completeness_of(workspace(), dataset.name))
    with st.expander("Check a sample of your own"):
        draw_audit(dataset)
    people_and_model(report)
    st.subheader("Labels by state and source")
    quality_charts.labels(report)
    st.subheader("Accepted proposals by run and category")
    quality_charts.acceptance(report)
    st.subheader("Categories in the same images")
    st.caption(f"The {MATRIX} categories with most known positives.")
    quality_charts.together(report)


def people_and_model(report: QualityReport) -> None:
    """The four charts that set people against the model."""
    left, right = st.columns(2)
    with left:
        st.subheader("Agreement with the model")
        st.caption(f"Share over each {BLOCK} verdicts, with its 95 % interval.")
        quality_charts.agreement(report)
        st.subheader("Learning curve")
        quality_charts.learning(report)
    with right:
        st.subheader("Stated probabilities")
        if report.calibration_error is not None:
            error = 100 * report.calibration_error
            st.caption(
                plain(f"On average they are {error:.1f} points away from what people said.")
                + f" The last {PROBABILITIES:,} verdicts at most."
            )
        quality_charts.reliability(report)
        st.subheader("Verdicts for each positive")
        st.caption(EFFORT)
        quality_charts.effort(report)


with error_boundary():
    st.title("Quality")
    dataset = current_dataset()
    if dataset is None:
        st.info("There is no dataset yet. Start with Datasets.")
    else:
        draw(dataset)

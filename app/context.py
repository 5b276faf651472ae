"""What every page shares: the open workspace, who is here, which dataset, and how errors show."""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache

import streamlit as st
from starlette.applications import Starlette

from app.services import logs, people, views, who
from app.services.settings import Settings
from app.services.views import DatasetView
from app.services.worker import WorkerKeeper
from app.services.workspace import Workspace
from clsl_core.errors import ClslError, FormatError
from clsl_core.types import ValidationReport

log = logging.getLogger(__name__)

ANNOTATOR_KEY = "annotator"
DATASET_KEY = "dataset"
SWITCH_INTERVAL = 0.0005
"""Seconds after which a busy thread lets another one run. A verdict is a dozen short statements:
with the usual 5 ms it would wait so long behind each, and so would whoever waits for its lock."""


@lru_cache(maxsize=1)
def workspace() -> Workspace:
    """The process's one workspace, opened when first needed."""
    return Workspace.open(Settings())


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """Open the workspace before the first page, keep a worker while the app runs."""
    opened = workspace()
    sys.setswitchinterval(SWITCH_INTERVAL)
    logs.configure(opened.settings.log_format, logging.INFO)
    keeper = WorkerKeeper(opened.settings) if opened.settings.worker else None
    if keeper is not None:
        keeper.start()
    try:
        yield
    finally:
        if keeper is not None:
            keeper.stop()
        opened.close()


@contextmanager
def error_boundary() -> Iterator[None]:
    """Show a ClslError as a message; anything else keeps its traceback in the log."""
    try:
        yield
    except ClslError as error:
        show_error(error)
    except Exception as error:
        if type(error).__module__.startswith("streamlit"):
            raise  # st.rerun and st.stop work by exception
        incident = uuid.uuid4().hex[:8]
        log.exception("page failed, incident %s", incident)
        st.error(f"Something unexpected happened (incident {incident}); the log has the details.")


def show_error(error: ClslError) -> None:
    """An error as a message, with its report when it has one."""
    st.error(plain(str(error)))
    if isinstance(error, FormatError) and error.report is not None:
        report_table(error.report)


def report_table(report: ValidationReport) -> None:
    """The problems of a file as a table."""
    st.dataframe(
        [
            {
                "severity": problem.severity.value,
                "problem": problem.code,
                "where": problem.where,
                "what": problem.message,
            }
            for problem in report.problems
        ],
        hide_index=True,
        width="stretch",
    )


_MARKUP = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]()<>#+-!|~:$&"})


def plain(text: str) -> str:
    """Text from a file or a person, so that Streamlit shows it as it is, never as markup."""
    return text.translate(_MARKUP)


def annotator() -> str:
    """Who is here; asked once, in the sidebar."""
    return str(st.session_state.get(ANNOTATOR_KEY, "")).strip()


def enter_person() -> None:
    """Let the services know who is here: what follows is done by them, with their role."""
    who.enter(people.actor_by_name(workspace(), annotator()))


def switch_to(screen: str) -> None:
    """Go to another page; who is here and what was chosen stay as they are.

    The page's address holds them by parameters that are bound to widgets, which Streamlit does
    not clear by itself.

    Args:
        screen: Name of the file in ``screens``, without its ending.
    """
    st.switch_page(f"screens/{screen}.py", query_params={})


def current_dataset() -> DatasetView | None:
    """The dataset chosen in the sidebar, with the selector drawn; None while there is none."""
    datasets = views.all_datasets(workspace())
    if not datasets:
        return None
    names = [dataset.name for dataset in datasets]
    with st.sidebar:
        chosen = st.selectbox("Dataset", names, key=DATASET_KEY, bind="query-params")
    return next((dataset for dataset in datasets if dataset.name == chosen), datasets[0])

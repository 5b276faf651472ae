"""What every page shares: the open workspace, who is here, which dataset, and how errors show."""

from __future__ import annotations

import logging
import re
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache

import streamlit as st
from starlette.applications import Starlette
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app import sign_in
from app.services.access import rights
from app.services.access.rights import Actor
from app.services.datasets import overview
from app.services.datasets.overview import DatasetView
from app.services.jobs.keeper import WorkerKeeper
from app.services.people import people
from app.services.runtime import logs
from app.services.runtime.settings import Settings
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
def open_workspace() -> Workspace:
    """The process's one workspace, opened when first needed, for whoever asks."""
    return Workspace.open(Settings())


def workspace() -> Workspace:
    """The workspace, for a page, a fragment or a callback: not before its person is let in.

    Raises:
        ClslError: Nobody is signed in where people must, or they are switched off.
    """
    opened = open_workspace()
    if get_script_run_ctx(suppress_warning=True) is not None:
        _person(opened)
    return opened


def _person(opened: Workspace) -> Actor:
    """Who is in front of the page at this moment, with the role they have."""
    if sign_in.needed(opened):
        return sign_in.present(opened)
    name = str(st.session_state.get(ANNOTATOR_KEY, "")).strip()
    return people.actor_by_name(opened, name)


def person_here() -> Actor:
    """Who acts where nobody has entered: the page's person, or, beside all pages, the program.

    Raises:
        ClslError: Nobody is signed in where people must, or they are switched off.
    """
    if get_script_run_ctx(suppress_warning=True) is None:
        return rights.PROGRAM
    return _person(open_workspace())


rights.resolve_by(person_here)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """Open the workspace before the first page, keep a worker while the app runs."""
    opened = open_workspace()
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


_ADDRESS = re.compile(r"https?:(?=//)|www(?=\.)|(?<=[\w.+-])@(?=[\w-])", re.IGNORECASE)
_JOINER = "\u2060"
"""Not seen, and no line breaks there."""


def plain(text: str) -> str:
    """Text from a file or a person, so that Streamlit shows it as it is, never as markup.

    Markdown as GitHub writes it also makes links of bare addresses, and does so after escapes are
    undone (GitHub Flavored Markdown, 6.9): what looks like the beginning of one is
    divided by a sign that is not seen.
    """
    return _ADDRESS.sub(lambda found: found[0] + _JOINER, text).translate(_MARKUP)


def annotator() -> str:
    """Who is here: signed in, or asked once, in the sidebar."""
    opened = open_workspace()
    if sign_in.needed(opened):
        return sign_in.present(opened).name
    return str(st.session_state.get(ANNOTATOR_KEY, "")).strip()


def still_here() -> None:
    """For a fragment that draws by itself: close the whole page when its person may not stay."""
    opened = open_workspace()
    if sign_in.needed(opened):
        try:
            sign_in.present(opened)
        except ClslError:
            st.rerun(scope="app")


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
    datasets = overview.all_datasets(workspace())
    if not datasets:
        return None
    names = [dataset.name for dataset in datasets]
    with st.sidebar:
        chosen = st.selectbox("Dataset", names, key=DATASET_KEY, bind="query-params")
    return next((dataset for dataset in datasets if dataset.name == chosen), datasets[0])

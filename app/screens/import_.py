"""Bring a collection in: look at what it holds and what would be done, then import."""

from pathlib import Path

import streamlit as st

from app.components.import_preview import draw_preview
from app.components.import_source import Source, choose_source, keep_upload, moving_bar
from app.components.progress import live_jobs
from app.context import DATASET_KEY, error_boundary, plain, switch_to, workspace
from app.services.datasets import overview
from app.services.importing import ingest, preview
from app.services.importing.identity import Match
from app.services.importing.preview import ImportPreview
from app.services.jobs.table import JobKind
from clsl_core.formats import FORMATS
from clsl_core.formats.read_options import DIFFICULT_FORMATS, ZERO_FORMATS, ReadOptions
from clsl_core.formats.tables.cell_states import Zero
from clsl_core.formats.voc.voc import Difficult

SHOWN = "import-shown"
DIFFICULT: list[Difficult] = ["ignore", "present", "absent"]
ZERO: list[Zero] = ["auto", "absent", "unknown"]
MATCHES = {
    Match.AUTO: "Ask me where it cannot be told",
    Match.NAMES: "Names count: another thing has the old id",
    Match.IDS: "Ids count: the same thing has another name",
}
CATEGORIES = "import-categories-known"


def choose_format(source: Source | None) -> tuple[str, str]:
    """What was asked for, and the format: found from the content, or named."""
    names = [ingest.AUTO, *FORMATS]
    chosen = st.selectbox(
        "Format",
        names,
        format_func=lambda name: "Find it" if name == ingest.AUTO else FORMATS[name].title,
        key="import-format",
    )
    if source is None or chosen != ingest.AUTO:
        return chosen, chosen
    found = ingest.recognise(source.path)
    st.caption(plain(f"{FORMATS[found.format].title}: {found.reason}"))
    return chosen, found.format


def declarations(format_name: str) -> ReadOptions:
    """What a person knows of the file that the file does not say."""
    with st.expander("What was annotated, and what signs mean"):
        every = st.toggle(
            "Everything in these pictures was annotated: what has no annotation is absent",
            key="import-exhaustive",
            help="Leave this off when labels may be missing. That is what the tool is for.",
        )
        exhaustive = st.multiselect(
            "Only these categories were annotated in every picture",
            st.session_state.get(CATEGORIES, []),
            accept_new_options=True,
            disabled=every,
            key="import-exhaustive-categories",
            help="In them, what has no annotation is absent. Look at the file to choose by name.",
        )
        difficult: Difficult | None = "ignore"
        if format_name in DIFFICULT_FORMATS:
            difficult = st.radio(
                "A category of only difficult objects is",
                DIFFICULT,
                format_func=lambda word: "unknown" if word == "ignore" else word,
                horizontal=True,
                key="import-difficult",
            )
        zero: Zero | None = "auto"
        if format_name in ZERO_FORMATS:
            zero = st.radio(
                "0 in the table means",
                ZERO,
                format_func=lambda word: "absent, unless there is a -1" if word == "auto" else word,
                horizontal=True,
                key="import-zero",
            )
    return ReadOptions(
        "negative" if every else "unknown",
        () if every else tuple(exhaustive),
        difficult or "ignore",
        zero or "auto",
    )


def how_to_match(known: bool) -> Match:
    """What counts where ids and names of a file and the dataset disagree."""
    if not known:
        return Match.AUTO
    chosen = st.radio(
        "Where ids and names of the file disagree with those of the dataset",
        MATCHES,
        format_func=lambda one: MATCHES[one],
        key="import-match",
        help="Other tools number categories and images anew at every export. Look at the file: "
        "what cannot be told is shown in both readings, and nothing is written before you chose.",
    )
    return chosen or Match.AUTO


def look(source: Source, request: ingest.ImportRequest) -> None:
    """Read the file and keep what was found."""
    with st.empty():
        move = moving_bar("Looking")
        found = preview.look(workspace(), request, move, within=source.pictures)
        st.empty()
    st.session_state[SHOWN] = (request, found)
    st.session_state[CATEGORIES] = [share.category for share in found.categories]
    st.rerun()  # so that the declarations know the categories


def submit(request: ingest.ImportRequest, found: ImportPreview) -> None:
    """Hand the import to the worker, with the loop behind it."""
    root, name = str(found.image_root), ingest.check_name(request.name)
    wanted = ingest.ImportRequest.of(
        Path(request.file), root, name, found.format, request.options, match=request.match
    )
    then = [JobKind.EMBED.value, JobKind.TRAIN.value, JobKind.PROPOSE.value]
    payload = {**wanted.to_json(), "trigger": "import", "then": then}
    workspace().jobs.submit(JobKind.IMPORT, None, payload)
    keep_upload()
    st.session_state.pop(SHOWN, None)
    st.session_state[DATASET_KEY] = name
    switch_to("datasets")


def confirm(request: ingest.ImportRequest, found: ImportPreview) -> None:
    """The button, once all is known that an import needs."""
    if not found.ok:
        return
    if found.image_root is None or found.plan is None:
        st.caption("Name the folder of the pictures and the dataset, and look again to import.")
    elif found.questions:
        st.caption("Say above whether ids or names count, and look again to import.")
    elif st.button("Import", type="primary", key="import-go"):
        submit(request, found)


with error_boundary():
    st.title("Import a collection")
    st.write(
        "An annotation file (COCO, LVIS, PASCAL VOC, CSV and others) and its pictures. Every "
        "record comes back unchanged when you export in the same format."
    )
    live_jobs(key="import")
    source = choose_source()
    asked, format_name = choose_format(source)
    options = declarations(format_name)
    came_along = source is not None and source.pictures is not None
    folder = st.text_input(
        "Folder of the pictures, on this machine",
        placeholder="found in the archive" if came_along else "",
        key="import-folder",
    )
    name = st.text_input("Name of the dataset", key="import-name", max_chars=100)
    known = next((d for d in overview.all_datasets(workspace()) if d.name == name.strip()), None)
    if known is not None:
        st.caption(plain(f"{known.name!r} is there already: the file is added to it."))
    match = how_to_match(known is not None)
    request = ingest.ImportRequest.of(
        source.path if source else Path(), folder.strip(), name, asked, options, match=match
    )
    if st.button("Look at it", disabled=source is None, key="import-look") and source:
        look(source, request)
    if source is None:
        st.caption("Choose a file. Nothing is written before you have seen what it holds.")
    shown = st.session_state.get(SHOWN)
    if shown is not None and source is not None and shown[0] == request:
        draw_preview(shown[1])
        confirm(request, shown[1])
    elif shown is not None and source is not None and shown[0].file == request.file:
        st.info("Something was changed: look again to see what the import would do now.")

"""Bring a collection in: look at what it holds and what would be done, then import."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from clsl_core.formats.read_options import ReadOptions, Scores

SHOWN = "import-shown"
MATCHES = {
    Match.AUTO: "Ask me where it cannot be told",
    Match.NAMES: "Names count: another thing has the old id",
    Match.IDS: "Ids count: the same thing has another name",
}
CHOICES: dict[str, tuple[str, dict[str, str]]] = {
    "difficult": (
        "A category of only difficult objects is",
        {"ignore": "unknown", "present": "present", "absent": "absent"},
    ),
    "zero": (
        "0 in the table means",
        {"auto": "absent, unless there is a -1", "absent": "absent", "unknown": "unknown"},
    ),
    "minus_one": (
        "-1 in the table means",
        {"absent": "absent", "unknown": "uncertain, hence unknown"},
    ),
    "folders": (
        "The subfolders of a folder without metadata are",
        {"ignore": "folders", "labels": "labels: their names are categories"},
    ),
    "empty": (
        "In an image without a line all classes are",
        {"unknown": "unknown", "absent": "absent: it was looked at"},
    ),
}
"""Declarations with a few answers: the question, and the words of each."""
SCORES: dict[Scores, str] = {
    "proposals": "proposals of a model, for people to judge",
    "final": "final: they become labels",
}
NAMES = {
    "alike": "its name, also where that is written in another way (capitals, accents, escapes)",
    "near": "its name, also with folders left out or put in front, where only one file fits",
    "exact": "exactly its name",
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
    title = FORMATS[found.format].title if found.format in FORMATS else found.format
    st.caption(plain(f"{title}: {found.reason}"))
    return chosen, found.format


def declarations(format_name: str) -> ReadOptions:
    """What a person knows of the file that the file does not say."""
    declarable = FORMATS[format_name].declarations if format_name in FORMATS else ()
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
        scores = st.radio(
            "Predictions, such as annotations with a score, are",
            list(SCORES),
            format_func=SCORES.__getitem__,
            key="import-scores",
        )
        threshold = st.number_input(
            "The least score of a prediction that is taken in",
            0.0,
            step=0.05,
            key="import-threshold",
        )
        declared = ReadOptions(
            "negative" if every else "unknown",
            () if every else tuple(exhaustive),
            scores=scores or "proposals",
            threshold=threshold,
        )
        return replace(declared, **dict(_of_format(declarable)))


def _of_format(declarable: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """What only some formats ask, by the names of ``ReadOptions``."""
    for name in declarable:
        if name in CHOICES:
            question, words = CHOICES[name]
            chosen = st.radio(
                question,
                list(words),
                format_func=words.__getitem__,
                horizontal=True,
                key=f"import-{name.replace('_', '-')}",
            )
            yield name, chosen or next(iter(words))
    if "not_labels" in declarable:
        names = st.multiselect(
            "Columns that are no categories", [], accept_new_options=True, key="import-not-labels"
        )
        yield "not_labels", tuple(names)
    if "picture_key" in declarable:
        key = st.text_input(
            "The key of a task's data that holds the picture",
            placeholder="found where only one can be it",
            key="import-picture-key",
        )
        yield "picture_key", key.strip()


def pictures_asked() -> dict[str, Any]:
    """How pictures may be called, and whether there must be any."""
    with st.expander("Pictures under other names"):
        names = st.radio(
            "A picture is found under",
            list(NAMES),
            format_func=NAMES.__getitem__,
            key="import-names",
        )
        later = st.checkbox(
            "Import though no picture is there: they come later", key="import-pictures-later"
        )
    return {"names": names or "alike", "pictures_later": later}


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
        Path(request.file),
        root,
        name,
        found.format,
        request.options,
        names=request.names,
        pictures_later=request.pictures_later,
        match=request.match,
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
    pictures = pictures_asked()
    name = st.text_input("Name of the dataset", key="import-name", max_chars=100)
    known = next((d for d in overview.all_datasets(workspace()) if d.name == name.strip()), None)
    if known is not None:
        st.caption(plain(f"{known.name!r} is there already: the file is added to it."))
    match = how_to_match(known is not None)
    request = ingest.ImportRequest.of(
        source.path if source else Path(),
        folder.strip(),
        name,
        asked,
        options,
        match=match,
        **pictures,
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

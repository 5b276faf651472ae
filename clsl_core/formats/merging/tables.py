"""Tables: cells mean nothing without their header, so a second file's move under the first's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from clsl_core.formats.merging.terms import NewIds, Speaks, Terms, union_of
from clsl_core.formats.tables.cell_states import Signs, is_state
from clsl_core.formats.tables.csv_long import (
    MACHINE_SOURCES,
    STATE,
    WITHOUT_STATE,
    completed,
    field_names,
)
from clsl_core.formats.tables.csv_wide import RESERVED
from clsl_core.types import AnnotationSet, ImageRecord, JsonObject, LabelState, SourceId

__all__ = ["ImagefolderTerms", "ListTerms", "LongTerms", "OpenImagesTerms", "WideTerms"]

Row = list[Any]
Move = Callable[[Row], Row]

_CELLS = "cells"
_FILE = 10**9
"""More lines than a file has, so that the rows of a later one come after those of the first."""


class _CellTerms(Terms):
    """A row of cells for each image."""

    unites = True
    ids_are_paths = True

    def joined(
        self,
        before: JsonObject | None,
        after: JsonObject,
        spoken: Collection[SourceId],
        header: JsonObject,
    ) -> JsonObject:
        """See Terms."""
        del spoken, header
        old: Sequence[str] = (before or {}).get(_CELLS) or ()
        return {**_kept_split(before, after), _CELLS: _filled(after[_CELLS], old)}


class WideTerms(_CellTerms):
    """A row for each image; a category that a file has no column for keeps its cells."""

    def united(self, own: JsonObject, content: AnnotationSet, order: int) -> AnnotationSet:
        """See Terms."""
        del order
        style, theirs = own["table"], content.header["table"]
        names = [_wide_name(index, name) for index, name in enumerate(style["columns"])]
        found = [_wide_name(index, name) for index, name in enumerate(theirs["columns"])]
        places, added = _places(names, found)
        columns = [*style["columns"], *(theirs["columns"][i] for i in added)]
        signs = (Signs.of_header(theirs), Signs.of_header(style))
        named = {one.name for one in content.categories}
        states = {i for i, name in enumerate(found) if name in named}

        def said(index: int, cell: str) -> str:
            return _recoded(cell, *signs) if index in states else cell

        return _moved(content, own, columns, places, said)


class ListTerms(_CellTerms):
    """A row for each image, with the names of what is present in one cell (NUS-WIDE CSV)."""

    def united(self, own: JsonObject, content: AnnotationSet, order: int) -> AnnotationSet:
        """See Terms."""
        del order
        style, theirs = own["table"], content.header["table"]
        names = [name.strip() for name in style["columns"]]
        places, added = _places(names, [name.strip() for name in theirs["columns"]])
        columns = [*style["columns"], *(theirs["columns"][i] for i in added)]

        return _moved(content, own, columns, places, lambda _, cell: cell)


class ImagefolderTerms(Terms):
    """A row for each image, by the names of its columns."""

    unites = True
    ids_are_paths = True

    def united(self, own: JsonObject, content: AnnotationSet, order: int) -> AnnotationSet:
        """See Terms."""
        del order
        column, theirs = own["column"], content.header["column"]
        header = {**union_of(own, content.header), "column": column}
        if isinstance(own.get("table"), dict):
            header["table"] = own["table"]

        def moved(image: ImageRecord) -> ImageRecord:
            row = {column if k == theirs else k: v for k, v in image.record["row"].items()}
            return replace(image, record={**image.record, "row": row})

        if column == theirs:
            return replace(content, header=header)
        return replace(content, header=header, images=[moved(image) for image in content.images])

    def joined(
        self,
        before: JsonObject | None,
        after: JsonObject,
        spoken: Collection[SourceId],
        header: JsonObject,
    ) -> JsonObject:
        """See Terms."""
        del spoken, header
        old = (before or {}).get("row")
        row = {**old, **after["row"]} if isinstance(old, dict) else after["row"]
        return {**_kept_split(before, after), "row": row}


class _RowsTerms(Terms):
    """A row for each label: a record of its own, told by its image, category and origin."""

    unites = True

    def united(self, own: JsonObject, content: AnnotationSet, order: int) -> AnnotationSet:
        """See Terms: later files' rows come after those of earlier ones."""
        style = own["table"]
        move, columns = self.relaid(style, content.header["table"])

        def moved(record: JsonObject) -> JsonObject:
            rows = [[line + order * _FILE, move(row)] for line, row in record.get("rows", ())]
            return {**record, "rows": rows} if "rows" in record else record

        header = {**union_of(own, content.header), "table": self.style(style, columns)}
        return replace(
            content,
            header=header,
            images=[replace(one, record=moved(one.record)) for one in content.images],
            categories=[replace(one, record=moved(one.record)) for one in content.categories],
        )

    def style(self, style: JsonObject, columns: list[str]) -> JsonObject:
        """How the united table is written."""
        return {**style, "columns": columns}

    def relaid(self, style: JsonObject, theirs: JsonObject) -> tuple[Move, list[str]]:
        """What moves a row of a second table, and the columns of both."""
        raise NotImplementedError

    def key(self, row: Row, columns: Sequence[str]) -> tuple[str, bool]:
        """The category of a row, and whether a model said it."""
        raise NotImplementedError

    def joined(
        self,
        before: JsonObject | None,
        after: JsonObject,
        spoken: Collection[SourceId],
        header: JsonObject,
    ) -> JsonObject:
        """See Terms: the rows of both; one that was there before stays where it was."""
        del spoken
        columns = header["table"]["columns"]
        old = [[line, _wide(row, len(columns))] for line, row in (before or {}).get("rows", ())]
        places = {tuple(row): [line, row] for line, row in old}
        new = [places.get(tuple(row), [line, row]) for line, row in after.get("rows", ())]
        again = {self.key(row, columns) for _, row in new}
        kept = [entry for entry in old if self.key(entry[1], columns) not in again]
        return {**after, "rows": [*kept, *new]} if "rows" in after else after

    def speaks(self, content: AnnotationSet) -> Speaks:
        """See Terms: of the pairs that have a row."""
        columns = content.header["table"]["columns"]
        pairs = set()
        for image in content.images:
            for _, row in image.record.get("rows", ()):
                category, machine = self.key(row, columns)
                if not machine:
                    pairs.add((image.source_id, category))
        return lambda image, category: (image, category) in pairs


class LongTerms(_RowsTerms):
    """Rows with a file and a category, under whatever names of columns."""

    ids_are_paths = True

    def relaid(self, style: JsonObject, theirs: JsonObject) -> tuple[Move, list[str]]:
        """See above; a row of a table without a column of states says present."""
        names, found = field_names(style["columns"]), field_names(theirs["columns"])
        places, added = _places(names, found)
        columns = [*style["columns"], *(theirs["columns"][i] for i in added)]
        both = field_names(columns)
        signs = (Signs.of_header(theirs), Signs.of_header(style))

        def moved(row: Row) -> Row:
            new: Row = [""] * len(columns)
            for index, cell in enumerate(row):
                new[places[index]] = _recoded(cell, *signs) if found[index] == STATE else cell
            if STATE in both and STATE not in found:
                new[both.index(STATE)] = LabelState.PRESENT.word
            return new

        return moved, columns

    def style(self, style: JsonObject, columns: list[str]) -> JsonObject:
        """See above; it is noted from where on rows had no state."""
        gained = STATE in field_names(columns) and STATE not in field_names(style["columns"])
        extra = {WITHOUT_STATE: len(style["columns"])} if gained else {}
        return {**style, "columns": columns, **extra}

    def key(self, row: Row, columns: Sequence[str]) -> tuple[str, bool]:
        """See above."""
        cells = dict(zip(field_names(columns), row, strict=False))
        return cells["category"], cells.get("source", "").strip().lower() in MACHINE_SOURCES

    def joined(
        self,
        before: JsonObject | None,
        after: JsonObject,
        spoken: Collection[SourceId],
        header: JsonObject,
    ) -> JsonObject:
        """See above; the older rows with their state, and under the image's present name."""
        style = header["table"]
        rows = [[line, completed(row, style)] for line, row in (before or {}).get("rows", ())]
        if "file_name" in after:  # an image; a category's rows name no file
            place = field_names(style["columns"]).index("file")
            rows = [[line, [*r[:place], after["file_name"], *r[place + 1 :]]] for line, r in rows]
        return super().joined({"rows": rows}, after, spoken, header)


class OpenImagesTerms(_RowsTerms):
    """Rows with ids of images and categories."""

    def renumbered(self, content: AnnotationSet, ids: NewIds) -> AnnotationSet:
        """See Terms: ids stand in the cells, too."""
        content = super().renumbered(content, ids)
        names = [name.strip() for name in content.header["table"]["columns"]]
        image_at, category_at = names.index("ImageID"), names.index("LabelName")

        def row(cells: Row) -> Row:
            new = list(cells)
            new[image_at] = ids.image(cells[image_at].strip())
            new[category_at] = ids.category(cells[category_at].strip())
            return new

        def image(one: ImageRecord) -> ImageRecord:
            rows = [[line, row(cells)] for line, cells in one.record.get("rows", ())]
            return replace(one, record={**one.record, "rows": rows})

        return replace(content, images=[image(one) for one in content.images]) if ids else content

    def relaid(self, style: JsonObject, theirs: JsonObject) -> tuple[Move, list[str]]:
        """See above."""
        names = [name.strip() for name in style["columns"]]
        places, added = _places(names, [name.strip() for name in theirs["columns"]])
        columns = [*style["columns"], *(theirs["columns"][i] for i in added)]

        def moved(row: Row) -> Row:
            new: Row = [""] * len(columns)
            for index, cell in enumerate(row):
                new[places[index]] = cell
            return new

        return moved, columns

    def key(self, row: Row, columns: Sequence[str]) -> tuple[str, bool]:
        """See above."""
        cells = dict(zip((name.strip() for name in columns), row, strict=False))
        return cells["LabelName"].strip(), cells.get("Source", "").strip().lower() == "machine"


def _places(names: Sequence[str], found: Sequence[str]) -> tuple[list[int], list[int]]:
    """Where the columns of a second table go, and which of them the first does not have.

    Args:
        names: The columns of the first.
        found: Those of the second.
    """
    first = {name: index for index, name in reversed(list(enumerate(names)))}
    places: list[int] = []
    added: list[int] = []
    for index, name in enumerate(found):
        if name in first:
            places.append(first.pop(name))
        else:
            places.append(len(names) + len(added))
            added.append(index)
    return places, added


def _moved(
    content: AnnotationSet,
    own: JsonObject,
    columns: Sequence[str],
    places: Sequence[int],
    said: Callable[[int, str], str],
) -> AnnotationSet:
    """The rows of a table under other columns: cell ``i`` goes to ``places[i]``, as ``said``."""

    def moved(image: ImageRecord) -> ImageRecord:
        row: Row = [None] * len(columns)
        for index, cell in enumerate(image.record[_CELLS]):
            row[places[index]] = said(index, cell)
        return replace(image, record={**image.record, _CELLS: row})

    header = {**union_of(own, content.header), "table": {**own["table"], "columns": list(columns)}}
    return replace(content, header=header, images=[moved(image) for image in content.images])


def _wide_name(index: int, name: str) -> str:
    """What a column of a wide table is told by; the first one is that of the file."""
    plain = name.strip()
    return "" if index == 0 else plain.lower() if plain.lower() in RESERVED else plain


def _recoded(cell: str, theirs: Signs, own: Signs) -> str:
    """A cell as the first table would say it; only zeros and minus ones are ever changed."""
    if not is_state(cell):
        return cell
    state = theirs.state(cell)
    if state is LabelState.ABSENT and cell.strip().lstrip("-")[:1].isdigit():
        if own.zero is LabelState.ABSENT:
            return "0"
        return "-1" if own.minus_one is LabelState.ABSENT else state.word
    return cell if own.state(cell) is state else ""


def _filled(row: Sequence[Any], old: Sequence[str]) -> list[str]:
    """A row whose empty places (None) are those of the older row."""
    return [
        (old[i] if i < len(old) else "") if cell is None else cell for i, cell in enumerate(row)
    ]


def _wide(row: Sequence[str], width: int) -> list[str]:
    return [*row, *[""] * (width - len(row))]


def _kept_split(before: JsonObject | None, after: JsonObject) -> JsonObject:
    """The newer record; the split stays where it has none."""
    split = (before or {}).get("split")
    return {**after, "split": split} if split and "split" not in after else after

"""Where the datasets of a backup take their pictures from: not from anywhere, unasked.

Whoever makes an archive chooses the folders, and whoever may look at a dataset sees the pictures in
them: a backup from elsewhere could show what was never meant to be.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import migrations
from clsl_core.errors import ConflictError
from db.queries import upkeep
from db.session import Database

__all__ = ["Places", "in_file", "known", "require_known"]

Places = frozenset[str]
OfDataset = tuple[str, Sequence[str]]
"""A dataset's name, and its places."""


def known(database: Database) -> Places:
    """The places of the datasets here; none of a server's database of an older version."""
    if database.shared:
        with database.explained():
            if migrations.current(database.engine) != migrations.head():
                return frozenset()
        with database.read() as session:
            return frozenset(upkeep.image_roots(session))
    file = Path(str(database.url.database))
    if not file.exists():
        return frozenset()
    with suppress(sqlite3.DatabaseError):
        return frozenset(root for _, roots in in_file(file) for root in roots)
    return frozenset()


def in_file(path: Path) -> Iterator[OfDataset]:
    """The places of the datasets in a SQLite file, of whatever revision."""
    with closing(sqlite3.connect(path)) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(dataset)")}
        more = "more_roots" if "more_roots" in columns else "'[]'"
        rows = connection.execute(f"SELECT name, image_root, {more} FROM dataset")  # noqa: S608
        for name, root, others in rows.fetchall():
            yield name, [root, *json.loads(others or "[]")]


def require_known(found: Iterable[OfDataset], known: Places | None) -> None:
    """See that pictures come from places that are known here.

    Args:
        found: Of each dataset.
        known: None for anywhere.

    Raises:
        ConflictError: Some do not.
    """
    if known is None:
        return
    new = [f"{root} ({name})" for name, roots in found for root in roots if root not in known]
    if new:
        shown = ", ".join(new[:5]) + (f" and {len(new) - 5} more" if len(new) > 5 else "")
        raise ConflictError(
            "the backup's datasets take their pictures from places that no dataset here does: "
            f"{ascii(shown) if not shown.isprintable() else shown}. Nothing was changed; if you "
            "know them, restore with --accept-places"
        )

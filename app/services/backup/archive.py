"""Backups: the database and, if wanted, the files of the data directory, in one checked archive.

An archive is a zip of ``manifest.json``, ``clsl.db`` and files below the folders ``FOLDERS``.
The manifest names the size and the sha256 of each. The database is copied by SQLite's online
backup, so the program may run meanwhile; it comes back the same way, as one transaction. Of a
database on a server there are the rows instead (``server_rows``).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import migrations
from app.services.backup import picture_places, server_rows
from app.services.runtime.settings import Settings
from clsl_core.errors import ConflictError, DatabaseError, InputError, NotFoundError
from clsl_core.files import atomic_file, sha256_of
from db.session import BUSY_TIMEOUT_MS, Database
from db.types import now

FORMAT = 1
DATABASE = "clsl.db"
MANIFEST = "manifest.json"
FOLDERS = ("features", "runs", "backbones", "descriptions")
MEMBER = re.compile(
    rf"(clsl\.db|tables\.json|tables/[a-z_]+\.copy"
    rf"|({'|'.join(FOLDERS)})(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+)"
)
LARGEST_MANIFEST = 1 << 28
CHUNK = 1 << 20
SMALL = 1 << 20
"""Bytes up to which a file may unpack to whatever it does."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One file of an archive."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What is in an archive.

    Attributes:
        revision: The schema's.
        rows: How many rows each table holds.
    """

    created_at: str
    version: str
    revision: str
    rows: dict[str, int]
    files: list[Kept]

    @property
    def size(self) -> int:
        """Bytes of all files, unpacked."""
        return sum(file.size for file in self.files)


def backup(settings: Settings, output: Path, *, with_files: bool = False) -> Summary:
    """Write an archive; ``output`` is there whole or not at all.

    Args:
        settings: Whose data directory.
        output: The file to write; an older one is replaced.
        with_files: Also the features and the checkpoints. Without them the verdicts are safe,
            and embedding and training make the files again.

    Raises:
        InputError: The file cannot be written.
        NotFoundError: There is no database yet.
        DatabaseError: The database is damaged, or its server cannot be reached.
    """
    with (
        closing(Database(settings.effective_database_url)) as database,
        tempfile.TemporaryDirectory(dir=output.parent, prefix=".backup-") as scratch,
    ):
        if database.shared:
            revision, rows = server_rows.write_rows(database, Path(scratch))
        else:
            _copy(_existing(database), Path(scratch) / DATABASE)
            revision, rows = _inspect(Path(scratch) / DATABASE)
        copies = sorted(path for path in Path(scratch).rglob("*") if path.is_file())
        sources = {path.relative_to(scratch).as_posix(): path for path in copies}
        files = [_fact(path, name) for name, path in sources.items()]
        if with_files:
            for path in _files_below(settings.data_dir):
                name = path.relative_to(settings.data_dir).as_posix()
                files.append(_fact(path, name))
                sources[name] = path
        summary = Summary(now().isoformat(), version("clsl"), revision, rows, files)
        with (
            atomic_file(output) as stream,
            zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            manifest = {"format": FORMAT, **asdict(summary)}
            archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
            for name, path in sources.items():
                archive.write(path, name)
    read(output)  # what was written is what was meant, or the caller hears of it now
    return summary


def read(archive: Path) -> Summary:
    """Check an archive against its manifest, file by file.

    Raises:
        NotFoundError: There is no such file.
        InputError: It is no archive of ours, damaged, or of a newer format.
    """
    with _opened(archive) as (zipped, summary):
        for file in summary.files:
            with zipped.open(file.path) as stream:
                _checked(stream, file, archive)
    return summary


def restore(
    settings: Settings, archive: Path, *, accept_places: bool = False
) -> tuple[Summary, Path | None]:
    """Put an archive's database, and the files that it has, in the place of what is there.

    The archive is checked first, and the database there now is kept beside it.

    Args:
        settings: Whose data directory.
        archive: The file.
        accept_places: Whether its datasets may take their pictures from folders and addresses that
            no dataset here takes any from now: whoever made the archive chose them.

    Returns:
        What came back, and where the database that was there is kept (None: there was none).

    Raises:
        NotFoundError: There is no such archive.
        InputError: It is damaged, too large, of a newer version, or of another kind of database,
            or holds what no backup of this program does.
        ConflictError: Its pictures are in places that are not known here; or a worker is running.
        DatabaseError: The server cannot be reached, or others work with the database.
    """
    from app.services.jobs.keeper import is_running

    if settings.data_dir.exists() and is_running(settings):
        raise ConflictError(
            f"a worker serves {str(settings.data_dir)!r}: close the tool before restoring"
        )
    try:
        return _put_back(settings, archive, accept_places=accept_places)
    except OSError as error:
        raise InputError(
            f"{archive.name} cannot be unpacked in {str(settings.data_dir)!r}: "
            f"{error.strerror or error}: make room, or the folder writable"
        ) from error


def _put_back(
    settings: Settings, archive: Path, *, accept_places: bool
) -> tuple[Summary, Path | None]:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with (
        closing(Database(settings.effective_database_url)) as database,
        tempfile.TemporaryDirectory(dir=settings.data_dir, prefix=".restore-") as name,
        _opened(archive) as (zipped, summary),
    ):
        _require_room(settings, zipped, summary)
        known = None if accept_places else picture_places.known(database)
        scratch = Path(name)
        for file in summary.files:
            place = scratch / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            with zipped.open(file.path) as stream, place.open("wb") as output:
                _checked(stream, file, archive, output)
        if database.shared == (scratch / DATABASE).exists():
            kinds = (
                ("on a server", "in a file") if database.shared else ("in a file", "on a server")
            )
            raise InputError(
                f"the database is {kinds[0]}, and {archive.name} is of one {kinds[1]}: correct "
                "CLSL_DATABASE_URL, or export the datasets and import them here"
            )
        if not database.shared:
            _require_plain(scratch / DATABASE)
        revision = summary.revision if database.shared else _inspect(scratch / DATABASE)[0]
        if not migrations.known(revision):
            raise InputError(
                f"{archive.name} was made by a newer version of the program ({summary.version}, "
                f"revision {revision}; this one knows {migrations.head()}): install that version"
            )
        if not database.shared:
            picture_places.require_known(picture_places.in_file(scratch / DATABASE), known)
        earlier = _keep_earlier(settings, database)
        if database.shared:
            server_rows.read_rows(database, scratch, revision, known)
        for folder in FOLDERS:
            if (scratch / folder).is_dir():
                shutil.copytree(scratch / folder, settings.data_dir / folder, dirs_exist_ok=True)
        if not database.shared:
            _copy(scratch / DATABASE, Path(str(database.url.database)))
    return summary, earlier


def _require_room(settings: Settings, zipped: zipfile.ZipFile, summary: Summary) -> None:
    """See that an archive unpacks to a size that it may have, before a byte is unpacked.

    Raises:
        InputError: It does not.
    """
    for file in summary.files:
        packed = max(1, zipped.getinfo(file.path).compress_size)
        if file.size > SMALL and file.size > settings.unpacked_ratio * packed:
            raise InputError(
                f"{file.path} becomes {file.size // packed} times larger by unpacking, more than "
                f"{settings.unpacked_ratio}: not restored. Raise CLSL_UNPACKED_RATIO if the backup "
                "is your own"
            )
    free = shutil.disk_usage(settings.data_dir).free
    if 2 * summary.size > free:  # once unpacked, once in its place
        raise InputError(
            f"the backup takes {2 * summary.size / 1e6:,.0f} MB while it is restored, and "
            f"{free / 1e6:,.0f} MB are free: make room"
        )


def _keep_earlier(settings: Settings, database: Database) -> Path | None:
    """Where the database that is there now is kept; None when there is none."""
    kept = _free_name(settings.data_dir / "backups", "before-restore")
    kept.parent.mkdir(exist_ok=True)
    if database.shared:
        with database.explained():
            empty = migrations.current(database.engine) is None
        if empty:
            return None
        kept = kept.with_suffix(".zip")
        backup(settings, kept)
        return kept
    file = Path(str(database.url.database))
    if not file.exists():
        return None
    _copy(file, kept)
    return kept


def keep_before_migration(database: Database, data_dir: Path) -> Path | None:
    """Copy a database of an older version before it is migrated.

    Returns:
        The copy; None when there is nothing to keep, or the database is on a server (there a
        migration is one transaction: it happens whole or not at all).

    Raises:
        DatabaseError: It cannot be copied; then it must not be migrated either.
    """
    revision = migrations.current(database.engine)
    file = database.url.database
    if revision is None or revision == migrations.head() or database.shared or not file:
        return None
    if not migrations.known(revision):
        return None
    target = _free_name(data_dir / "backups", f"revision-{revision}")
    try:
        target.parent.mkdir(exist_ok=True)
        _copy(Path(file), target)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseError(
            f"the database is of an older version and cannot be copied to {target} before it is "
            f"brought up to date: {error}. Make room, or the folder writable, and start again"
        ) from error
    return target


def _free_name(folder: Path, what: str) -> Path:
    return folder / f"{what}-{now():%Y%m%dT%H%M%S%f}.db"


def _existing(database: Database) -> Path:
    path = Path(str(database.url.database))
    if not path.is_file():
        raise NotFoundError(f"there is no database at {path}: nothing to back up")
    return path


def _copy(source: Path, target: Path) -> None:
    """SQLite's online backup: the target is what it was, or all of the source."""
    timeout = BUSY_TIMEOUT_MS / 1000
    with (
        closing(sqlite3.connect(source, timeout=timeout)) as reading,
        closing(sqlite3.connect(target, timeout=timeout)) as writing,
    ):
        try:
            reading.backup(writing)
        except sqlite3.DatabaseError as error:
            raise DatabaseError(f"{source} cannot be copied to {target}: {error}") from error


def _require_plain(database: Path) -> None:
    """See that nothing in a database from elsewhere acts by itself.

    Raises:
        InputError: It has triggers, views or virtual tables.
        DatabaseError: It is no database.
    """
    query = (
        "SELECT type || ' ' || name FROM sqlite_schema WHERE type IN ('trigger', 'view') "
        "OR sql LIKE 'create virtual%'"
    )
    try:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            odd = connection.execute(query).fetchone()
    except sqlite3.DatabaseError as error:
        raise DatabaseError(f"{database.name} is no database of this program: {error}") from error
    if odd is not None:
        raise InputError(
            f"{database.name} holds what this program never makes, and what would act on all that "
            f"is stored: {odd[0]!a}. It is not restored"
        )


def _inspect(database: Path) -> tuple[str, dict[str, int]]:
    """Revision of the schema and rows by table, after the check of integrity."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            damage = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if damage != "ok":
                raise DatabaseError(f"the database is damaged: {damage}")
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            names = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            )
            return str(revision), {
                name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608
                for (name,) in names.fetchall()
                if name != "alembic_version"
            }
    except (sqlite3.DatabaseError, TypeError) as error:
        raise DatabaseError(f"{database.name} is no database of this program: {error}") from error


def _files_below(data_dir: Path) -> Iterator[Path]:
    """Whole files of the folders; what is being written, or is a link, is left out."""
    for folder in FOLDERS:
        for path in sorted((data_dir / folder).rglob("*")):
            name = path.relative_to(data_dir).as_posix()
            if path.is_file() and not path.is_symlink() and MEMBER.fullmatch(name):
                yield path


def _fact(path: Path, name: str) -> Kept:
    return Kept(name, path.stat().st_size, sha256_of(path))


class _opened:  # noqa: N801 - used as a function
    """An archive with its manifest, checked as far as names go."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive

    def __enter__(self) -> tuple[zipfile.ZipFile, Summary]:
        if not self._archive.is_file():
            raise NotFoundError(f"there is no file {self._archive}")
        try:
            self._zipped = zipfile.ZipFile(self._archive)
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{self._archive.name} is no backup: {error}") from error
        try:
            return self._zipped, self._summary()
        except BaseException:
            self._zipped.close()
            raise

    def __exit__(self, *_error: object) -> None:
        self._zipped.close()

    def _summary(self) -> Summary:
        name = self._archive.name
        try:
            if self._zipped.getinfo(MANIFEST).file_size > LARGEST_MANIFEST:
                raise InputError(f"{name}: its manifest is too large to be one")
            found: dict[str, Any] = json.loads(self._zipped.read(MANIFEST))
            if found["format"] != FORMAT:
                raise InputError(
                    f"{name} has the format {found['format']!r}, this version of the program "
                    f"reads {FORMAT}: install a newer one"
                )
            files = [Kept(str(f["path"]), int(f["size"]), str(f["sha256"])) for f in found["files"]]
            rows = {str(table): int(count) for table, count in found["rows"].items()}
            summary = Summary(
                str(found["created_at"]), str(found["version"]), str(found["revision"]), rows, files
            )
        except (KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
            raise InputError(f"{name} is no backup: its manifest cannot be read") from error
        listed = [file.path for file in files]
        odd = [path for path in listed if not MEMBER.fullmatch(path)]
        present = sorted(set(self._zipped.namelist()) - {MANIFEST})
        if (
            odd
            or sorted(listed) != present
            or (DATABASE in listed) == (server_rows.TABLES in listed)
        ):
            raise InputError(f"{name} is no backup: its manifest and its files differ {odd[:3]}")
        return summary


def _checked(stream: IO[bytes], file: Kept, archive: Path, output: IO[bytes] | None = None) -> None:
    """Read a file of an archive, never more than its manifest allows, and compare."""
    digest, size = hashlib.sha256(), 0
    try:
        while size <= file.size and (chunk := stream.read(CHUNK)):
            size += len(chunk)
            digest.update(chunk)
            if output is not None:
                output.write(chunk)
    except zipfile.BadZipFile as error:
        raise InputError(f"{archive.name} is damaged at {file.path}: {error}") from error
    if (size, digest.hexdigest()) != (file.size, file.sha256):
        raise InputError(
            f"{archive.name} is damaged: {file.path} is not what its manifest says. "
            "Nothing was changed; take an older backup"
        )

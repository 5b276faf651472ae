"""A PostgreSQL server of one's own: in a temporary folder, on a socket, gone at the end.

For the tests and the benchmarks. Needs Debian's package ``postgresql``, nothing running.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

import migrations
from clsl_core.errors import NotFoundError
from db.session import Database

SERVERS = "/usr/lib/postgresql"
TEMPLATE = "clsl_migrated"
QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")
"""Settings for tests: a power cut would cost the database."""
DURABLE = ("max_connections=200",)
"""Settings for benchmarks: what is acknowledged is on the disk."""


def binaries() -> Path | None:
    """Where ``initdb`` and ``postgres`` are: on the path, or where Debian puts them."""
    on_path = shutil.which("initdb")
    if on_path is not None and (Path(on_path).parent / "postgres").exists():
        return Path(on_path).parent
    installed = [path.parent for path in Path(SERVERS).glob("*/bin/initdb")]
    return max(installed, key=lambda path: float(path.parts[-2]), default=None)


def find() -> Path:
    """As ``binaries``.

    Raises:
        NotFoundError: They are not installed.
    """
    programs = binaries()
    if programs is None:
        raise NotFoundError(
            f"no initdb on the path or in {SERVERS}: install Debian's package postgresql"
        )
    return programs


class Server:
    """A running server; every test gets a migrated database of its own.

    Args:
        programs: The folder of ``initdb`` and ``postgres``.
        settings: Settings of the server; those that make tests quick by default.
    """

    def __init__(self, programs: Path, settings: Sequence[str] = QUICK) -> None:
        self._programs = programs
        # A socket's path is short, or refused: not pytest's own folder.
        self.folder = Path(tempfile.mkdtemp(prefix="clsl-pg-"))
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            names = {entry.pw_name for entry in pwd.getpwall()}
            owner = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            self._as = {"user": owner.pw_uid, "group": owner.pw_gid}
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self._settings = [*settings, "listen_addresses=", f"unix_socket_directories={self.folder}"]
        self._data = self.folder / "data"
        command: list[str | Path] = [
            programs / "initdb",
            "-D",
            self._data,
            "-U",
            "clsl",
            "-A",
            "trust",
            "-N",
        ]
        done = subprocess.run(
            [*command, "-E", "UTF8", "--locale=C.UTF-8"],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            **self._as,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr}")
        self._made = 0
        self.start()
        self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        database = Database(self.url(TEMPLATE))
        migrations.upgrade(database.engine)
        database.close()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        command: list[str | Path] = [self._programs / "postgres", "-D", self._data]
        for setting in self._settings:
            command += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, **self._as
            )
        end = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._dsn("postgres")).close()
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > end:
                    log_text = (self.folder / "log").read_text()
                    raise RuntimeError(f"PostgreSQL did not start: {log_text}") from None
                time.sleep(0.05)

    def _dsn(self, name: str) -> str:
        return f"postgresql://clsl@/{name}?host={self.folder}"

    def url(self, name: str) -> str:
        """A database's URL for SQLAlchemy."""
        return self._dsn(name).replace("postgresql:", "postgresql+psycopg:")

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def create(self, *, migrated: bool = True, like: str | None = None) -> str:
        """A new database's URL.

        Args:
            migrated: Whether it has its tables.
            like: The URL of a database to copy, to which nobody is connected.
        """
        self._made += 1
        name = f"clsl_{self._made}"
        empty = TEMPLATE if migrated else "template0"
        self._run(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(empty if like is None else _name(like))
            )
        )
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected."""
        self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(_name(url))))

    def kill(self) -> None:
        """End the server at once, as a power cut would; ``start`` recovers it."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def stop(self) -> None:
        """End the server and remove its folder."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        shutil.rmtree(self.folder)


def _name(url: str) -> str:
    """The name of a database on this server."""
    return url.partition("?")[0].rpartition("/")[2]

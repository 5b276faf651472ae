"""Is a worker at work on this data directory, and keeping one alive beside the app."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from filelock import FileLock, Timeout

from app.services.runtime.settings import Settings

__all__ = ["LOCK_NAME", "WorkerKeeper", "is_running"]

log = logging.getLogger(__name__)

LOCK_NAME = "worker.lock"


def is_running(settings: Settings) -> bool:
    """Whether a worker serves this data directory now."""
    lock = FileLock(settings.data_dir / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


class WorkerKeeper:
    """Keeps a worker process alive beside the app, and takes it along when the app ends.

    Where a worker was started by hand, the keeper waits and takes its place when it ends.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="worker-keeper", daemon=True)

    def start(self) -> None:
        """Begin to keep."""
        self._thread.start()

    def stop(self) -> None:
        """End the worker; a job it was at goes on at the next start."""
        self._over.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(timeout=10)

    def _keep(self) -> None:
        pause = 1.0
        while not self._over.is_set():
            if is_running(self._settings):
                self._over.wait(2.0)
                continue
            began = time.monotonic()
            self._process = self._spawn()
            if self._over.is_set():
                self._process.terminate()
            with self._process:  # which closes our end of its input
                code = self._process.wait()
            if self._over.is_set():
                return
            pause = 1.0 if time.monotonic() - began > 30 else min(pause * 2, 30.0)
            log.warning("the worker ended with code %s; a new one starts in %.0f s", code, pause)
            self._over.wait(pause)

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "app.cli.main", "worker", "--exit-with-input"]
        root = str(Path(__file__).parents[3])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONPATH": path}
        environment |= {
            f"CLSL_{name.upper()}": str(value)
            for name, value in self._settings.model_dump().items()
            if value is not None
        }
        return subprocess.Popen(  # noqa: S603 - our own program
            command, env=environment, stdin=subprocess.PIPE
        )

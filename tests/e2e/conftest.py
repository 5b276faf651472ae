"""A real browser, and Streamlit servers to point it at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
REPOSITORY = Path(__file__).parents[2]
START_LIMIT = 60  # seconds


class StreamlitServer:
    """``streamlit run SCRIPT`` in its own process, on a free port that it keeps over restarts."""

    def __init__(self, script: Path, environment: Mapping[str, str], log: Path) -> None:
        self.script = script
        self.options: dict[str, str] = {}
        self.environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
        self.log = log
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {
            "server.headless": "true",
            "server.address": "localhost",
            "server.port": str(self.port),
            "server.fileWatcherType": "none",
            "browser.gatherUsageStats": "false",
            **self.options,
        }
        command = [sys.executable, "-m", "streamlit", "run", str(self.script)]
        command += [f"--{name}={value}" for name, value in options.items()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=REPOSITORY, env=self.environment, stdout=log, stderr=log
            )
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end:
            if self.process is not None and self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise AssertionError(f"{self.script} did not start:\n{self.log.read_text()[-4000:]}")

    def kill(self) -> None:
        """As if the machine lost power."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


StartServer = Callable[[Path, Mapping[str, str]], StreamlitServer]


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start Streamlit scripts; all are killed after the module."""
    servers: list[StreamlitServer] = []

    def start(script: Path, environment: Mapping[str, str]) -> StreamlitServer:
        log = tmp_path_factory.mktemp("streamlit") / "server.log"
        server = StreamlitServer(script, environment, log)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, driven by Playwright.

    Ended with its module: while Playwright runs, nothing else can run an event loop.
    """
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of 1280 x 720 in a context of its own (storage, cookies)."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()

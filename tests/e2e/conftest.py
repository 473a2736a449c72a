"""The real command in a clean environment, driven by the system's Chromium."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import clado_core as cc
from dashboard.known.artifacts import sample_matrix
from tests.conftest import ROOT

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OWN_HOSTS = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")


def chromium() -> str:
    """Path of a Chromium; skips visibly without one, or fails with REQUIRE_BROWSER=1."""
    wanted = (os.environ.get("CHROMIUM"), "/usr/bin/chromium", *map(shutil.which, BROWSERS))
    for path in wanted:
        if path and Path(path).is_file():
            return path
    message = "No Chromium found: browser tests need one (set CHROMIUM to its path)."
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(message)
    pytest.skip(message)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(
    artifacts: str, log: Path, *, browser: str | None = None
) -> tuple[subprocess.Popen[bytes], str]:
    """``streamlit run dashboard/app.py`` from the root, without PYTHONPATH; and its address.

    Args:
        artifacts: The folder of them, or "" for the shipped ones.
        log: Where its output goes.
        browser: A command that it opens the page with; headless where None.
    """
    port = free_port()
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": os.environ.get("HOME", "/tmp"),
        "CLADO_ARTIFACTS": artifacts,
        "XDG_DATA_HOME": str(log.parent / "data"),
        "BROWSER": browser or "",
    }
    options = {
        "server.port": str(port),
        "server.address": "127.0.0.1",
        "server.headless": "false" if browser else "true",
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": "false",
    }
    flags = [part for key, value in options.items() for part in (f"--{key}", value)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "dashboard/app.py", *flags],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
                return process, address
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"The server did not start:\n{log.read_text()}")


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """Ask, then insist."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless browser for all tests."""
    path = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running dashboard with a synthetic network named "sample"."""
    folder = tmp_path_factory.mktemp("artifacts")
    cc.save_matrix(sample_matrix(), folder / "sample.clado")
    process, address = start_server(str(folder), folder / "server.log")
    yield address
    stop_server(process)
    assert "Traceback" not in (folder / "server.log").read_text()


@dataclass
class Visitor:
    """A page, and what went wrong on it."""

    page: Page
    address: str
    problems: list[str] = field(default_factory=list)

    def open(self, path: str = "/", **query: str) -> None:
        """Load a page and wait until its content stands."""
        given = {"model": "sample", **query}
        self.page.goto(f"{self.address}{path}?" + "&".join(f"{k}={v}" for k, v in given.items()))
        self.settle()

    def settle(self) -> None:
        """Wait for charts, or for a page that has none."""
        self.page.wait_for_selector(
            ".js-plotly-plot .main-svg, [data-testid=stCode], .katex, [data-testid=stFileUploader]",
            timeout=60_000,
        )
        self.page.wait_for_selector(
            "[data-testid=stApp][data-test-script-state=notRunning]", timeout=60_000
        )

    def here(self) -> float:
        """Where "you are here" stands on the size axis."""
        return float(self.page.evaluate(HERE))

    def wait_until_moved(self, before: float, seconds: float = 15) -> None:
        """Wait for the marker to leave a place."""
        self.page.wait_for_function(
            f"before => ({HERE}) !== before", arg=before, timeout=1000 * seconds
        )


HERE = (
    "[...document.querySelectorAll('.js-plotly-plot')].flatMap(g => g.data ?? [])"
    ".find(t => t.name === 'You are here')?.x[0]"
)


@pytest.fixture
def visitor(browser: Browser, server: str) -> Iterator[Visitor]:
    """A fresh visitor; afterwards: no console error, no foreign request, no traceback."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, reduced_motion="reduce", accept_downloads=True
    )
    page = context.new_page()
    someone = Visitor(page, server)

    def console(message: object) -> None:
        # On a sub-page Streamlit first looks for its server below that page: its own 404s.
        location = message.location["url"]  # type: ignore[attr-defined]
        if message.type == "error" and "/_stcore/" not in location:  # type: ignore[attr-defined]
            someone.problems.append(f"console: {message.text} {location}")  # type: ignore[attr-defined]

    page.on("console", console)
    page.on("pageerror", lambda error: someone.problems.append(f"page: {error}"))
    page.on(
        "request",
        lambda r: r.url.startswith(OWN_HOSTS) or someone.problems.append(f"foreign: {r.url}"),
    )
    yield someone
    text = page.inner_text("body")
    context.close()
    assert someone.problems == []
    assert "Traceback" not in text
    assert "Error" not in text

"""The real command, driven by the system's Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

import clado_core as cc
from dashboard.known.sample import sample_matrix
from tests.e2e.server import running_server

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
Scheme: TypeAlias = Literal["light", "dark"]
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
    with running_server(str(folder), folder / "server.log") as running:
        yield running.address


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

    def wait_for_slider(self, value: float, seconds: float = 15) -> None:
        """Wait for the thumb, which Python moves after the charts."""
        slider, shown = self.page.get_by_role("slider"), float("nan")
        for _ in range(int(10 * seconds)):
            shown = float(slider.input_value())
            if abs(shown - value) < 1e-3:
                return
            self.page.wait_for_timeout(100)
        pytest.fail(f"The slider stands at {shown}, not at {value}.")


HERE = (
    "[...document.querySelectorAll('.js-plotly-plot')].flatMap(g => g.data ?? [])"
    ".find(t => t.name === 'You are here')?.x[0]"
)


@contextmanager
def visiting(
    browser: Browser, address: str, *, scheme: Scheme = "light", height: int = 900
) -> Iterator[Visitor]:
    """A fresh visitor whose system asks for a colour scheme, in a window 1440 pixels wide."""
    with browser.new_context(
        viewport={"width": 1440, "height": height},
        color_scheme=scheme,
        reduced_motion="reduce",
        accept_downloads=True,
    ) as context:
        yield Visitor(context.new_page(), address)


@pytest.fixture
def visitor(browser: Browser, server: str) -> Iterator[Visitor]:
    """A fresh visitor; afterwards: no console error, no foreign request, no traceback."""
    with visiting(browser, server) as someone:
        page, problems = someone.page, someone.problems

        def console(message: ConsoleMessage) -> None:
            # On a sub-page Streamlit first looks for its server below that page: its own 404s.
            location = message.location["url"]
            if message.type == "error" and "/_stcore/" not in location:
                problems.append(f"console: {message.text} {location}")

        page.on("console", console)
        page.on("pageerror", lambda error: problems.append(f"page: {error}"))
        page.on(
            "request",
            lambda r: r.url.startswith(OWN_HOSTS) or problems.append(f"foreign: {r.url}"),
        )
        yield someone
        text = page.inner_text("body")
    assert someone.problems == []
    assert "Traceback" not in text
    assert "Error" not in text

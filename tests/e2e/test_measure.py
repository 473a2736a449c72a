"""Measure in the browser: start, cancel, resume, open; and an upload. The real command runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

import clado_core as cc
from tests.conftest import make_matrix
from tests.e2e.conftest import visiting
from tests.e2e.server import running_server

pytestmark = pytest.mark.e2e

LONG = 180_000
"""Milliseconds; importing torch on a busy machine takes most of them."""


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The Measure page of a server that keeps its artifacts in a folder of this test."""
    with (
        running_server(str(tmp_path), tmp_path / "server.log") as running,
        visiting(browser, running.address) as someone,
    ):
        someone.page.goto(f"{running.address}/measure?mode=Fast")
        someone.page.get_by_text("Nothing is being measured").wait_for(timeout=60_000)
        yield someone.page


def fill_samples(page: Page) -> None:
    """Set the number of samples."""
    page.get_by_label("Samples").fill("256")
    page.get_by_label("Samples").press("Enter")
    settle(page)


def settle(page: Page) -> None:
    """Wait until the page has run: a button of before is replaced under the click."""
    page.wait_for_timeout(500)
    page.wait_for_selector("[data-test-script-state=notRunning]", state="attached", timeout=LONG)


def test_start_cancel_resume_and_open(page: Page, tmp_path: Path) -> None:
    fill_samples(page)
    page.get_by_role("button", name="Start").click()
    page.get_by_text("losses").first.wait_for(timeout=LONG)
    # The first losses are shown a moment before they are kept; cancelled then, none would be.
    while not list(tmp_path.glob("*.partial")):
        page.wait_for_timeout(50)
    page.reload()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("was stopped at").wait_for(timeout=60_000)
    assert list(tmp_path.glob("*.partial"))
    fill_samples(page)
    page.get_by_role("button", name="Resume").click()
    page.get_by_text(re.compile(r"is measured: \d+ layers")).wait_for(timeout=LONG)
    assert (tmp_path / "digits-resnet-own.clado").is_file()
    settle(page)
    page.get_by_role("button", name="Open digits-resnet-own").click()
    page.get_by_role("link", name="See digits-resnet-own in Explore").click()
    page.wait_for_selector(".st-key-card-front .js-plotly-plot .main-svg", timeout=60_000)
    assert "model=digits-resnet-own" in page.url


def test_an_upload_is_checked_and_opens(page: Page, tmp_path: Path) -> None:
    file, damaged = tmp_path / "up" / "gamma.clado", tmp_path / "up" / "bad.clado"
    file.parent.mkdir()
    cc.save_matrix(make_matrix(5), file)
    damaged.write_bytes(file.read_bytes()[:-8])
    chooser = page.locator("[data-testid=stFileUploader] input[type=file]")
    chooser.set_input_files(damaged)
    page.get_by_text("not a complete artifact").wait_for()
    chooser.set_input_files(file)
    page.get_by_text("5 layers at 2, 4, 8 bits").wait_for()
    page.get_by_role("button", name="Open gamma").click()
    page.get_by_role("link", name="See gamma in Explore").wait_for()
    assert (tmp_path / "gamma.clado").is_file() and not (tmp_path / "bad.clado").exists()

"""Refine by running, in the browser, with the real command on the network that ships."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import ROOT
from tests.e2e.axe import violations
from tests.e2e.conftest import visiting
from tests.e2e.server import running_server

pytestmark = pytest.mark.e2e

LONG = 180_000
"""Milliseconds; importing torch on a busy machine takes most of them."""
BUDGET = 3
"""Average bits at which another than the predicted best has the least measured loss."""


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """Explore, of a server of this test's own: there is one run at a time."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    shutil.copy(ROOT / "assets" / "digits-resnet.clado", folder / "net.clado")
    with (
        running_server(str(folder), tmp_path / "server.log") as running,
        visiting(browser, running.address) as someone,
    ):
        opened = someone.page
        opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
        opened.goto(f"{running.address}/?model=net&mode=Fast&avg_bits={BUDGET}")
        opened.wait_for_selector(".st-key-card-front .js-plotly-plot .main-svg", timeout=60_000)
        yield opened


def bars(page: Page) -> list[float]:
    """The bits that the bars show."""
    found: list[float] = page.evaluate(
        "[...document.querySelectorAll('.st-key-card-bits .js-plotly-plot')][0].data"
        ".filter(t => t.type === 'bar').flatMap(t => t.x.map((x, i) => [x, t.y[i]]))"
        ".filter(([x, y]) => y).sort((a, b) => a[0] - b[0]).map(([x, y]) => y)"
    )
    return found


def open_with_keys(page: Page) -> None:
    page.get_by_role("button", name="Refine").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Refine by running", exact=True).wait_for()


def test_the_best_when_run_becomes_a_pin(page: Page) -> None:
    predicted = bars(page)
    open_with_keys(page)
    page.get_by_role("button", name="Start at 3.00 bits").wait_for()
    assert violations(page) == []
    page.get_by_role("button", name="Start at 3.00 bits").press("Enter")
    page.get_by_role("button", name="Cancel").wait_for()
    page.keyboard.press("Escape")
    page.locator(".st-key-recall-0 button").first.wait_for(timeout=LONG)
    page.locator("[data-testid=stToast]").get_by_text("against").wait_for()
    open_with_keys(page)
    page.get_by_text("Measured on the 1,024 images of the sensitivity set").wait_for()
    page.get_by_text("It is pin 1.").wait_for()
    page.keyboard.press("Escape")
    page.locator(".st-key-recall-0 button").first.click()
    page.get_by_text("of least measured loss among those run").wait_for()
    refined = bars(page)
    assert refined != predicted
    page.wait_for_timeout(500)
    page.keyboard.press("l")
    page.get_by_text("Link copied").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    page.goto(link)
    page.get_by_text("of least measured loss among those run").wait_for(timeout=60_000)
    page.wait_for_selector(".st-key-card-bits .js-plotly-plot .main-svg")
    assert bars(page) == refined


def test_a_run_survives_a_reload_and_can_be_cancelled(page: Page) -> None:
    open_with_keys(page)
    page.get_by_text("32", exact=True).click()
    page.get_by_role("button", name="Start at").click()
    page.get_by_role("button", name="Cancel").wait_for(timeout=LONG)
    page.reload()
    page.wait_for_selector(".st-key-card-front .js-plotly-plot .main-svg", timeout=60_000)
    open_with_keys(page)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("was stopped after").wait_for(timeout=60_000)
    assert page.locator(".st-key-recall-0").count() == 0

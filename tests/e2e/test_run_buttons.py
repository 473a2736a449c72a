"""Repair and measure in the browser, with the real commands, on the network that ships."""

from __future__ import annotations

import re
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

LONG = 300_000
"""Milliseconds; importing torch on a busy machine takes most of them."""
BITS = 2.5
TRACE = (
    "name => [...document.querySelectorAll('.st-key-card-front .js-plotly-plot')]"
    ".filter(g => g.layout?.meta?.kind === 'accuracy')"
    ".flatMap(g => g.data ?? []).find(t => t.name === name)?.y.map(Number)"
)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server of this test's own: there is one run at a time."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    for suffix in (".clado", ".frontier.json"):
        shutil.copy(ROOT / "assets" / f"digits-resnet{suffix}", folder / f"net{suffix}")
    with running_server(str(folder), tmp_path / "server.log") as running:
        yield running.address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """Explore at a size where rounding to nearest breaks the network."""
    with visiting(browser, address) as someone:
        someone.page.goto(f"{address}/?model=net&mode=Fast&avg_bits={BITS}")
        settle(someone.page)
        yield someone.page


def settle(page: Page) -> None:
    page.wait_for_selector(".st-key-card-front .js-plotly-plot .main-svg", timeout=60_000)
    page.wait_for_selector("[data-test-script-state=notRunning]", state="attached", timeout=LONG)


def open_popover(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    page.locator("[data-testid=stPopoverBody]").get_by_text(name, exact=True).wait_for()


def close_popover(page: Page) -> None:
    page.keyboard.press("Escape")
    page.locator("[data-testid=stPopoverBody]").wait_for(state="detached")


def tile(page: Page, label: str) -> float:
    """Percent that a tile shows."""
    found = page.locator(".st-key-card-tiles [data-testid=stMetric]").filter(has_text=label)
    found.wait_for()
    value = found.locator("[data-testid=stMetricValue]").inner_text()
    return float(value.split()[0])


def test_repair_measure_and_see_both_marks(page: Page, address: str, tmp_path: Path) -> None:
    open_popover(page, "Repair")
    page.get_by_text("GPTQ, faster").click()
    page.get_by_role("button", name=f"Repair at {BITS:.2f} bits").click()
    page.get_by_role("button", name="Cancel").wait_for()
    page.reload()
    settle(page)
    open_popover(page, "Repair")
    page.get_by_text("Divergence as rounded").wait_for(timeout=LONG)
    assert violations(page) == []
    close_popover(page)

    open_popover(page, "Measure")
    page.get_by_role("button", name="Measure this choice").click()
    page.get_by_text("top-1, measured as repaired").wait_for(timeout=LONG)
    page.get_by_text("539 held-out images of digits").wait_for(timeout=LONG)
    page.mouse.move(5, 5)  # not above a button, whose colours under the pointer are Streamlit's
    assert violations(page) == []
    close_popover(page)
    repaired = tile(page, "Measured as repaired")
    page.locator(".st-key-front_view").get_by_text("Measured accuracy").click()
    page.wait_for_function(f"({TRACE})('Measured<br>as repaired') !== undefined")
    (drawn,) = page.evaluate(TRACE, "Measured<br>as repaired")
    (rounded,) = page.evaluate(TRACE, "Measured<br>as rounded")
    assert drawn == pytest.approx(repaired, abs=0.051)
    assert repaired > 90 and repaired > rounded + 20

    page.goto(f"{address}/export?model=net&mode=Fast&avg_bits={BITS}")
    page.get_by_role("combobox", name="Format").click()
    page.get_by_role("option", name="safetensors", exact=True).click()
    page.get_by_text("As repaired").first.wait_for()
    page.get_by_role("button", name="Write the file").click()
    page.get_by_text("Receipt").wait_for(timeout=LONG)
    with page.expect_download() as started:
        page.locator("[data-testid=stDownloadButton] button").first.click()
    assert started.value.suggested_filename.endswith("_repaired.safetensors")
    file = tmp_path / "downloaded"
    started.value.save_as(file)
    (kept,) = (tmp_path / "artifacts" / "trials").glob("*.safetensors")
    assert weights_of(file) == weights_of(kept)


def weights_of(file: Path) -> dict[str, bytes]:
    """All tensors of a packed file."""
    from safetensors.numpy import load_file

    return {name: value.tobytes() for name, value in load_file(file).items()}


def test_the_smallest_size_within_a_drop_moves_the_slider(page: Page) -> None:
    open_popover(page, "Repair")
    page.get_by_text("GPTQ, faster").click()
    close_popover(page)
    open_popover(page, "Measure")
    page.get_by_label("Points of top-1 lost at most").fill("5")
    page.get_by_role("button", name="Find, as repaired").click()
    page.get_by_text(re.compile(r"\d of \d+ choices")).first.wait_for(timeout=LONG)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("was stopped; start it again to go on").wait_for(timeout=60_000)
    page.get_by_role("button", name="Find, as repaired").click()
    page.get_by_text("choices of the front were run").wait_for(timeout=LONG)
    said = page.get_by_text("At most 5 points, measured as repaired").inner_text()
    close_popover(page)
    found = re.search(r"([\d.]+) bits", said)
    assert found is not None
    value = float(page.get_by_role("slider").input_value())
    assert value == pytest.approx(float(found[1]), abs=0.006) and value != BITS
    assert tile(page, "Measured as repaired") > 90

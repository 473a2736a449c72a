"""A network of 200 layers × 5 bit-widths: its answer at once, the rest as it comes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

import clado_core as cc
from tests.conftest import ROOT
from tests.e2e.conftest import Visitor, visiting
from tests.e2e.server import Server, running_server
from tests.large_network import large_matrix

pytestmark = pytest.mark.e2e

PATIENCE = 180_000
"""Milliseconds: a front takes 6 s of processor time, on a machine that others use, too."""
GUESSES = "text=/front [0-9]+ of 41 searched, the rest is a first guess/"
SEARCHED = "() => !/searched, the rest/.test(document.body.innerText)"
HOLLOW = """() => {
  const shown = document.querySelector(".st-key-card-front .js-plotly-plot").data
  const colours = shown.find(trace => trace.name === "Front").marker.color
  return [].concat(colours).filter(colour => colour === "#FFFFFF").length
}"""
COUNT = """() => {
  window.draws = { front: 0, bits: 0 }
  for (const name of ["front", "bits"])
    document.querySelector(`.st-key-card-${name} .js-plotly-plot`)
      .on("plotly_afterplot", () => { window.draws[name]++ })
}"""
BARS = """() => document.querySelector(".st-key-card-bits .js-plotly-plot").calcdata
  .filter(bars => bars[0].trace.type === "bar" && bars[0].trace.customdata)
  .flatMap(bars => bars.filter(bar => bar.s).map(bar => [bar.p, bar.s]))
  .sort((a, b) => a[0] - b[0]).map(([p, s]) => s)"""
"""Bits of the layers, as the bars show them."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a small network, which it opens by itself, and one large one for each test."""
    folder = tmp_path_factory.mktemp("large")
    cc.save_matrix(large_matrix(6, 3), folder / "a-small-one.clado")
    for name, layers in (("first", 200), ("locked", 200), ("killed", 110), ("moved", 200)):
        cc.save_matrix(large_matrix(layers, 5, seed=layers), folder / f"{name}.clado")
    with running_server(str(folder), folder / "server.log") as server:
        yield server


@pytest.fixture
def someone(browser: Browser, running: Server) -> Iterator[Visitor]:
    """A visitor of that server; afterwards nothing is wrong on the page."""
    with visiting(browser, running.address) as visitor:
        visitor.page.on("pageerror", lambda error: visitor.problems.append(str(error)))
        yield visitor
        assert visitor.problems == []
        assert "Traceback" not in visitor.page.inner_text("body")


def opened(someone: Visitor, name: str, mode: str = "Fast") -> Page:
    """Explore, while the front is still searched."""
    page = someone.page
    page.goto(f"{someone.address}/?model={name}&mode={mode}&avg_bits=4")
    page.wait_for_selector(".st-key-card-front .js-plotly-plot .main-svg", timeout=PATIENCE)
    page.wait_for_selector(GUESSES)
    return page


def test_the_answer_is_there_before_the_front_which_fills_in_place(someone: Visitor) -> None:
    page = opened(someone, "first", mode="Exact")
    assert page.locator("[data-testid=stMetricValue]").first.inner_text().startswith("+0.0")
    assert someone.here() == pytest.approx(4, abs=0.01)
    guessed = page.evaluate(HOLLOW)
    assert guessed > 20
    page.evaluate(COUNT)
    page.wait_for_function(f"n => ({HOLLOW})() < n - 5", arg=guessed, timeout=PATIENCE)
    page.wait_for_function(SEARCHED, timeout=PATIENCE)
    page.wait_for_function(f"() => ({HOLLOW})() === 0")
    draws = page.evaluate("window.draws")
    assert draws["front"] >= 3  # the same node all along, else nobody had counted
    assert draws["bits"] <= 3
    page.get_by_text("points proven; click one to go there").wait_for()


def test_a_key_is_answered_while_the_front_comes(someone: Visitor) -> None:
    page = opened(someone, "moved")
    before = someone.here()
    slider = page.get_by_role("slider")
    slider.focus()
    slider.press("PageUp")
    someone.wait_until_moved(before, seconds=30)
    page.wait_for_selector(GUESSES)
    someone.wait_for_slider(4.5)
    assert someone.here() == pytest.approx(4.5, abs=0.01)
    page.wait_for_function(SEARCHED, timeout=PATIENCE)
    assert someone.here() == pytest.approx(4.5, abs=0.01)


def test_a_lock_while_the_front_comes_is_kept(someone: Visitor) -> None:
    page = opened(someone, "locked")
    page.get_by_role("radio", name="2", exact=True).first.click()
    page.wait_for_selector("text=/locked at 2 bits/", timeout=PATIENCE)
    assert page.evaluate(BARS)[0] == 2
    page.wait_for_selector(GUESSES)
    page.wait_for_function(SEARCHED, timeout=PATIENCE)
    bars = page.evaluate(BARS)
    assert bars[0] == 2 and len(bars) == 200
    page.wait_for_selector("text=/Predicted loss if locked: 3 bits/", timeout=PATIENCE)


def test_a_killed_search_is_taken_up_again(someone: Visitor, running: Server) -> None:
    page = opened(someone, "killed")
    before = page.evaluate(HOLLOW)
    page.wait_for_function(f"n => ({HOLLOW})() < n", arg=before, timeout=PATIENCE)
    for pid in searching(running.pid):
        os.kill(pid, signal.SIGKILL)
    page.wait_for_function(SEARCHED, timeout=PATIENCE)
    page.wait_for_function(f"() => ({HOLLOW})() === 0")
    page.get_by_text("points proven; click one to go there").wait_for()


def searching(server: int) -> list[int]:
    """Processes that this server has started to search."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == server and b"dashboard.workers.search_worker" in command:
            found.append(int(folder.name))
    assert found, f"nothing searches for the server in {ROOT}"
    return found

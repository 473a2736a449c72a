"""What only a browser shows: dragging, clicking, navigation, downloads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.charts import FRONT_POINT, click
from tests.e2e.conftest import Visitor

pytestmark = pytest.mark.e2e

MARK = "document.querySelectorAll('.js-plotly-plot').forEach((g, i) => { g.dataset.mark = i })"
MARKS = "[...document.querySelectorAll('.js-plotly-plot')].map(g => g.dataset.mark)"


def test_arrow_keys_move_marker_bits_and_link(visitor: Visitor) -> None:
    visitor.open(avg_bits="4", mode="Fast")
    before = visitor.here()
    slider = visitor.page.get_by_role("slider")
    slider.focus()
    slider.press("PageUp")
    visitor.wait_until_moved(before)
    visitor.page.wait_for_url("**avg_bits=4.5**")
    assert visitor.here() > before
    slider.press("Home")
    visitor.page.wait_for_url("**avg_bits=2**")


def test_a_drag_redraws_in_place_and_writes_the_link_at_its_end(visitor: Visitor) -> None:
    visitor.open(avg_bits="4", mode="Fast")
    page, slider = visitor.page, visitor.page.get_by_role("slider")
    page.evaluate(MARK)
    page.evaluate(
        "window.draws = 0; document.querySelectorAll('.js-plotly-plot')[0]"
        ".on('plotly_afterplot', () => { window.draws++ })"
    )
    box = slider.bounding_box()
    assert box is not None
    y, x = box["y"] + box["height"] / 2, box["x"] + 9 + (box["width"] - 18) / 3
    before = visitor.here()
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(40):
        page.mouse.move(x + 6 * step, y)
        page.wait_for_timeout(40)
    visitor.wait_until_moved(before)
    assert "avg_bits=4&" in page.url + "&"
    page.mouse.up()
    page.wait_for_function("!location.search.includes('avg_bits=4&')")
    assert int(page.evaluate("window.draws")) >= 3
    assert page.evaluate(MARKS) == ["0", "1", "2"]


def test_zoom_survives_a_new_budget(visitor: Visitor) -> None:
    visitor.open(avg_bits="4", mode="Fast")
    page = visitor.page
    page.evaluate(
        "Plotly.relayout(document.querySelectorAll('.js-plotly-plot')[0], {'xaxis.range': [3, 6]})"
    )
    before = visitor.here()
    page.get_by_role("slider").press("PageUp")
    visitor.wait_until_moved(before)
    kept = page.evaluate(
        "document.querySelectorAll('.js-plotly-plot')[0]._fullLayout.xaxis.range.map(Number)"
    )
    assert kept == [3, 6]


def test_a_click_on_the_front_goes_there(visitor: Visitor) -> None:
    visitor.open(avg_bits="4", mode="Fast")
    page, before = visitor.page, visitor.here()
    x, y, size = page.evaluate(FRONT_POINT, 3)
    click(page, x, y)
    page.wait_for_function("!location.search.includes('avg_bits=4&')")
    visitor.wait_until_moved(before)
    assert visitor.here() == pytest.approx(size, abs=1e-3)
    visitor.wait_for_slider(size)


def test_the_proof_arrives(visitor: Visitor) -> None:
    visitor.open(avg_bits="4.35")
    visitor.page.get_by_text("Proven optimal").first.wait_for(timeout=60_000)
    assert visitor.page.get_by_text("SCIP").count() >= 1


def test_pages_and_back_keep_the_link(visitor: Visitor) -> None:
    visitor.open(avg_bits="4", mode="Fast")
    page = visitor.page
    visitor.page.get_by_role("slider").press("PageUp")
    page.wait_for_url("**avg_bits=4.5**")
    for name in ("Interactions", "Compare", "Measure", "Export", "Method"):
        page.get_by_role("link", name=name).first.click()
        page.wait_for_url(f"**/{name.lower()}**")
        visitor.settle()
        assert "avg_bits=4.5" in page.url and "mode=Fast" in page.url
    for _ in range(10):
        page.go_back()
        page.wait_for_timeout(1000)
        assert "model=sample" in page.url or "model" not in page.url
        if page.evaluate("location.pathname") == "/":
            break
    page.get_by_role("slider").wait_for()
    assert "avg_bits=4.5" in page.url
    page.wait_for_function("document.querySelector('.js-plotly-plot .main-svg') !== null")
    visitor.settle()
    visitor.wait_for_slider(4.5)


def test_a_heatmap_click_shows_the_pair(visitor: Visitor) -> None:
    visitor.open("/interactions", mode="Fast")
    page = visitor.page
    before = page.locator("[data-testid=stMetricValue]").all_inner_texts()
    box = page.locator(".js-plotly-plot .heatmaplayer").bounding_box()
    assert box is not None
    click(page, box["x"] + box["width"] * 0.72, box["y"] + box["height"] * 0.47)
    page.wait_for_function(
        "before => [...document.querySelectorAll('[data-testid=stMetricValue]')]"
        ".map(m => m.innerText).join() !== before",
        arg=",".join(before),
    )


def test_download(visitor: Visitor, tmp_path: Path) -> None:
    visitor.open("/export", avg_bits="4", mode="Fast")
    with visitor.page.expect_download() as started:
        visitor.page.get_by_role("button", name="Download E").or_(
            visitor.page.locator("[data-testid=stDownloadButton] button").first
        ).first.click()
    name = started.value.suggested_filename
    assert name.startswith("sample_") and name.endswith(".json")
    file = tmp_path / name
    started.value.save_as(file)
    assert json.loads(file.read_text())["schema"].startswith("clado-mpq/")


@pytest.mark.parametrize(
    "path", ["/", "/interactions", "/compare", "/measure", "/export", "/method"]
)
def test_a_wrong_link_is_no_dead_end(visitor: Visitor, path: str) -> None:
    visitor.open(path, model="nope", avg_bits="99", metric="x", mode="y")
    assert visitor.page.get_by_text("There is no network").count() == 1

"""Cards in the browser: brushing, tables, what lights up under the pointer, proven prices."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.e2e.charts import BAR, FRONT_POINT
from tests.e2e.conftest import Visitor

pytestmark = pytest.mark.e2e

CHART = "[...document.querySelectorAll('.js-plotly-plot')].find(g => g.layout.meta?.kind === {})"
HEAT, ALONE = CHART.format("'heat'"), CHART.format("'alone'")
MARKED = f"({ALONE}).data.find(t => t.name === 'Under the pointer').x"
FRAMES = f"({HEAT}).layout.shapes.length"


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.wait_for_timeout(150)
    page.mouse.down()
    for share in (0.25, 0.5, 0.75, 1.0):
        x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
        page.mouse.move(x, y)
        page.wait_for_timeout(40)
    page.mouse.up()


def test_brushing_keeps_what_is_inside(visitor: Visitor) -> None:
    visitor.open(avg_bits="4", mode="Fast")
    page = visitor.page
    page.get_by_text("Candidates", exact=True).click()
    axis = page.locator(".parcoords .axis-brush .background").first
    axis.wait_for()
    axis.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    box = axis.bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    drag(page, (x, box["y"] + box["height"] * 0.8), (x, box["y"] + box["height"] * 0.4))
    page.get_by_text("inside the brushes").wait_for()
    page.get_by_role("button", name="Keep").click()
    page.get_by_role("button", name="Restore").click()
    page.get_by_text("Drag along an axis to brush").wait_for()


def test_a_row_of_the_table_selects_its_pair(visitor: Visitor) -> None:
    visitor.open("/interactions", mode="Fast")
    page = visitor.page
    before = page.locator(".st-key-card-pair").inner_text()
    box = page.locator(".st-key-card-pairs [data-testid=stDataFrame]").bounding_box()
    assert box is not None
    # The grid is a canvas: the box of the fourth row, below the header.
    page.mouse.click(box["x"] + 16, box["y"] + 35 * 4 + 18)
    page.wait_for_function(
        "before => document.querySelector('.st-key-card-pair').innerText !== before", arg=before
    )


def test_a_cell_marks_its_layers_and_a_layer_its_row(visitor: Visitor) -> None:
    visitor.open("/interactions", mode="Fast")
    page = visitor.page
    page.wait_for_function(f"({ALONE}) !== undefined")
    box = page.locator(".st-key-card-heat .heatmaplayer").bounding_box()
    assert box is not None
    size = box["width"] / 16
    page.mouse.move(box["x"] + 3.5 * size, box["y"] + 8.5 * box["height"] / 16)
    page.wait_for_function(f"String({MARKED}) === '8,3'")
    lines = page.evaluate(FRAMES)
    point = page.evaluate(
        f"""() => {{ const g = {ALONE}; g.scrollIntoView({{block: 'center'}})
        const box = g.getBoundingClientRect(), l = g._fullLayout, p = g.calcdata[1][5]
        const s = l._size
        return [box.left + s.l + l.xaxis.c2p(p.x), box.top + s.t + l.yaxis.c2p(p.y)] }}"""
    )
    page.mouse.move(*point)
    page.wait_for_function(f"{FRAMES} === {lines + 2}")
    page.mouse.move(5, 5)
    page.wait_for_function(f"{FRAMES} === {lines}")


def test_a_bar_frames_its_row_in_the_small_matrix(visitor: Visitor) -> None:
    visitor.open(avg_bits="3", mode="Fast")
    page = visitor.page
    page.wait_for_function(f"({HEAT}) !== undefined")
    page.mouse.move(*page.evaluate(BAR, 4))
    page.wait_for_function(f"({HEAT}).layout.shapes?.length === 2")


def test_every_tenth_point_of_the_front_says_what_it_is(visitor: Visitor) -> None:
    visitor.open(avg_bits="4", mode="Fast")
    page = visitor.page
    count = page.evaluate(
        "document.querySelector('.js-plotly-plot').data.find(t => t.name === 'Front').x.length"
    )
    for index in range(0, count, 10):
        x, y, _ = page.evaluate(FRONT_POINT, index)
        page.mouse.move(5, 5)
        page.mouse.move(x, y)
        page.locator(".st-key-card-front .hoverlayer .hovertext").first.wait_for()


@pytest.mark.parametrize(
    ("path", "card"),
    [
        ("/", "front"),
        ("/", "bits"),
        ("/interactions", "heat"),
        ("/interactions", "alone"),
        ("/compare", "fronts"),
        ("/compare", "depths"),
    ],
)
def test_a_chart_can_be_read_as_a_table(visitor: Visitor, path: str, card: str) -> None:
    visitor.open(path, mode="Fast", avg_bits="4")
    place = visitor.page.locator(f".st-key-card-{card}")
    place.get_by_text("Table", exact=True).click()
    place.locator("[data-testid=stDataFrame]").wait_for()


def test_a_drag_brings_only_what_it_moves(visitor: Visitor) -> None:
    page, received = visitor.page, list[int]()
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame))),
    )
    visitor.open(avg_bits="4", mode="Fast")
    page.wait_for_timeout(1000)
    box = page.get_by_role("slider").bounding_box()
    assert box is not None
    y, x, draws = box["y"] + box["height"] / 2, box["x"] + box["width"] / 3, 0
    page.mouse.move(x, y)
    page.mouse.down()
    received.clear()
    for step in range(1, 9):
        before = visitor.here()
        page.mouse.move(x + 25 * step, y)
        visitor.wait_until_moved(before)
        draws += 1
    sent = sum(received)
    page.mouse.up()
    assert sent / draws < 60_000


def test_cleared_pins_leave_nothing_behind(visitor: Visitor) -> None:
    visitor.open(avg_bits="4", mode="Fast", pins="3")
    page = visitor.page
    page.locator(".st-key-recall-0 button").first.wait_for()
    page.get_by_text("What changed since the last pin").click()
    page.get_by_role("button", name="Clear pins").click()
    page.locator(".st-key-recall-0 button").first.wait_for(state="detached")


def test_prices_are_proven(visitor: Visitor) -> None:
    # Proofs of a network this small end in milliseconds, however busy the machine is.
    visitor.open(avg_bits="4.35", model="digits-resnet")
    visitor.page.get_by_text("proven.", exact=False).first.wait_for(timeout=60_000)
    visitor.page.locator(".st-key-card-bits").get_by_text("; proven.").wait_for(timeout=60_000)

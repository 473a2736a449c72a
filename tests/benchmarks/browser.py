"""What a person at a browser waits for: from key or finger to pixels, pages, a cold start."""

from __future__ import annotations

import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.e2e.conftest import FLAGS, HERE, chromium
from tests.e2e.server import running_server

CHARTS = ".js-plotly-plot .main-svg"
IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"
COLD_STARTS = 3
PAGES = ("Interactions", "Explore", "Compare", "Explore", "Export", "Explore", "Method", "Explore")

MOVED = """before => new Promise(done => {
  const look = () => (HERE) !== before ? requestAnimationFrame(done) : requestAnimationFrame(look)
  look()
})""".replace("HERE", HERE)


WATCH = """
const first = window.firstSeen = {}
const seen = { numbers: "[data-testid=stMetricValue]", charts: "CHARTS" }
new MutationObserver((_, observer) => {
  for (const [name, where] of Object.entries(seen)) {
    if (first[name] || !document.querySelector(where)) continue
    first[name] = "soon"
    // Painted with the next frame; counted from the epoch, as the server's start is.
    requestAnimationFrame(() => { first[name] = performance.timeOrigin + performance.now() })
  }
  if (Object.keys(first).length === 2) observer.disconnect()
}).observe(document, { childList: true, subtree: true })
""".replace("CHARTS", CHARTS)
"""Notes when numbers and charts are first there: asking from outside waits for a free moment."""


def measure(scratch: Path) -> dict[str, list[float]]:
    """Milliseconds, several of each."""
    found: dict[str, list[float]] = {"cold_start_ms": [], "cold_charts_ms": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for i in range(COLD_STARTS):
            # A new context has an empty cache, as on a first visit; it is there before the clock
            # runs, since opening one is the browser's time and not the server's.
            with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
                page = context.new_page()
                page.add_init_script(WATCH)
                started = 1000 * time.time()
                with running_server("", scratch / f"server-{i}.log") as running:
                    page.goto(f"{running.address}/?model=digits-vit&mode=Fast&avg_bits=4")
                    _first_sights(page, started, found)
                    if i == COLD_STARTS - 1:
                        page.wait_for_selector(IDLE)
                        page.wait_for_timeout(1500)
                        found["key_to_pixels_ms"] = _keys(page)
                        found["finger_to_pixels_ms"] = _fingers(page)
                        found["page_switch_ms"] = _pages(page)
        browser.close()
    return found


def _first_sights(page: Page, started: float, found: dict[str, list[float]]) -> None:
    page.wait_for_selector(CHARTS, timeout=60_000)
    page.wait_for_function("Object.values(window.firstSeen).every(Number.isFinite)")
    for what, name in (("cold_start_ms", "numbers"), ("cold_charts_ms", "charts")):
        found[what].append(page.evaluate(f"window.firstSeen.{name}") - started)


def _keys(page: Page) -> list[float]:
    page.get_by_role("slider").focus()
    times = []
    for i in range(20):
        before = page.evaluate(HERE)
        started = time.perf_counter()
        page.keyboard.press("PageUp" if i % 2 else "PageDown")
        page.evaluate(MOVED, before)
        times.append(1000 * (time.perf_counter() - started))
        page.wait_for_timeout(250)
    return times


def _fingers(page: Page) -> list[float]:
    box = page.get_by_role("slider").bounding_box()
    assert box is not None
    y, x, times = box["y"] + box["height"] / 2, box["x"] + box["width"] * 0.3, []
    page.mouse.move(x, y)
    page.mouse.down()
    for i in range(20):
        before = page.evaluate(HERE)
        started = time.perf_counter()
        page.mouse.move(x + (140 if i % 2 else 0) + 6 * i, y)
        page.evaluate(MOVED, before)
        times.append(1000 * (time.perf_counter() - started))
        page.wait_for_timeout(120)
    page.mouse.up()
    return times


def _pages(page: Page) -> list[float]:
    """To a page and back, each page warm: the first round is not counted."""
    times = []
    for i in range(2):
        for name in PAGES:
            content = {"Export": "[data-testid=stCode]", "Method": ".katex"}.get(name, CHARTS)
            started = time.perf_counter()
            page.get_by_role("link", name=name).first.click()
            here = "/" if name == "Explore" else f"/{name.lower()}"
            page.wait_for_function("path => location.pathname === path", arg=here)
            page.wait_for_selector(content)
            page.wait_for_selector(IDLE)
            if i:
                times.append(1000 * (time.perf_counter() - started))
            page.wait_for_timeout(200)
    return times

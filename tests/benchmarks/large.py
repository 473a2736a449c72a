"""How soon a large network is on the screen: ``python -m tests.benchmarks.large [--sizes 200x5]``.

Opens made-up networks in a browser, one after another: until the answer and until the charts are
there, until a lock is answered, until the front is complete. Seconds of the clock, and of processor
time that the server has used meanwhile (not its workers). One JSON object on standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

import clado_core as cc
from tests.benchmarks.browser import CHARTS, WATCH
from tests.benchmarks.dashboard import cpu_seconds
from tests.e2e.conftest import FLAGS, chromium
from tests.e2e.server import Server, running_server
from tests.large_network import large_matrix

SIZES = ("54x3", "110x5", "200x3", "200x5")
AVG_BITS = 4
PATIENCE_MS = 180_000
SEARCHED = "() => !/searched, the rest/.test(document.body.innerText)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="layers x bit-widths")
    parser.add_argument("--mode", default="Fast", choices=("Fast", "Exact"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(scratch) / "networks"
        folder.mkdir()
        # The server opens its first network by itself before anyone asks: a small one.
        cc.save_matrix(large_matrix(6, 3), folder / "a-small-one.clado")
        for size in arguments.sizes:
            cc.save_matrix(large_matrix(*map(int, size.split("x"))), folder / f"{size}.clado")
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        found = {}
        for size in arguments.sizes:
            with running_server(str(folder), Path(scratch) / f"{size}.log") as running:
                found[size] = measure(browser, running, size, arguments.mode)
                print(size, found[size], file=sys.stderr)
        browser.close()
    load = {"cores": os.cpu_count(), "load_average": os.getloadavg()[0]}
    print(json.dumps({"machine": load, "measured": found}))


def measure(browser: Browser, running: Server, size: str, mode: str) -> dict[str, Any]:
    """Seconds, and processor seconds of the server, of one network."""
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        query = f"mode={mode}&avg_bits={AVG_BITS}"
        page.goto(f"{running.address}/?model=a-small-one&{query}")
        page.wait_for_selector(CHARTS, timeout=PATIENCE_MS)
        page.wait_for_timeout(2000)
        page.add_init_script(WATCH)
        started, cpu = time.time(), cpu_seconds(running.pid)
        page.goto(f"{running.address}/?model={size}&{query}")
        page.wait_for_selector(CHARTS, timeout=PATIENCE_MS)
        used = cpu_seconds(running.pid) - cpu
        page.wait_for_function(
            "Object.values(window.firstSeen ?? {}).filter(Number.isFinite).length === 2"
        )
        seen = page.evaluate("window.firstSeen")
        found = {
            "answer_s": round(seen["numbers"] / 1000 - started, 2),
            "paint_s": round(seen["charts"] / 1000 - started, 2),
            "paint_cpu_s": round(used, 2),
        }
        page.wait_for_timeout(1500)
        found |= lock(page, running)
        page.wait_for_function(SEARCHED, timeout=PATIENCE_MS)
        found["front_s"] = round(time.time() - started, 2)
    return found


def lock(page: Page, running: Server) -> dict[str, float]:
    """Lock the first layer at the most bits, until the page says that it is."""
    started, cpu = time.time(), cpu_seconds(running.pid)
    page.get_by_role("radio", name="8", exact=True).first.click()
    page.wait_for_selector("text=/1 rule/", timeout=PATIENCE_MS)
    page.wait_for_selector("text=/locked at 8 bits/", timeout=PATIENCE_MS)
    return {
        "lock_s": round(time.time() - started, 2),
        "lock_cpu_s": round(cpu_seconds(running.pid) - cpu, 2),
    }


if __name__ == "__main__":
    main()

"""Writes the README's pictures: ``python -m tests.e2e.screenshots [FOLDER]``.

One per page and colour scheme, 1440 × 900, and Explore in a narrow window, from the project's own
artifacts.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

from tests.conftest import ROOT
from tests.e2e.conftest import FLAGS, Scheme, chromium, visiting
from tests.e2e.server import running_server

PAGES = {
    "explore": "/?avg_bits=3.6&pins=2.6",
    "interactions": "/interactions?avg_bits=3.6",
    "compare": "/compare?avg_bits=3.6",
    "measure": "/measure?avg_bits=3.6",
    "export": "/export?avg_bits=3.6",
    "method": "/method?avg_bits=3.6",
}
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
NARROW: ViewportSize = {"width": 800, "height": 1130}


def main(folder: Path) -> None:
    """Take all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        running_server("", Path(scratch) / "server.log") as running,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for scheme in SCHEMES:
            with visiting(browser, running.address, scheme=scheme) as someone:
                page, address = someone.page, running.address
                for name, path in PAGES.items():
                    _take(page, address + path, folder / f"{name}-{scheme}.png")
                page.set_viewport_size(NARROW)
                _take(page, address + PAGES["explore"], folder / f"narrow-{scheme}.png")
        browser.close()


def _take(page: Page, address: str, file: Path) -> None:
    page.goto(address)
    page.wait_for_selector(
        ".js-plotly-plot .main-svg, [data-testid=stCode], .katex, [data-testid=stFileUploader]",
        timeout=60_000,
    )
    if "/?" in address or "/export" in address:
        page.get_by_text("Proven optimal").first.wait_for(timeout=60_000)
    if "/?" in address:
        # The front is proven point by point in the background; the picture shows it done.
        page.wait_for_timeout(15_000)
    page.wait_for_timeout(2_500)
    page.screenshot(path=file)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "assets" / "screenshots")

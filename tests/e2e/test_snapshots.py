"""Pictures of each card in both themes, against those kept in ``snapshots/``.

``UPDATE_SNAPSHOTS=1`` writes them anew. Fonts come with the page; other builds of the browser
smooth edges differently, so a small share of the pixels may differ.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

import clado_core as cc
from dashboard.known.sample import sample_matrix
from tests.e2e.conftest import Scheme, visiting
from tests.e2e.server import running_server

pytestmark = pytest.mark.e2e

KEPT = Path(__file__).resolve().parent / "snapshots"
UPDATE = "UPDATE_SNAPSHOTS"
CARDS = {
    "/": ("budget", "tiles", "front", "bits"),
    "/interactions": ("heat", "pair", "alone"),
    "/compare": ("fronts", "depths", "numbers"),
}
LEVELS, SHARE = 48, 0.005
"""A pixel differs by more than so many of 256 levels; so many of them may."""


def difference(first: bytes, second: bytes) -> float:
    """Share of pixels that differ; 1 where the sizes do, by more than two pixels."""
    a, b = (
        np.asarray(Image.open(io.BytesIO(x)).convert("RGB"), dtype=np.int16)
        for x in (first, second)
    )
    if max(abs(np.subtract(a.shape, b.shape))) > 2:
        return 1.0
    height, width = (min(x, y) for x, y in zip(a.shape[:2], b.shape[:2], strict=True))
    apart = np.abs(a[:height, :width] - b[:height, :width]).max(axis=2) > LEVELS
    return float(apart.mean())


def test_two_pictures_are_told_apart() -> None:
    def picture(shade: int, width: int = 40) -> bytes:
        buffer = io.BytesIO()
        image = np.full((30, width, 3), 255, dtype=np.uint8)
        image[:, :10] = shade
        Image.fromarray(image).save(buffer, "PNG")
        return buffer.getvalue()

    assert difference(picture(0), picture(10)) == 0.0
    assert difference(picture(0), picture(255)) == 0.25
    assert difference(picture(0), picture(0, 60)) == 1.0


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server that no other test has asked for proofs: their bounds would show."""
    folder = tmp_path_factory.mktemp("untouched")
    cc.save_matrix(sample_matrix(), folder / "sample.clado")
    with running_server(str(folder), folder / "server.log") as running:
        yield running.address


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", CARDS)
def test_cards_look_as_they_did(
    browser: Browser, untouched: str, path: str, scheme: Scheme
) -> None:
    with visiting(browser, untouched, scheme=scheme, height=1300) as someone:
        someone.open(path, mode="Fast", avg_bits="3.6", b="sample")
        someone.page.evaluate("document.fonts.ready")
        someone.page.wait_for_timeout(1500)
        wrong = [card for card in CARDS[path] if not _same(someone.page, card, scheme)]
    assert not wrong, f"{wrong} look different; see *.now.png beside the kept pictures"


def _same(page: Page, card: str, scheme: str) -> bool:
    kept = KEPT / f"{card}-{scheme}.png"
    now = page.locator(f".st-key-card-{card}").screenshot(animations="disabled")
    if os.environ.get(UPDATE) == "1":
        KEPT.mkdir(exist_ok=True)
        kept.write_bytes(now)
        return True
    same = kept.is_file() and difference(kept.read_bytes(), now) <= SHARE
    if not same:
        kept.with_suffix(".now.png").write_bytes(now)
    return same

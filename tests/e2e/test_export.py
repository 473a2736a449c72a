"""Files from the Export page: written by the real command, downloaded by a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

import clado_core as cc
from clado_core.exports import read_packed
from clado_core.networks.builtin import ASSETS
from tests.e2e.axe import violations
from tests.e2e.conftest import Scheme, Visitor, visiting

pytestmark = pytest.mark.e2e

WRITE_LIMIT_MS = 120_000


def choose(visitor: Visitor, target: str) -> None:
    """Choose a target and wait for its report."""
    page = visitor.page
    page.get_by_role("combobox", name="Format").click()
    page.get_by_role("option", name=target, exact=True).click()
    page.get_by_text(f"What {target} does with this choice").wait_for()


def test_a_packed_file_is_written_and_downloaded(visitor: Visitor, tmp_path: Path) -> None:
    visitor.open("/export", model="digits-resnet", avg_bits="4", mode="Fast")
    choose(visitor, "safetensors")
    visitor.page.get_by_role("button", name="Write the file").click()
    visitor.page.get_by_text("Receipt").wait_for(timeout=WRITE_LIMIT_MS)
    with visitor.page.expect_download() as started:
        visitor.page.locator("[data-testid=stDownloadButton] button").first.click()
    file = tmp_path / started.value.suggested_filename
    started.value.save_as(file)
    matrix = cc.load(ASSETS / "digits-resnet.clado")
    chosen = tuple(read_packed(file).facts["layers"].values())
    assert file.stat().st_size == cc.Assignment(matrix.layers, chosen, matrix.scheme).size_bytes


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_refused_layers_are_shown_without_a_violation_of_accessibility(
    browser: Browser, server: str, scheme: Scheme
) -> None:
    with visiting(browser, server, scheme=scheme) as someone:
        someone.open("/export", model="digits-resnet", avg_bits="4", mode="Fast")
        choose(someone, "torchao")
        someone.page.get_by_text("torchao has no form for stem.0").wait_for()
        someone.page.wait_for_timeout(500)
        assert violations(someone.page) == []
        someone.page.get_by_text("Give layers without a form there more bits").click()
        someone.page.get_by_text('"_type": "FqnToConfig"').wait_for()

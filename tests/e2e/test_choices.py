"""Rules, pins, keys and links in the browser; what hovering lights up; accessibility."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.axe import violations
from tests.e2e.charts import BAR, click
from tests.e2e.conftest import Scheme, Visitor, visiting

pytestmark = pytest.mark.e2e

PAGES = ("/", "/interactions", "/compare", "/measure", "/export", "/method")


def test_a_clicked_bar_is_locked_and_has_a_price(visitor: Visitor) -> None:
    visitor.open(avg_bits="3", mode="Fast")
    page = visitor.page
    click(page, *page.evaluate(BAR, 4))
    page.get_by_text("stage1.3.conv: ").wait_for()
    lock = page.get_by_label("Lock at").get_by_text("8", exact=True)
    # While the page is drawn anew, the control of the layer before can still stand beside it.
    expect(lock).to_have_count(1)
    lock.click()
    page.get_by_text("stage1.3.conv: locked at 8 bits").wait_for()
    page.get_by_role("button", name="Rules").click()
    page.get_by_text(re.compile(r"stage1\.3\.conv at 8 bits · \+")).wait_for()
    page.get_by_role("button", name="Drop").click()
    page.get_by_text("No rule yet").wait_for()
    page.keyboard.press("Escape")


def test_keys_pin_recall_walk_and_copy_a_link_that_restores_all(visitor: Visitor) -> None:
    visitor.open(avg_bits="3", mode="Fast", locks="head:8")
    page = visitor.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.keyboard.press("p")
    page.locator(".st-key-recall-0 button").first.wait_for()
    before = visitor.here()
    page.keyboard.press("Shift+ArrowRight")
    visitor.wait_until_moved(before)
    assert visitor.here() > before
    moved = visitor.here()
    page.keyboard.press("1")
    visitor.wait_until_moved(moved)
    assert visitor.here() == pytest.approx(before)
    page.wait_for_timeout(500)
    page.keyboard.press("l")
    page.get_by_text("Link copied").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert "locks=head:8" in link and "pins=" in link and "model=sample" in link
    page.goto(link)
    visitor.settle()
    page.get_by_text("1 rule", exact=True).wait_for()
    page.locator(".st-key-recall-0 button").first.wait_for()
    assert visitor.here() == pytest.approx(before)


def test_a_layer_under_the_pointer_colours_the_front(visitor: Visitor) -> None:
    visitor.open(avg_bits="3", mode="Fast")
    page = visitor.page
    colour = (
        "document.querySelectorAll('.js-plotly-plot')[0].data"
        ".find(t => t.name === 'Front').marker.color"
    )
    plain = page.evaluate(colour)
    page.mouse.move(*page.evaluate(BAR, 4))
    page.wait_for_function(f"Array.isArray({colour})")
    page.mouse.move(5, 5)
    page.wait_for_function(f"plain => ({colour}) === plain", arg=plain)


def test_report_is_one_file(visitor: Visitor, tmp_path: Path) -> None:
    visitor.open("/export", avg_bits="4", mode="Fast")
    with visitor.page.expect_download() as started:
        visitor.page.get_by_role("button", name="Download report").click()
    file = tmp_path / started.value.suggested_filename
    started.value.save_as(file)
    assert file.suffix == ".html"
    visitor.page.goto(file.as_uri())
    visitor.page.wait_for_selector(".js-plotly-plot .main-svg")
    # What this visitor must not do, a request elsewhere, the file itself is here.
    visitor.problems[:] = [p for p in visitor.problems if "file:" not in p]


def test_two_choices_of_one_network(visitor: Visitor) -> None:
    visitor.open("/compare", avg_bits="3", mode="Fast", view="Choices", a="CLADO", b="Uniform")
    page = visitor.page
    page.get_by_text("Layers that differ").wait_for()
    page.get_by_role("button", name="Swap").click()
    page.wait_for_url("**a=Uniform**")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_no_serious_violation_of_accessibility(
    browser: Browser, server: str, path: str, scheme: Scheme
) -> None:
    with visiting(browser, server, scheme=scheme) as someone:
        someone.open(path, mode="Fast", avg_bits="3", pins="4", locks="head:8")
        if path == "/":
            someone.page.get_by_role("button", name="Rules").click()
            someone.page.get_by_text("head at 8 bits").first.wait_for()
        someone.settle()  # Streamlit's own sign of running is too faint
        someone.page.wait_for_timeout(500)
        assert violations(someone.page) == []

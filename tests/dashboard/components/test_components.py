"""The live components: what they may load, what they are sent, and the fallback."""

from __future__ import annotations

import re

import pytest

from dashboard import components
from dashboard.components import plot, served
from dashboard.components.slider import Budget
from tests.conftest import ROOT

SOURCES = ROOT / "dashboard" / "components"
FILES = sorted(path.name for kind in ("*.js", "*.css") for path in SOURCES.glob(kind))


def test_without_a_server_the_built_in_widgets_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(served.PLAIN_WIDGETS, raising=False)
    assert not components.SERVED.is_set() and not components.live()
    components.SERVED.set()
    try:
        assert components.live()
        monkeypatch.setenv(served.PLAIN_WIDGETS, "1")
        assert not components.live()
    finally:
        components.SERVED.clear()


def test_no_mode_bar_button_uploads_data() -> None:
    buttons = [b for group in plot.MODEBAR["modeBarButtons"] for b in group]
    assert buttons == ["toImage", "zoom2d", "pan2d", "resetScale2d"]


def test_a_range_of_one_point_leaves_nothing_to_choose() -> None:
    assert Budget(4.0, 4.0, 4.0, (), 0).fixed
    assert not Budget(4.0, 2.0, 8.0, (), 0).fixed


@pytest.mark.parametrize("name", FILES)
def test_sources_name_no_other_host(name: str) -> None:
    text = (SOURCES / name).read_text()
    hosts = set(re.findall(r"https?://([\w.-]+)", text))
    assert hosts <= {"github.com"}  # links in comments
    assert "\n" in text.strip()  # a single line would be taken for a path

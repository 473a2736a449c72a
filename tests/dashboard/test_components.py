"""The live components: scripts served from here, what they are sent, and the fallback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboard import components
from tests.conftest import ROOT

SOURCES = ROOT / "dashboard" / "components"


def test_plotly_script_is_copied_and_old_ones_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "STATIC", tmp_path / "static")
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "plotly-0.0.0.min.js").write_text("old")
    components.plotly_script.cache_clear()
    address = components.plotly_script()
    components.plotly_script.cache_clear()
    files = list((tmp_path / "static").iterdir())
    assert address == f"app/static/{files[0].name}"
    assert len(files) == 1
    assert files[0].stat().st_size > 1_000_000


def test_without_a_writable_folder_the_built_in_widgets_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setattr(components, "STATIC", blocked / "static")
    components.plotly_script.cache_clear()
    assert components.plotly_script() is None
    components.plotly_script.cache_clear()
    assert "cannot be copied" in caplog.text


def test_no_mode_bar_button_uploads_data() -> None:
    buttons = [b for group in components.MODEBAR["modeBarButtons"] for b in group]
    assert buttons == ["toImage", "zoom2d", "pan2d", "resetScale2d"]


@pytest.mark.parametrize("name", ["live_slider.js", "live_plot.js", "live_slider.css"])
def test_sources_name_no_other_host(name: str) -> None:
    text = (SOURCES / name).read_text()
    hosts = set(re.findall(r"https?://([\w.-]+)", text))
    assert hosts <= {"github.com"}  # links in comments
    assert "\n" in text.strip()  # a single line would be taken for a path

"""What the server sends beside the pages."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import plotly
import pytest

from dashboard.components import PLOTLY_ADDRESS
from tests.e2e.server import running_server
from tests.waiting import wait_for

pytestmark = pytest.mark.e2e


def test_plotly_comes_from_the_installed_package(server: str) -> None:
    with urllib.request.urlopen(f"{server}/{PLOTLY_ADDRESS}") as answer:
        sent = answer.read()
    installed = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    assert sent == installed.read_bytes()
    assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("path", ["/", "/interactions"])
def test_pages_announce_plotly(server: str, path: str) -> None:
    with urllib.request.urlopen(server + path) as answer:
        assert PLOTLY_ADDRESS in answer.headers["Link"]


def test_the_page_opens_in_the_browser(tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    with running_server("", tmp_path / "log", browser=f"{browser} %s") as running:
        wait_for(lambda: opened.is_file() and opened.read_text())
    assert opened.read_text().strip() == running.address.replace("127.0.0.1", "localhost")

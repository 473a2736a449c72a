"""What the server sends beside the pages."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import plotly
import pytest

from dashboard.components import PLOTLY_ADDRESS

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

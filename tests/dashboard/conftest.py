"""Artifacts in a temporary folder, and pages run by Streamlit's own test driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import clado_core as cc
from dashboard import artifacts
from tests.conftest import ROOT, make_matrix

OpenPage = Callable[..., AppTest]
PAGES = ("explore", "interactions", "compare", "measure", "export", "method")


@pytest.fixture(autouse=True)
def own_artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of two networks instead of the project's assets; no cache outlives a test."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    matrix = make_matrix(6, seed=1)
    cc.save_matrix(matrix, folder / "alpha.clado")
    cc.save_matrix(make_matrix(4, (2, 3, 4, 6, 8), seed=2), folder / "beta.clado")
    monkeypatch.setattr(artifacts, "ASSETS", folder)
    monkeypatch.setattr(artifacts, "sample_folder", lambda: tmp_path / "sample")
    monkeypatch.setattr(artifacts, "own_folder", lambda: tmp_path / "own")
    monkeypatch.delenv(artifacts.FOLDERS, raising=False)
    st.cache_data.clear()
    st.cache_resource.clear()
    yield folder


@pytest.fixture
def open_page() -> OpenPage:
    """Runs a page of the app with query parameters and a theme."""

    def run(page: str = "explore", *, theme: str = "light", **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=60)
        app.context = {"theme": theme}
        app.query_params["mode"] = "Fast"
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
        if page != "explore":
            app.switch_page(f"app_pages/{page}.py").run()
        return app

    return run

"""Artifacts in a temporary folder, and pages run by Streamlit's own test driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import clado_core as cc
from dashboard.known import catalogue, sample
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
    monkeypatch.setattr(catalogue, "ASSETS", folder)
    monkeypatch.setattr(sample, "sample_folder", lambda: tmp_path / "sample")
    monkeypatch.setattr(catalogue, "own_folder", lambda: tmp_path / "own")
    monkeypatch.delenv(catalogue.FOLDERS, raising=False)
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


def rich_matrix(n_layers: int = 6, *, measured: float = 1.0) -> cc.SensitivityMatrix:
    """Measured in four parts, with HAWQ's and MPQCO's sensitivities.

    Args:
        n_layers: Layers.
        measured: Share of the cross terms that were; the others were fitted.
    """
    base, rng = make_matrix(n_layers, seed=1), np.random.default_rng(3)
    noise = rng.normal(scale=0.05, size=(4, *base.G.shape)) * (base.G != 0)
    left_out = np.triu(rng.random(base.G.shape) >= measured, 1) & ~base.same_layer()
    left_out |= left_out.T
    noise = np.triu(noise) + np.triu(noise, 1).transpose(0, 2, 1)
    noise -= noise.mean(axis=0)
    falling = base.single_loss_increase * rng.uniform(0.5, 2.0, size=(n_layers, 1))
    return replace(
        base,
        part_G=base.G + noise,
        part_weights=np.full(4, 0.25),
        measured=~left_out,
        fit_error=np.where(left_out, 0.05, 0.0),
        provenance=cc.Provenance(estimator="adaptive"),
        diagonals={"hawq": falling, "mpqco": falling**2},
    )

"""Artifacts are found, and read again when they have changed."""

from __future__ import annotations

from pathlib import Path

import pytest

import clado_core as cc
from dashboard.known import caches, catalogue
from tests.conftest import make_matrix


@pytest.mark.parametrize("name", ["replaced", "same size"])
def test_a_file_that_changed_is_read_again(own_artifacts: Path, name: str) -> None:
    """Measured again with other samples, it has other numbers in as many bytes."""
    file = own_artifacts / "alpha.clado"
    before, size = catalogue.find().artifacts["alpha"], file.stat().st_size
    n_layers = 6 if name == "same size" else 5
    cc.save_matrix(make_matrix(n_layers, seed=9), file)
    assert (file.stat().st_size == size) is (name == "same size")
    after = catalogue.find().artifacts["alpha"]
    assert after.digest != before.digest
    assert caches.matrix(after).n_layers == n_layers

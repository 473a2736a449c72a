"""Measured accuracies beside an artifact: read, shown, or ignored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dashboard import artifacts
from dashboard.measured import measured
from tests.dashboard.conftest import OpenPage

RUN = {
    "top1": 0.9,
    "ci95": [0.85, 0.94],
    "n": 100,
    "loss": 0.7,
    "float_loss": 0.5,
    "float_top1": 0.95,
    "method": "clado",
}


def write(folder: Path, run: dict[str, object]) -> None:
    names = artifacts.matrix(artifacts.find().artifacts["alpha"]).layers.names
    point = run | {"assignment": dict.fromkeys(names, 4)}
    (folder / "alpha.measured.json").write_text(json.dumps({"points": [point]}))


def test_nothing_measured() -> None:
    assert measured(artifacts.find().artifacts["alpha"]) == ()


def test_a_run_is_read_and_drawn(open_page: OpenPage, own_artifacts: Path) -> None:
    write(own_artifacts, RUN)
    (run,) = measured(artifacts.find().artifacts["alpha"])
    assert run.loss_increase == pytest.approx(0.2)
    assert run.assignment.avg_bits == 4
    app = open_page(model="alpha")
    assert not app.exception
    spec = app.get("plotly_chart")[0].proto.spec
    assert "top-1 90.00% (85.00% to 94.00%, n = 100)" in spec


@pytest.mark.parametrize("damage", [{"top1": 7}, {"ci95": None}, {"n": "many"}])
def test_an_odd_file_is_ignored(
    own_artifacts: Path, damage: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    write(own_artifacts, RUN | damage)
    assert measured(artifacts.find().artifacts["alpha"]) == ()
    assert "is ignored" in caplog.text

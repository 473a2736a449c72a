"""Measured accuracies beside an artifact: read, shown, or ignored."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

import clado_core as cc
from clado_core.evidence import Choice, Evidence, Outcome, save_evidence
from dashboard.known import caches, catalogue
from dashboard.known.measured_choices import measured
from tests.dashboard.conftest import OpenPage
from tests.dashboard.reading import texts

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
    names = caches.matrix(catalogue.find().artifacts["alpha"]).layers.names
    point = run | {"assignment": dict.fromkeys(names, 4)}
    (folder / "alpha.measured.json").write_text(json.dumps({"points": [point]}))


def test_nothing_measured() -> None:
    assert measured(catalogue.find().artifacts["alpha"]) == ()


def test_a_run_is_read_and_drawn(open_page: OpenPage, own_artifacts: Path) -> None:
    write(own_artifacts, RUN)
    (run,) = measured(catalogue.find().artifacts["alpha"])
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
    assert measured(catalogue.find().artifacts["alpha"]) == ()
    assert "is ignored" in caplog.text


def evidence(matrix: cc.SensitivityMatrix, digest: str) -> Evidence:
    """Two methods' choices at two budgets, as the command stores them."""
    outcomes = []
    for method, bits in (("clado", 4), ("hawq", 4), ("clado", 8), ("hawq", 8)):
        problem = cc.AllocationProblem(matrix)
        chosen = problem.assignment((bits,) * matrix.n_layers)
        choice = Choice(
            method,
            float(bits),
            chosen.bits,
            chosen.avg_bits,
            chosen.size_bytes,
            matrix.predicted_loss_increase(chosen.bits),
            "optimal",
        )
        seen_loss = 1.0 + choice.predicted_loss_increase
        top1, loss = 0.8 + bits / 100, 0.6 - bits / 100
        outcomes.append(Outcome(choice, top1, (0.7, 0.9), loss, seen_loss, {}))
    digests = {"matrix": digest}
    return Evidence("alpha", "toy", digests, 1000, 0.95, 0.5, tuple(outcomes), {})


def test_evidence_is_read_and_drawn_by_method(open_page: OpenPage, own_artifacts: Path) -> None:
    artifact = catalogue.find().artifacts["alpha"]
    matrix = caches.matrix(artifact)
    save_evidence(evidence(matrix, artifact.digest), own_artifacts / "alpha.evidence.json")
    runs = measured(artifact)
    assert [run.method for run in runs] == ["clado", "hawq", "clado", "hawq"]
    assert [run.ours for run in runs] == [True, False, True, False]
    assert runs[0].loss_increase == pytest.approx(0.06)
    app = open_page(model="alpha")
    app.segmented_control(key="front_view").set_value("Measured accuracy").run()
    assert not app.exception
    chart = app.get("plotly_chart")[0].proto
    assert "HAWQ" in chart.spec and "Measured top-1 accuracy on 1000 images" in chart.alt
    app.toggle(key="accuracy_plot_table").set_value(True).run()
    assert list(app.dataframe[0].value["Chosen by"]) == ["CLADO", "CLADO", "HAWQ", "HAWQ"]
    method = open_page("method", model="alpha")
    assert not method.exception
    assert "rank correlation" in texts(method)
    assert "On the sensitivity set, whose loss is predicted: 1.000." in texts(method)
    assert "divergences" not in texts(method)


def test_divergences_are_not_taken_for_losses(open_page: OpenPage, own_artifacts: Path) -> None:
    matrix = cc.load(own_artifacts / "alpha.clado")
    about = dataclasses.replace(matrix.provenance, loss="kl")
    matrix = dataclasses.replace(matrix, provenance=about)
    digest = cc.save_matrix(matrix, own_artifacts / "alpha.clado")
    save_evidence(evidence(matrix, digest), own_artifacts / "alpha.evidence.json")
    assert "Predicted are divergences" in texts(open_page("method", model="alpha"))


def test_compare_shows_what_was_measured(open_page: OpenPage, own_artifacts: Path) -> None:
    artifact = catalogue.find().artifacts["alpha"]
    stored = evidence(caches.matrix(artifact), artifact.digest)
    save_evidence(stored, own_artifacts / "alpha.evidence.json")
    app = open_page("compare", model="alpha", avg_bits="8", view="Choices", a="Uniform", b="HAWQ")
    assert not app.exception
    rows = app.table[0].value
    assert list(rows.iloc[0])[1:] == ["88.0 %", "88.0 %", "+0.0 points"]
    alone = open_page("compare", model="beta", b="alpha", view="Networks")
    assert not alone.exception
    assert "Top-1, measured" not in str(alone.table[0].value), "neither choice here was run"
    charts = [each.proto.alt for each in alone.get("plotly_chart")]
    assert any("Measured top-1 accuracy: alpha from 84.0 %" in alt for alt in charts)


def test_evidence_of_another_measurement_is_ignored(
    own_artifacts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = catalogue.find().artifacts["alpha"]
    other = evidence(caches.matrix(artifact), "0" * 64)
    save_evidence(other, own_artifacts / "alpha.evidence.json")
    assert measured(artifact) == ()
    assert "another measurement" in caplog.text

"""Measured accuracies beside an artifact: read, shown, or ignored."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

import clado_core as cc
from clado_core.evidence import Choice, Evidence, Outcome, save_evidence
from clado_core.files.outcomes import keep_outcome
from clado_core.records.image_outcomes import ImageOutcomes
from clado_core.records.measured_choice import ImageSet, MeasuredChoice, RepairSettings
from dashboard.known import caches, catalogue
from dashboard.known.measured_choices import measured, measured_of, version
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


def kept(bits: int, right: int, images: ImageSet, repair: RepairSettings | None = None) -> None:
    """As ``evaluate --as`` keeps it, of 100 images."""
    artifact = catalogue.find().artifacts["alpha"]
    matrix = caches.matrix(artifact)
    outcomes = ImageOutcomes(np.arange(100) < right, 0.5)
    choice = MeasuredChoice((bits,) * matrix.n_layers, images, outcomes, outcomes, repair)
    keep_outcome(artifact.path, matrix, choice)


HELD_OUT = ImageSet("digits", "held-out", "1" * 64)
VALIDATION = ImageSet("digits", "validation", "2" * 64)
REPAIRED = RepairSettings("gptq", 0, 250, "3" * 64)


def test_what_is_kept_while_it_is_measured_is_seen_at_once() -> None:
    artifact = catalogue.find().artifacts["alpha"]
    for bits in (2, 4, 8):
        kept(bits, 50 + bits, HELD_OUT)
        before = version(artifact)
        kept(bits, 80 + bits, HELD_OUT, REPAIRED)
        assert version(artifact) != before
        both = measured_of(artifact, (bits,) * 6)
        assert both["rounded"].top1 == (50 + bits) / 100
        assert both["repaired"].top1 == (80 + bits) / 100
    assert [run.assignment.bits[0] for run in measured(artifact)] == [2, 2, 4, 4, 8, 8]


def test_images_are_not_mixed_and_held_out_ones_come_first() -> None:
    artifact = catalogue.find().artifacts["alpha"]
    for bits in (2, 4, 8):
        kept(bits, 99, VALIDATION, REPAIRED)
    assert {run.images.split for run in measured(artifact)} == {"validation"}
    kept(4, 90, HELD_OUT, REPAIRED)
    (run,) = measured(artifact)
    assert run.top1 == 0.9 and run.images.counted(run.n) == "100 held-out images of digits"


def test_of_two_runs_of_a_choice_the_later_one_counts() -> None:
    artifact = catalogue.find().artifacts["alpha"]
    kept(4, 80, HELD_OUT, REPAIRED)
    kept(4, 90, HELD_OUT, dataclasses.replace(REPAIRED, rounding="adaround"))
    assert [run.top1 for run in measured(artifact)] == [0.9]


def test_evidence_and_what_was_run_since_are_one_where_the_images_are(own_artifacts: Path) -> None:
    artifact = catalogue.find().artifacts["alpha"]
    stored = evidence(caches.matrix(artifact), artifact.digest)
    values = stored.to_json()
    values["digests"]["data"] = HELD_OUT.sha256
    for outcome in values["outcomes"]:
        outcome["repaired"] = {"top1": 0.93, "ci95": [0.92, 0.94], "loss": 0.55}
    values["outcomes"][0]["repaired"] = None
    (own_artifacts / "alpha.evidence.json").write_text(json.dumps(values))
    kept(4, 95, HELD_OUT, REPAIRED)
    runs = measured(artifact)
    repaired = [
        (r.method, r.assignment.bits[0], r.top1) for r in runs if r.measured_as != "rounded"
    ]
    assert repaired == [("hawq", 4, 0.93), ("", 4, 0.95), ("clado", 8, 0.93), ("hawq", 8, 0.93)]
    assert len(runs) == 4 + 4
    assert all(math.isnan(r.sensitivity_loss) for r in runs if r.measured_as == "repaired")


def test_compare_shows_the_two_as_the_same(open_page: OpenPage) -> None:
    for bits in (2, 4, 8):
        kept(bits, 50, HELD_OUT)
        kept(bits, 90, HELD_OUT, REPAIRED)
    app = open_page("compare", model="alpha", avg_bits="8", view="Choices", a="Uniform", b="CLADO")
    assert not app.exception
    assert list(app.table[0].value.iloc[0])[:2] == ["Top-1, measured as repaired", "90.0 %"]
    alone = open_page("compare", model="alpha", avg_bits="8", b="beta", view="Networks")
    assert "Accuracy, measured as rounded" in texts(alone), "beta was never repaired"

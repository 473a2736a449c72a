"""Repair and Measure on Explore and Export: started, followed, told of, and shown on the front."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import clado_core as cc
from clado_core.exports.format import WITHOUT_WEIGHTS
from clado_core.files.outcomes import keep_outcome
from clado_core.records.image_outcomes import ImageOutcomes
from clado_core.records.measured_choice import ImageSet, MeasuredChoice, RepairSettings
from dashboard.cards import run_buttons
from dashboard.figures.series import MEASURED
from dashboard.known import catalogue, services
from dashboard.state import view_state
from dashboard.workers.repair import Repair
from dashboard.workers.smallest import FindSmallest
from dashboard.workers.trials import MeasureChoice, MeasureFront, TrialService
from tests.conftest import make_matrix
from tests.dashboard.conftest import OpenPage
from tests.dashboard.reading import metrics, texts
from tests.dashboard.told import ended, finish, prints
from tests.dashboard.workers.test_trials import answer, steps
from tests.waiting import wait_for

IMAGES = ImageSet("digits", "held-out", "1" * 64)
REPAIR = RepairSettings("adaround", 0, 250, "2" * 64)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> TrialService:
    """The page's service, not yet used."""
    made: TrialService = TrialService(
        (sys.executable, "-c", "raise SystemExit('not to be run')"),
        on_result=lambda wish, result: wish.keep(result),
    )
    monkeypatch.setattr(services, "trial_service", lambda: made)
    return made


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The command goes on once this file is there."""
    return tmp_path / "gate"


@pytest.fixture
def runnable(own_artifacts: Path) -> cc.SensitivityMatrix:
    """The first network says what it was measured on."""
    matrix = make_matrix(6, seed=1)
    known = dataclasses.replace(
        matrix.provenance, model="digits-resnet", data="digits", n_samples=1024
    )
    matrix = dataclasses.replace(matrix, provenance=known)
    cc.save_matrix(matrix, own_artifacts / "alpha.clado")
    return matrix


def opened(app: AppTest, popover: str) -> AppTest:
    """The test driver forgets which popovers are open after every run."""
    app.session_state[popover] = True
    return app.run()


def shown_bits(app: AppTest) -> tuple[int, ...]:
    app.toggle(key="bits_table").set_value(True).run()
    bits = tuple(int(b) for b in app.dataframe[0].value["Bits"])
    app.toggle(key="bits_table").set_value(False).run()
    return bits


def keep(bits: tuple[int, ...], right: int, *, repaired: bool, images: ImageSet = IMAGES) -> None:
    """As ``evaluate --as`` keeps it: so many of 100 images right, the float network all but one."""
    artifact = catalogue.find().artifacts["alpha"]
    matrix = cc.load(artifact.path)
    measured = MeasuredChoice(
        bits,
        images,
        ImageOutcomes(np.arange(100) < right, 0.5),
        ImageOutcomes(np.arange(100) < 99, 0.1),
        REPAIR if repaired else None,
    )
    keep_outcome(artifact.path, matrix, measured)


def test_a_repair_is_shown_and_exported(
    open_page: OpenPage, service: TrialService, runnable: cc.SensitivityMatrix, gate: Path
) -> None:
    app = opened(open_page(avg_bits="4"), run_buttons.REPAIR)
    bits = shown_bits(app)
    folder = catalogue.trials_folder()
    assert "not repaired yet" in export_of(open_page, "safetensors")
    opened(app, run_buttons.REPAIR).button(key="repair-start").click()
    wish = service_wish(app, service, gate, steps(1.25, 0.5, 0.0125))
    assert isinstance(wish, Repair) and wish.assignment.bits == bits
    assert wish.out.parent == folder and wish.choice.is_file()
    app.session_state[run_buttons.REPAIR] = False
    app.run()
    assert "Divergence as rounded **1.25**, as repaired **0.0125**" in app.toast[0].value
    opened(app, run_buttons.REPAIR)
    assert not app.toast
    assert list(app.table[0].value["Divergence"]) == ["1.25", "0.500", "0.0125"]
    assert "on 512 training images that the repair was not made with" in texts(app)
    assert not export_of(open_page, "safetensors").count("not repaired yet")
    export = open_page("export", avg_bits="4")
    export.selectbox(key="export_format").set_value("onnx").run()
    assert export.segmented_control(key="export_weights").value == "As repaired"
    repeated = next(code.value for code in export.code if "clado_core export" in code.value)
    assert "clado_core repair" in repeated and "--repaired repaired.safetensors" in repeated
    export.segmented_control(key="export_weights").set_value("As rounded").run()
    repeated = next(code.value for code in export.code if "clado_core export" in code.value)
    assert "clado_core repair" not in repeated and "--repaired" not in repeated
    assert WITHOUT_WEIGHTS in export_of(open_page, "json")


def export_of(open_page: OpenPage, target: str) -> str:
    """What Export says about a target."""
    app = open_page("export", avg_bits="4")
    app.selectbox(key="export_format").set_value(target).run()
    assert not app.exception
    return texts(app)


def service_wish(app: AppTest, service: TrialService, gate: Path, printed: dict[str, Any]) -> Any:
    """Run what was clicked to its end; the wish."""
    wishes: list[Any] = []
    start = service.start

    def told(wish: Any, /) -> bool:
        wishes.append(wish)
        prints(service, gate, printed, writes=getattr(wish, "out", None))
        return start(wish)

    service.start = told  # type: ignore[method-assign]
    app.run()
    service.start = start  # type: ignore[method-assign]
    finish(service, gate)
    return wishes[0]


def test_progress_and_cancel(
    open_page: OpenPage, service: TrialService, runnable: cc.SensitivityMatrix, gate: Path
) -> None:
    prints(service, gate, None)
    opened(open_page(avg_bits="4"), run_buttons.MEASURE).button(key="measure-front").click().run()
    wait_for(lambda: service.state is not None and service.state.done == 12)
    app = open_page(avg_bits="4")  # as after a reload
    assert "Measuring the front of alpha: 12 of 45 assignments, 3 s left" in texts(app)
    assert isinstance(service.state.wish, MeasureFront)  # type: ignore[union-attr]
    opened(app, run_buttons.REPAIR)
    assert not [b for b in app.button if b.key == "repair-start"], "one at a time"
    opened(app, run_buttons.MEASURE).button(key="measure-cancel").click().run()
    wait_for(lambda: ended(service))
    opened(app, run_buttons.MEASURE)
    assert "was stopped; start it again to go on" in texts(app)


def test_what_is_measured_appears_beside_what_is_predicted(
    open_page: OpenPage, service: TrialService, runnable: cc.SensitivityMatrix, gate: Path
) -> None:
    app = opened(open_page(avg_bits="4"), run_buttons.MEASURE)
    bits, before = shown_bits(app), metrics(app)
    assert before["Measured accuracy"] == "–"
    opened(app, run_buttons.MEASURE).button(key="measure-choice").click()
    wish = service_wish(app, service, gate, {"choices": []})
    assert isinstance(wish, MeasureChoice) and wish.assignment.bits == bits
    keep(bits, 60, repaired=False)
    opened(app, run_buttons.MEASURE)
    shown = metrics(app)
    assert shown["Measured as rounded"] == "60.0 %"
    assert MEASURED["rounded"] in drawn(app) and MEASURED["repaired"] not in drawn(app)
    keep(bits, 95, repaired=True)
    opened(app, run_buttons.MEASURE)
    (tile,) = [m for m in app.metric if m.label == "Measured as repaired"]
    assert tile.value == "95.0 %" and tile.delta == "as rounded 60.0 %"
    assert "as repaired 88.8 to 97.8 %" in tile.help
    assert metrics(app)["Predicted loss increase"] == before["Predicted loss increase"]
    assert set(MEASURED.values()) <= drawn(app)
    cells = app.table[0].value.to_string()
    assert "95.0 % (88.8 to 97.8 %)" in cells and "100 held-out images of digits" in cells
    app.segmented_control(key="front_view").set_value("Measured accuracy").run()
    assert "CLADO as rounded up to 60.0 %, CLADO as repaired up to 95.0 %" in alt(app)
    said = export_of(open_page, "json")
    assert "measured as rounded 60.0 %, as repaired 95.0 % (top-1, 100 held-out" in said


def drawn(app: AppTest) -> set[str]:
    """Names of the series on the front."""
    return {trace["name"] for trace in json.loads(app.get("plotly_chart")[0].proto.spec)["data"]}


def alt(app: AppTest) -> str:
    return str(app.get("plotly_chart")[0].proto.alt)


def test_a_search_moves_the_budget_and_says_on_what_it_rests(
    open_page: OpenPage, service: TrialService, runnable: cc.SensitivityMatrix, gate: Path
) -> None:
    found = answer((8, 4, 4, 4, 4, 8))
    app = opened(open_page(avg_bits="4"), run_buttons.MEASURE)
    app.number_input(key="measure_drop").set_value(0.5)
    app.button(key="measure-smallest").click()
    wish = service_wish(app, service, gate, found)
    assert isinstance(wish, FindSmallest)
    assert (wish.max_drop, wish.measured_as) == (0.5, "repaired")
    opened(app, run_buttons.MEASURE)
    assert not app.exception
    chosen = cc.AllocationProblem(runnable).assignment((8, 4, 4, 4, 4, 8))
    asked = app.session_state[view_state.AVG_BITS]
    assert asked == pytest.approx(chosen.avg_bits, abs=1e-3) and asked != 4
    said = texts(app)
    assert "7 of 41 choices of the front were run" in said
    assert "0.4 points (−0.2 to 1.1) on 187 validation images" in said
    assert "0.0 points (−0.2 to 1.1) on 539 held-out images" in said
    app.slider[0].set_value(6.0).run()
    opened(app, run_buttons.MEASURE).button(key="measure-go").click().run()
    assert app.session_state[view_state.AVG_BITS] == asked


@pytest.mark.parametrize("button", ["measure-front", "measure-smallest"])
def test_what_is_run_is_the_front_that_is_shown(
    button: str,
    open_page: OpenPage,
    service: TrialService,
    runnable: cc.SensitivityMatrix,
    gate: Path,
) -> None:
    names = runnable.layers.names
    app = open_page(locks=f"{names[0]}:2", ties=f"{names[1]}+{names[2]}", least=f"{names[4]}:4")
    opened(app, run_buttons.MEASURE).button(key=button).click()
    wish = service_wish(app, service, gate, answer((2, 4, 4, 4, 4, 8)))
    app.run()
    assert not app.exception and wish.about.endswith(", 3 rules")
    assert wish.rules.locks == ((names[0], 2),) and wish.rules.count == 3
    read = cc.Frontier.from_json(json.loads(wish.front_file.read_text()), runnable)
    assert read.points == wish.front and len(read) > 3
    for point in read.points:
        bits = point.assignment.bits
        assert bits[0] == 2 and bits[1] == bits[2] and bits[4] >= 4
    drawn_sizes = [point.assignment.avg_bits for point in read.points]
    assert drawn_sizes == pytest.approx(front_sizes(app), abs=1e-3)


def front_sizes(app: AppTest) -> list[float]:
    """Of the choices in the front's table, in average bits."""
    app.toggle(key="front_plot_table").set_value(True).run()
    return list(app.dataframe[0].value["Average bits"])


def test_a_failure_is_one_sentence(
    open_page: OpenPage, service: TrialService, runnable: cc.SensitivityMatrix, gate: Path
) -> None:
    prints(service, gate, None, "error: None of the 6 choices keeps it.")
    app = opened(open_page(avg_bits="4"), run_buttons.MEASURE)
    app.button(key="measure-smallest").click().run()
    finish(service, gate)
    opened(app, run_buttons.MEASURE)
    assert [w.value for w in app.warning] == ["None of the 6 choices keeps it."]
    # Where nothing can be written, that is a sentence too.
    shutil.rmtree(catalogue.own_folder())
    catalogue.own_folder().write_text("a file where the folder should be")
    opened(app, run_buttons.REPAIR).button(key="repair-start").click().run()
    assert not app.exception
    assert isinstance(service.state.wish, FindSmallest), "not started"  # type: ignore[union-attr]
    opened(app, run_buttons.REPAIR)
    assert any("own" in w.value for w in app.warning)


def test_an_artifact_that_names_nothing_is_asked_about(
    open_page: OpenPage, service: TrialService
) -> None:
    app = opened(open_page(avg_bits="4"), run_buttons.REPAIR)
    assert {"Model", "Data"} <= {field.label for field in app.text_input}

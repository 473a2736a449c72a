"""Choosing by measured loss from the page: the command line, the run, the pin."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import clado_core as cc
from clado_core.cli import build_parser
from clado_core.cli.problem_options import problem_from
from clado_core.records import names
from dashboard.cards import refine as card
from dashboard.figures.pareto import pareto_figure
from dashboard.figures.series import REFINED_SENTENCE
from dashboard.known import caches, catalogue, services
from dashboard.rules import NO_RULES, Rules
from dashboard.scale import budget_bits
from dashboard.state import by_network, view_state
from dashboard.workers.commands import NetworkWords
from dashboard.workers.refine import (
    RefineService,
    RefineWish,
    bits_from_text,
    bits_to_text,
    refined_choice,
    refined_from,
)
from tests.conftest import ROOT, make_matrix
from tests.dashboard.conftest import OpenPage
from tests.dashboard.reading import texts
from tests.dashboard.told import ended, finish, prints
from tests.waiting import wait_for

RESNET = ROOT / "assets" / "digits-resnet.clado"
SMALL = (8, 2, 2, 2, 2, 2)


def wish(artifact: Path | str, avg_bits: float = 4.0, rules: Rules = NO_RULES) -> RefineWish:
    return RefineWish("alpha", str(artifact), "digest", avg_bits, rules)


def result(matrix: cc.SensitivityMatrix, bits: tuple[int, ...], loss: float) -> dict[str, object]:
    """As ``solve --refine --json`` prints it, the predicted best of measured loss 1."""
    return {
        "predicted_loss_increase": 0.25,
        "bound": None,
        "refined": {
            "assignment": dict(zip(matrix.layers.names, bits, strict=True)),
            "loss": loss,
            "predicted_best_loss": 1.0,
            "evaluated": 12,
            "screened": 96,
        },
    }


@pytest.mark.parametrize("avg_bits", [4.0, 4.1234, 10 / 3])
def test_the_command_states_the_problem_of_the_page(own_artifacts: Path, avg_bits: float) -> None:
    file = own_artifacts / "alpha.clado"
    matrix = cc.load(file)
    first, second, third, *_, last = matrix.layers.names
    rules = NO_RULES.with_lock(first, 4).with_tie((second, last)).with_least(third, 4)
    arguments = wish(file, avg_bits, rules).arguments()
    parsed = build_parser().parse_args(arguments)
    stated = problem_from(parsed, matrix)
    shown = rules.problem(matrix, budget_bits(matrix, avg_bits))
    for field in ("budgets", "pins", "ties", "min_bits", "allowed", "rules"):
        assert getattr(stated, field) == getattr(shown, field), field
    assert stated.groups() == shown.groups()
    assert (parsed.artifact, parsed.refine, parsed.json) == (str(file), 8, True)
    assert (parsed.data, parsed.model, parsed.weights) == (None, None, None)


def test_what_is_typed_goes_into_the_command(own_artifacts: Path) -> None:
    typed = wish(own_artifacts / "alpha.clado")._replace(
        k=16, network=NetworkWords("cifar10:/some where", "nets.py:build", "a.pt")
    )
    parsed = build_parser().parse_args(typed.arguments())
    assert (parsed.refine, parsed.data) == (16, "cifar10:/some where")
    assert (parsed.model, parsed.weights) == ("nets.py:build", "a.pt")


def test_what_was_found() -> None:
    matrix = make_matrix(6, seed=1)
    found = refined_from(matrix, result(matrix, SMALL, 0.5))
    assert found.improved and found.chosen.assignment.bits == SMALL
    assert found.chosen.objective == matrix.objective(SMALL)
    assert found.chosen.method == names.REFINED and found.chosen.gap is None
    assert not refined_from(matrix, result(matrix, SMALL, 1.0)).improved
    assert bits_from_text(bits_to_text(SMALL)) == SMALL


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> RefineService:
    """The page's service, not yet used."""
    made = RefineService((sys.executable, "-c", "raise SystemExit('not to be run')"))
    monkeypatch.setattr(services, "refine_service", lambda: made)
    return made


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The command goes on once this file is there."""
    return tmp_path / "gate"


def with_popover_open(app: AppTest) -> AppTest:
    """The test driver forgets which popovers are open after every run."""
    app.session_state[card.OPEN] = True
    return app.run()


@pytest.fixture
def runnable(own_artifacts: Path) -> cc.SensitivityMatrix:
    """The first network says what it was measured on."""
    matrix = make_matrix(6, seed=1)
    known = dataclasses.replace(
        matrix.provenance, model="digits-resnet", data="cifar10", n_samples=1024
    )
    matrix = dataclasses.replace(matrix, provenance=known)
    cc.save_matrix(matrix, own_artifacts / "alpha.clado")
    return matrix


def pins_of(app: AppTest) -> list[cc.Solution]:
    return next(iter(app.session_state[by_network.PINS].values()), [])


def start(app: AppTest) -> AppTest:
    return with_popover_open(app).button(key="refine-start").click().run()


def test_a_better_choice_is_pinned_shown_and_linked(
    open_page: OpenPage, service: RefineService, runnable: cc.SensitivityMatrix, gate: Path
) -> None:
    prints(service, gate, result(runnable, SMALL, 0.5))
    app = open_page(avg_bits="4", locks="block0.conv0:8")
    start(app)
    finish(service, gate)
    assert service.state is not None and service.state.wish.rules.locks == (("block0.conv0", 8),)
    with_popover_open(app)
    assert not app.exception
    assert "measured loss **0.5000**, against 1.000 of the predicted best" in texts(app)
    assert "Measured on the 1,024 images of the sensitivity set; 12 assignments" in texts(app)
    assert "It is pin 1." in texts(app)
    assert [pin.assignment.bits for pin in pins_of(app)] == [SMALL]
    app.button(key="recall-0").click().run()
    assert not app.exception
    assert "least measured loss" in texts(app)
    app.toggle(key="bits_table").set_value(True).run()
    assert tuple(app.dataframe[0].value["Bits"]) == SMALL
    app.switch_page("app_pages/export.py").run()
    shown = json.loads(next(c.value for c in app.code if c.value.startswith("{")))
    assert tuple(layer["bits"] for layer in shown["layers"]) == SMALL
    assert shown["solver"]["method"] == names.REFINED
    assert not any("clado_core solve" in code.value for code in app.code)
    repeated = next(code.value for code in app.code if "clado_core export" in code.value)
    assert "--assignment toy_" in repeated and "chosen.json" not in repeated
    app.switch_page("app_pages/interactions.py").run()
    assert not app.exception
    app.switch_page("app_pages/explore.py").run()
    assert "least measured loss" in texts(app)
    app.slider[0].set_value(6.0).run()
    assert "least measured loss" not in texts(app)


def test_a_link_shows_a_refined_pin_again(open_page: OpenPage) -> None:
    bits = bits_to_text(SMALL)
    size = refined_choice(make_matrix(6, seed=1), SMALL).assignment.avg_bits
    avg_bits = f"{view_state.round_up(size):g}"
    app = open_page(avg_bits=avg_bits, pins=f"4,{bits},8-8,9-9-9-9-9-9", shown="2")
    assert not app.exception and "shown" not in app.query_params
    assert [pin.method for pin in pins_of(app)] == ["clado", names.REFINED]
    app.toggle(key="bits_table").set_value(True).run()
    assert tuple(app.dataframe[0].value["Bits"]) == SMALL


def test_the_predicted_best_itself_is_not_pinned(
    open_page: OpenPage, service: RefineService, runnable: cc.SensitivityMatrix, gate: Path
) -> None:
    prints(service, gate, result(runnable, SMALL, 1.0))
    app = open_page(avg_bits="4")
    start(app)
    finish(service, gate)
    app.session_state[card.OPEN] = False
    app.run()
    assert "is also the best of those run" in app.toast[0].value
    with_popover_open(app)
    assert not app.toast
    assert "the predicted best is also the best of those run" in texts(app)
    assert pins_of(app) == []


def test_another_visitor_is_offered_the_pin(
    open_page: OpenPage, service: RefineService, runnable: cc.SensitivityMatrix, gate: Path
) -> None:
    prints(service, gate, result(runnable, SMALL, 0.5))
    digest = catalogue.find().artifacts["alpha"].digest
    service.start(wish("alpha.clado")._replace(digest=digest))
    finish(service, gate)
    app = with_popover_open(open_page(avg_bits="4"))
    assert pins_of(app) == []
    app.button(key="refine-pin").click().run()
    assert not app.exception
    assert [pin.assignment.bits for pin in pins_of(app)] == [SMALL]


def test_progress_and_cancel(
    open_page: OpenPage, service: RefineService, runnable: cc.SensitivityMatrix, gate: Path
) -> None:
    prints(service, gate, None)
    start(open_page(avg_bits="4"))
    wait_for(lambda: service.state is not None and service.state.done == 12)
    app = with_popover_open(open_page(avg_bits="4"))  # as after a reload
    assert [b.key for b in app.button if b.key.startswith("refine-")] == ["refine-cancel"]
    app.button(key="refine-cancel").click().run()
    wait_for(lambda: ended(service))
    with_popover_open(app)
    assert "was stopped after 12 assignments" in texts(app)


def test_a_failure_is_one_sentence(
    open_page: OpenPage, service: RefineService, runnable: cc.SensitivityMatrix, gate: Path
) -> None:
    from clado_core.networks.load import load_model, require_weights

    about = dataclasses.replace(runnable.provenance, weights_sha256="0" * 64)
    with pytest.raises(cc.CladoError) as raised:
        require_weights(
            load_model("digits-resnet"), dataclasses.replace(runnable, provenance=about)
        )
    prints(service, gate, None, str(raised.value))
    app = open_page(avg_bits="4")
    start(app)
    finish(service, gate)
    with_popover_open(app)
    assert [w.value for w in app.warning] == [service.state.problem]  # type: ignore[union-attr]
    assert [field.label for field in app.text_input] == ["Data", "Weights"]


def test_without_provenance_nothing_is_offered(open_page: OpenPage) -> None:
    app = with_popover_open(open_page(avg_bits="4"))
    assert "does not say which images it was measured on" in texts(app)
    assert not [b for b in app.button if b.key == "refine-start"]


def test_a_refined_pin_is_drawn_above_the_front(
    open_page: OpenPage, own_artifacts: Path, tmp_path: Path
) -> None:
    from dashboard.figures.pareto import background, pareto_info
    from dashboard.scale import Metric, size_scale

    artifact = catalogue.find().artifacts["alpha"]
    matrix, known = caches.matrix(artifact), caches.answers(artifact)
    pinned = refined_choice(matrix, SMALL)
    best = known.quick(pinned.assignment.size_bits, thorough=True)
    assert pinned.objective > best.objective
    scale = size_scale(matrix, Metric.AVG_BITS)
    info = pareto_info(background(known.front(), scale), best, scale, pins=[pinned])
    traces = {trace["name"]: trace for trace in pareto_figure(info, "light")["data"]}
    assert traces["Pinned"]["y"][0] > traces["You are here"]["y"][0]
    assert REFINED_SENTENCE in traces["Pinned"]["hovertext"][0]
    assert best.status.value in traces["You are here"]["hovertext"][0]


def test_the_real_command_says_what_is_missing() -> None:
    service = RefineService()
    cifar = ROOT / "assets" / "cifar10-resnet20-per-tensor-248.clado"
    for asked, sentence in (
        (wish(cifar, 3.6), "Say where CIFAR-10 is"),
        (wish(RESNET, 1.0), "is infeasible"),
    ):
        service.start(asked)
        wait_for(lambda: ended(service), seconds=120)
        state = service.state
        assert state is not None and state.result is None
        assert sentence in state.problem and "Traceback" not in state.problem

"""Every page runs, in both themes, from links, and in every empty or broken state."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import clado_core as cc
from dashboard.cards import changes
from dashboard.known import caches, catalogue
from dashboard.state import by_network, view_state
from tests.conftest import ROOT, make_matrix
from tests.dashboard.conftest import PAGES, OpenPage
from tests.dashboard.reading import metrics, texts


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("model", ["alpha", "beta"])
def test_page_runs(open_page: OpenPage, page: str, theme: str, model: str) -> None:
    app = open_page(page, theme=theme, model=model)
    assert not app.exception
    assert not app.error
    assert app.selectbox(key=view_state.MODEL).value == model


def test_charts_say_what_they_show(open_page: OpenPage) -> None:
    alts = [chart.proto.alt for chart in open_page().get("plotly_chart")]
    assert any("Front of" in alt and "predicted" in alt for alt in alts)
    assert any("Bit-widths of 6 layers" in alt for alt in alts)


def test_the_budget_changes_the_numbers(open_page: OpenPage) -> None:
    app = open_page(avg_bits="2.5")
    before = metrics(app)
    app.slider[0].set_value(6.0).run()
    assert not app.exception
    assert metrics(app) != before
    assert app.query_params["avg_bits"] == "6"


def test_a_link_restores_the_choice(open_page: OpenPage) -> None:
    app = open_page(model="beta", avg_bits="5.5", metric="MB", pins="3,4.5")
    assert app.session_state[view_state.AVG_BITS] == 5.5
    assert app.selectbox(key=view_state.MODEL).value == "beta"
    pins = next(iter(app.session_state[by_network.PINS].values()))
    assert len(pins) == 2
    assert "pins" not in app.query_params


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"avg_bits": "banana"}, "asks for banana average bits"),
        ({"avg_bits": "1"}, "so 2 is shown"),
        ({"avg_bits": "99"}, "so 8 is shown"),
        ({"model": "nope"}, "There is no network “nope” here"),
    ],
)
def test_a_wrong_link_is_answered_in_one_sentence(
    open_page: OpenPage, query: dict[str, str], sentence: str
) -> None:
    app = open_page(**query)
    assert not app.exception
    assert sentence in texts(app)


def test_pin_and_differences(open_page: OpenPage) -> None:
    app = open_page(avg_bits="3")
    app.button(key="pin").click().run()
    app.slider[0].set_value(6.0).run()
    shown = metrics(app)
    assert "Layers changed" in shown
    assert shown["Layers changed"].endswith("of 6")
    app.session_state[changes.OPEN] = True
    app.run()
    assert "layers changed" in texts(app)
    app.button(key="clear-pins").click().run()
    assert "Layers changed" not in metrics(app)


def test_tables_stand_in_for_charts(open_page: OpenPage) -> None:
    app = open_page()
    app.toggle(key="front_plot_table").set_value(True).run()
    assert "Predicted loss increase" in app.dataframe[0].value.columns


@pytest.mark.parametrize("view", ["Layers", "Candidates"])
def test_heatmap_controls(open_page: OpenPage, view: str) -> None:
    app = open_page("interactions")
    for key, value in (
        ("heat_view", view),
        ("heat_order", "Cluster"),
        ("pairs_direction", "Compensate"),
    ):
        next(c for c in app.get("button_group") if c.key == key).set_value([value])
    app.toggle(key="heat_psd").set_value(True).run()
    assert not app.exception


def test_no_artifact(open_page: OpenPage, own_artifacts: Path) -> None:
    for file in own_artifacts.iterdir():
        file.unlink()
    app = open_page()
    assert not app.exception
    assert "python -m clado_core measure" in texts(app)
    app.button[0].click().run()
    assert not app.exception
    assert app.selectbox(key=view_state.MODEL).value == "sample"


def test_damaged_and_newer_files_are_named(open_page: OpenPage, own_artifacts: Path) -> None:
    damaged = own_artifacts / "damaged.clado"
    damaged.write_bytes((own_artifacts / "alpha.clado").read_bytes()[:-16])
    (own_artifacts / "text.clado").write_text("hello")
    app = open_page()
    assert not app.exception
    sentences = [w.value for w in app.warning]
    assert any("damaged.clado" in s for s in sentences)
    assert any("text.clado" in s for s in sentences)


def test_a_file_of_a_newer_program_says_which_versions_and_what_to_do(
    open_page: OpenPage, own_artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clado_core.files import artifact

    monkeypatch.setattr(artifact, "SCHEMA_VERSION", 7)
    cc.save_matrix(make_matrix(3), own_artifacts / "newer.clado")
    monkeypatch.undo()
    monkeypatch.setattr(catalogue, "ASSETS", own_artifacts)
    app = open_page(model="alpha")
    assert not app.exception
    (sentence,) = [w.value for w in app.warning]
    assert (
        "newer.clado" in sentence
        and "7" in sentence
        and f"up to {artifact.SCHEMA_VERSION}" in sentence
    )


def test_frames_stand_while_a_network_is_looked_at_first(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.cards import notices

    drawn: list[bool] = []
    frames = notices.frames
    monkeypatch.setattr(notices, "frames", lambda: (drawn.append(True), frames()))
    app = open_page(model="alpha")
    assert not app.exception and drawn == [True]
    app.run()
    assert drawn == [True]
    assert not app.get("skeleton")


def test_only_damaged_files(open_page: OpenPage, own_artifacts: Path) -> None:
    for file in own_artifacts.glob("*.clado"):
        file.write_bytes(b"x")
    app = open_page()
    assert not app.exception
    assert "No measured network" in texts(app)
    assert len(app.warning) == 2


@pytest.mark.parametrize("page", PAGES)
def test_a_network_of_one_layer(open_page: OpenPage, own_artifacts: Path, page: str) -> None:
    cc.save_matrix(make_matrix(1), own_artifacts / "single.clado")
    app = open_page(page, model="single")
    assert not app.exception


@pytest.mark.parametrize("page", PAGES)
def test_one_bit_width_leaves_nothing_to_choose(
    open_page: OpenPage, own_artifacts: Path, page: str
) -> None:
    cc.save_matrix(make_matrix(3, (4,)), own_artifacts / "fixed.clado")
    app = open_page(page, model="fixed")
    assert not app.exception


def test_a_stored_front_is_used_and_a_foreign_one_ignored(
    open_page: OpenPage, own_artifacts: Path
) -> None:

    from clado_core.allocation.stored import save_frontier
    from clado_core.allocation.sweep import sweep
    from clado_core.solvers.enumerate import EnumerationSolver

    matrix = cc.load(own_artifacts / "alpha.clado")
    front = sweep(matrix, points=9, solver=EnumerationSolver())
    stored = save_frontier(front, own_artifacts / "alpha.clado")
    known = caches.answers(catalogue.find().artifacts["alpha"])
    assert known.grid == front.budgets_bits
    assert all(s.status is cc.SolveStatus.OPTIMAL for s in known.front())
    (own_artifacts / "beta.frontier.json").write_text(stored.read_text())
    app = open_page(model="beta")
    assert not app.exception
    assert caches.answers(catalogue.find().artifacts["beta"]).grid != front.budgets_bits


def test_export_reads_back(open_page: OpenPage, tmp_path: Path) -> None:
    from clado_core.files.assignment_file import read_assignment

    app = open_page("export", model="alpha", avg_bits="4")
    preview = app.code[-1].value
    file = tmp_path / "file.json"
    file.write_text(preview)
    matrix = caches.matrix(catalogue.find().artifacts["alpha"])
    state_bits = caches.answers(catalogue.find().artifacts["alpha"]).best(
        4 * matrix.layers.total_weights
    )
    assert state_bits is not None
    assert read_assignment(file, matrix).bits == state_bits.assignment.bits


def test_compare_swaps_networks(open_page: OpenPage) -> None:
    app = open_page("compare", model="alpha")
    assert (app.selectbox(key="model").value, app.selectbox(key="b").value) == ("alpha", "beta")
    next(b for b in app.button if b.label == "Swap").click().run()
    assert not app.exception
    assert (app.selectbox(key="model").value, app.selectbox(key="b").value) == ("beta", "alpha")


@pytest.mark.parametrize("same", [True, False])
def test_compare_says_whether_it_is_one_network(
    open_page: OpenPage, own_artifacts: Path, same: bool
) -> None:
    for name in ("alpha", "beta"):
        matrix = cc.load(own_artifacts / f"{name}.clado")
        weights = "0" * 64 if same else name
        about = dataclasses.replace(matrix.provenance, weights_sha256=weights)
        measured = dataclasses.replace(matrix, name=name, provenance=about)
        cc.save_matrix(measured, own_artifacts / f"{name}.clado")
    app = open_page("compare", model="alpha")
    assert not app.exception
    said = " ".join(caption.value for caption in app.caption)
    assert ("Two measurements of one network: each loss" in said) is same
    assert ("Different networks: each loss" in said) is not same


@pytest.mark.parametrize("method", ["Diagonal only", "PSD (paper)", "Uniform", "Pin 1"])
def test_compare_two_choices_of_one_network(open_page: OpenPage, method: str) -> None:
    app = open_page("compare", model="alpha", pins="3", view="Choices")
    app.segmented_control(key="view").set_value("Choices").run()
    app.selectbox(key="b").set_value(method).run()
    assert not app.exception
    assert "Layers that differ" in str(app.table[0].value)
    next(b for b in app.button if b.label == "Swap").click().run()
    assert not app.exception
    assert app.selectbox(key="a").value == method


def test_first_page_imports_neither_torch_nor_a_solver(own_artifacts: Path) -> None:
    code = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file({str(ROOT / 'dashboard' / 'app.py')!r}, default_timeout=60)\n"
        "app.query_params['mode'] = 'Fast'\n"
        "app.run()\n"
        "assert not app.exception, app.exception\n"
        "heavy = {'torch', 'pyscipopt', 'cvxpy', 'plotly.express'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {"CLADO_ARTIFACTS": str(own_artifacts), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_networks_are_in_the_order_of_their_names(own_artifacts: Path) -> None:
    cc.save_matrix(make_matrix(3), own_artifacts / "alpha-other.clado")
    assert list(catalogue.find().artifacts) == ["alpha", "alpha-other", "beta"]

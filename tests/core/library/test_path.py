"""The whole path in Python: a network in memory, measured, solved, run, refined and exported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import clado_core as cc
from clado_core.exports import load_packed
from tests.conftest import ROOT
from tests.core.small_networks import convolutional


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """In training mode, with gradients wanted, as a notebook may hold it."""
    return convolutional()[0].train().requires_grad_(True)


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    samples = convolutional()[2]
    return samples.x, samples.y


@pytest.fixture(scope="module")
def matrix(network: nn.Module, data: tuple[torch.Tensor, torch.Tensor]) -> cc.SensitivityMatrix:
    return cc.measure(network, data, bit_widths=(2, 4), name="mine", batch_size=8)


def state(module: nn.Module) -> dict[str, object]:
    """What a caller could notice."""
    return {
        "modes": [m.training for m in module.modules()],
        "strides": [p.stride() for p in module.parameters()],
        "pointers": [p.data_ptr() for p in module.parameters()],
        "gradients": [p.requires_grad for p in module.parameters()],
        "values": [p.detach().numpy().tobytes() for p in module.parameters()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules()],
    }


def test_the_matrix_is_what_the_rooms_behind_measure(matrix, network, data):
    layers = cc.find_layers(network, data[0][:1])
    assert matrix.layers.names == layers.names and matrix.name == "mine"
    problem = cc.AllocationProblem(matrix)
    for bits in ((2,) * len(layers), (4,) * len(layers)):
        measured = cc.evaluate(network, problem.assignment(bits), data)
        alone = matrix.predicted_loss_increase(bits)
        assert np.isfinite(alone) and measured.n == len(data[0])
    two = cc.AllocationProblem(matrix, pins={layers.names[0]: 2})
    pinned = two.assignment((2, *[4] * (len(layers) - 1)))
    assert two.is_feasible(pinned)


def test_forms_of_data_give_one_matrix(matrix, network, data):
    x, y = data
    for form in ([(x[:5], y[:5]), (x[5:], y[5:])], (x.numpy(), y.numpy())):
        again = cc.measure(network, form, bit_widths=(2, 4), batch_size=8)
        assert np.array_equal(again.G, matrix.G)
        assert again.provenance.data_sha256 == matrix.provenance.data_sha256


@pytest.mark.parametrize("estimator", ["pairwise", "logit-gram", "hvp"])
def test_the_callers_network_stays_as_it_was(network, data, estimator):
    before = state(network)
    matrix = cc.measure(network, data, n_samples=8, bit_widths=(2, 8), estimator=estimator)
    problem = cc.AllocationProblem(matrix, budget_bits=cc.bits_for_average(4, matrix.layers))
    chosen = cc.refine(problem, network, data, k=2)
    cc.evaluate(network, chosen, data, matrix=matrix)
    assert state(network) == before


def test_progress_is_told_everywhere(matrix, network, data):
    told: list[tuple[int, int]] = []

    def on_progress(done: int, total: int) -> None:
        told.append((done, total))

    problem = cc.AllocationProblem(matrix, budget_bits=cc.bits_for_average(3, matrix.layers))
    work: list[Callable[[], object]] = [
        lambda: cc.measure(network, data, bit_widths=(2, 4), on_progress=on_progress),
        lambda: cc.sweep(matrix, points=3, on_progress=on_progress),
        lambda: cc.evaluate(network, problem.extremes()[0], data, on_progress=on_progress),
        lambda: cc.refine(problem, network, data, k=2, on_progress=on_progress),
        lambda: cc.k_best(problem, k=3, on_progress=on_progress),
        lambda: cc.bootstrap_choices(
            problem, np.random.default_rng(0), n_resamples=3, on_progress=on_progress
        ),
    ]
    for step in work:
        told.clear()
        step()
        assert told and told[-1][0] == told[-1][1]


def test_a_measurement_that_stops_continues_where_it_stores(network, data, matrix, tmp_path):
    out = tmp_path / "mine.clado"
    stop = KeyboardInterrupt()

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise stop

    with pytest.raises(KeyboardInterrupt):
        cc.measure(network, data, bit_widths=(2, 4), batch_size=8, out=out, on_progress=interrupt)
    first: list[int] = []
    again = cc.measure(
        network,
        data,
        bit_widths=(2, 4),
        batch_size=8,
        out=out,
        on_progress=lambda done, total: first.append(done),
    )
    assert first[0] == 3 and np.array_equal(again.G, matrix.G)
    assert np.array_equal(cc.load(out).G, matrix.G)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.clado"]


def test_exports_hold_what_was_evaluated(matrix, network, data, tmp_path):
    solution = cc.TieredSolver().solve(
        cc.AllocationProblem(matrix, budget_bits=cc.bits_for_average(3, matrix.layers))
    )
    receipt = cc.export(
        matrix, solution, "safetensors", tmp_path / "packed.safetensors", module=network
    )
    assert receipt is not None and receipt.file_bytes == solution.assignment.size_bytes
    loaded = convolutional()[0].eval()
    load_packed(tmp_path / "packed.safetensors", loaded)
    right = (loaded(data[0]).argmax(1) == data[1]).float().mean()
    assert float(right) == pytest.approx(cc.evaluate(network, solution, data).top1)
    assert cc.export(matrix, solution, "json", tmp_path / "choice.json") is None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda n, d, m: cc.measure(n, d, bits=(2, 4)), "There is no setting 'bits': choose"),
        (lambda n, d, m: cc.measure(n, d, n_samples=10**6), "samples; ask for 1 to"),
        (lambda n, d, m: cc.measure(n, d, out="mine.npz"), "must end in .clado"),
        (lambda n, d, m: cc.evaluate(other(), any_of(m), d, matrix=m), "measure again"),
        (lambda n, d, m: cc.refine(cc.AllocationProblem(m), other(), d), "measure again"),
        (lambda n, d, m: cc.export(m, any_of(m), "onxx", "x"), "no export format 'onxx'"),
        (lambda n, d, m: cc.export(m, any_of(m), "onnx", "x"), "give the model"),
        (lambda n, d, m: cc.export(m, any_of(m), "onnx", "x", module=n), "give input_shape="),
    ],
)
def test_mistakes_are_one_sentence_for_a_python_caller(call, said, network, data, matrix):
    with pytest.raises(cc.CladoError) as raised:
        call(network, data, matrix)
    assert said in str(raised.value) and "--" not in str(raised.value)


def other() -> nn.Module:
    """A network of the same layers and other weights."""
    network = convolutional()[0]
    with torch.no_grad():
        next(network.parameters()).add_(1.0)
    return network


def any_of(matrix: cc.SensitivityMatrix) -> cc.Assignment:
    return cc.AllocationProblem(matrix).extremes()[0]


def test_records_show_themselves_in_a_line_and_a_table(matrix):
    solution = cc.TieredSolver().solve(cc.AllocationProblem(matrix))
    front = cc.sweep(matrix, points=3)
    assert repr(matrix).startswith("SensitivityMatrix(mine: ")
    assert "2/4 bits, pairwise on" in repr(matrix)
    assert "optimal by" in repr(solution) and "predicted loss" in repr(solution)
    assert repr(front).startswith("Frontier(3 budgets, 2.00 to 4.00 bits, 3 proven")
    for shown in (matrix, solution, front):
        assert len(repr(shown)) < 200
        html = shown._repr_html_()
        assert html.count("<tr>") >= 2 and html.count("<td") % (html.count("<th>")) == 0
    assert all(name in solution._repr_html_() for name in matrix.layers.names)


def test_names_are_escaped():
    layers = cc.LayerTable((cc.LayerInfo("<b>&", "linear", (2, 2)),))
    matrix = cc.SensitivityMatrix("<script>", np.eye(2), layers, (2, 4))
    html = matrix._repr_html_()
    assert "<script>" not in html and "&lt;b&gt;&amp;" in html


def test_charts_need_no_server(tmp_path: Path):
    code = (
        "import sys, clado_core as cc\n"
        "from dashboard.figures.notebook import plot\n"
        "m = cc.load('assets/digits-resnet.clado')\n"
        "front = cc.sweep(m, points=5, solver=cc.LocalSearchSolver())\n"
        "grid = cc.sweep_grid(m, points=3, solver=cc.LocalSearchSolver())\n"
        "for mode in ('light', 'dark'):\n"
        "    for shown in (m, front, front.points[0], grid):\n"
        "        figure = plot(shown, mode=mode)\n"
        "        assert figure.data and figure.layout.height\n"
        "try: plot(3)\n"
        "except cc.InputError as problem: print(problem)\n"
        "sys.exit(bool({'torch', 'streamlit'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "SensitivityMatrix, Solution, Frontier or BudgetGrid" in done.stdout
    assert done.stdout.strip().endswith("can be drawn, not int.")

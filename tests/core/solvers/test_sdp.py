"""Semidefinite programs whose optimum is known by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clado_core.solvers import sdp
from clado_core.solvers.sdp import SemidefiniteProgram, solve_dual


def _program(
    C: np.ndarray, matrices: list[np.ndarray], rhs: list[float], limits: list[bool]
) -> SemidefiniteProgram:
    rows, left, right, values = [], [], [], []
    for k, A in enumerate(matrices):
        for i, j in zip(*np.nonzero(A), strict=True):
            rows.append(k)
            left.append(int(i))
            right.append(int(j))
            values.append(float(A[i, j]))
    return SemidefiniteProgram(
        C,
        np.array(rows),
        np.array(left),
        np.array(right),
        np.array(values),
        np.array(rhs),
        np.array(limits),
    )


def _check(program: SemidefiniteProgram, optimum: float) -> None:
    y = solve_dual(program).y
    assert program.rhs @ y == pytest.approx(optimum, abs=1e-5)
    assert np.linalg.eigvalsh(program.slack(y))[0] > -1e-6
    assert (y[program.is_limit] <= 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_trace_one_gives_the_smallest_eigenvalue(seed: int) -> None:
    A = np.random.default_rng(seed).normal(size=(6, 6))
    C = A + A.T
    _check(_program(C, [np.eye(6)], [1.0], [False]), float(np.linalg.eigvalsh(C)[0]))


def test_a_cut_of_two_nodes() -> None:
    """Minimize 2·Y_01 with a diagonal of ones: Y_01 = −1."""
    C = np.array([[0.0, 1.0], [1.0, 0.0]])
    _check(_program(C, [np.diag([1.0, 0.0]), np.diag([0.0, 1.0])], [1.0, 1.0], [False] * 2), -2.0)


@pytest.mark.parametrize(("limit", "optimum"), [(0.25, -0.25), (0.75, -0.75), (2.0, -1.0)])
def test_a_limit_binds_where_it_is_below_what_would_be_taken(limit: float, optimum: float) -> None:
    """Of a trace of one, the entry that is worth −1 gets as much as the limit lets it."""
    C, unit = np.diag([-1.0, 0.0]), np.diag([1.0, 0.0])
    _check(_program(C, [np.eye(2), unit], [1.0, limit], [False, True]), optimum)


@pytest.mark.parametrize("seed", range(5))
def test_diagonal_programs_are_linear_programs(seed: int) -> None:
    """Minimize c'x with Σx = 1 and w'x ≤ b: the lower hull of the points (w, c) at b."""
    rng = np.random.default_rng(seed)
    c, w = rng.normal(size=5), rng.random(5)
    b = float(np.median(w))
    points = [(w[i], c[i]) for i in range(5)]
    mixed = [
        ci + (cj - ci) * (b - wi) / (wj - wi)
        for wi, ci in points
        for wj, cj in points
        if wi <= b < wj
    ]
    optimum = min([ci for wi, ci in points if wi <= b] + mixed)
    _check(_program(np.diag(c), [np.eye(5), np.diag(w)], [1.0, b], [False, True]), optimum)


@pytest.mark.parametrize(("limit_s", "steps"), [(0.5, 0), (3.5, 3), (100.0, None)])
def test_no_step_begins_that_the_limit_would_cut(
    limit_s: float, steps: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock of one second a step; what is left is a dual point, only a worse one."""
    now = [0.0]
    taken = []
    step = sdp._newton_step

    def slow_step(*arguments: Any) -> Any:
        now[0] += 1.0
        taken.append(now[0])
        return step(*arguments)

    monkeypatch.setattr(sdp, "_newton_step", slow_step)
    monkeypatch.setattr(sdp, "_expected_step_s", lambda program: 1.0)
    monkeypatch.setattr(sdp.time, "perf_counter", lambda: now[0])
    A = np.random.default_rng(0).normal(size=(6, 6))
    program = _program(A + A.T, [np.eye(6)], [1.0], [False])
    found = solve_dual(program, time_limit_s=limit_s)
    assert len(taken) == steps or steps is None
    assert (found.error < 1e-6) == (steps is None)

"""The shifts' semidefinite program: our interior-point method against CVXPY's solvers."""

from __future__ import annotations

import time
from typing import Any

from clado_core import AllocationProblem
from clado_core.problem.program import compile_program
from clado_core.solvers.conic import dual_problem
from clado_core.solvers.convexify import relaxation
from clado_core.solvers.reference_form import reference_form
from clado_core.solvers.sdp import SemidefiniteProgram, solve_dual

CLARABEL_UP_TO = 70
"""Rows of Y up to which Clarabel is timed too: it took 117 s for 113 rows."""


def compare(problem: AllocationProblem) -> dict[str, Any]:
    """Seconds of each solver, and how far its dual value is from ours, relative."""
    import cvxpy

    program = compile_program(problem)
    form = reference_form(program)
    sdp = relaxation(program, form)
    started = time.perf_counter()
    y = solve_dual(sdp).y
    figures: dict[str, Any] = {"rows": len(sdp.C), "ours_s": time.perf_counter() - started}
    value = float(sdp.rhs @ y)
    for name, options in (
        (cvxpy.SCS, {"eps_abs": 1e-5, "eps_rel": 1e-5}),
        (cvxpy.CLARABEL, {}),
    ):
        if name == cvxpy.CLARABEL and len(sdp.C) > CLARABEL_UP_TO:
            continue
        seconds, theirs = _with_cvxpy(sdp, name, options)
        figures[f"cvxpy_{name.lower()}_over_ours"] = seconds / figures["ours_s"]
        figures[f"cvxpy_{name.lower()}_value_off"] = abs(theirs - value) / abs(value)
    return figures


def _with_cvxpy(
    sdp: SemidefiniteProgram, solver: str, options: dict[str, Any]
) -> tuple[float, float]:
    """Seconds and optimal value."""
    model, _ = dual_problem(sdp)
    started = time.perf_counter()
    model.solve(solver=solver, **options)
    return time.perf_counter() - started, float(model.value)

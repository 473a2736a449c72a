"""SCIP's linear formulation: every product of two binaries is a variable."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from clado_core.problem.program import Program
from clado_core.solvers.reference_form import reference_form
from clado_core.solvers.scip_parts import add_binaries


def add_products(
    model: Any, program: Program, scale: float, /
) -> tuple[list[Any], dict[tuple[int, int], Any]]:
    """The program in units of ``scale``, linear in x and products y against a reference level.

        Σ_b y_ab ≤ x_a,   Σ_a y_ab ≤ x_b,   Σ_a x_a + Σ_b x_b − Σ_ab y_ab ≤ 1

    Returns:
        The binaries x, and the products by the pair of the program's variables they multiply.
    """
    form = reference_form(program)
    linear = np.zeros(program.n_variables)
    linear[form.kept] = form.linear / scale
    x = add_binaries(model, program, linear)
    model.addObjoffset(form.base / scale)
    products: dict[tuple[int, int], Any] = {}
    owned = [np.flatnonzero(form.decision == k) for k in range(program.n_decisions)]
    for left, right in combinations(owned, 2):
        coefficients = 2 * form.quadratic[np.ix_(left, right)] / scale
        if coefficients.any():
            y = [[model.addVar(ub=1.0, obj=c) for c in row] for row in coefficients]
            a, b = form.kept[left].tolist(), form.kept[right].tolist()
            _add_rows(model, y, [x[v] for v in a], [x[v] for v in b])
            products |= {(m, n): y[i][j] for i, m in enumerate(a) for j, n in enumerate(b)}
    return x, products


def set_parameters(model: Any, /) -> None:
    """Settings measured on a 20-layer network, n = 60."""
    from pyscipopt.scip import PY_SCIP_PARAMSETTING as SCIP_PARAMSETTING

    # The start is nearly always optimal: heuristics only cost time, and cuts and long presolving
    # gain less than they cost on these dense models.
    model.setHeuristics(SCIP_PARAMSETTING.OFF)
    model.setSeparating(SCIP_PARAMSETTING.OFF)
    model.setPresolve(SCIP_PARAMSETTING.FAST)


def _add_rows(model: Any, y: list[list[Any]], left: list[Any], right: list[Any]) -> None:
    """y[a][b] = left[a]·right[b] for binaries of which at most one of each side is 1."""
    from pyscipopt import quicksum

    for variable, row in zip(left, y, strict=True):
        model.addCons(quicksum(row) <= variable)
    for variable, column in zip(right, zip(*y, strict=True), strict=True):
        model.addCons(quicksum(column) <= variable)
    both = quicksum(left) + quicksum(right)
    model.addCons(both - quicksum(v for row in y for v in row) <= 1)

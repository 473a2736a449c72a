"""The shifts' semidefinite program by CVXPY and SCS: for one that our method cannot finish.

Ours is up to 40 times as fast, and has finished every program so far. Where one is so badly scaled
that it does not, a library of long standing may still come close.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from clado_core.solvers.sdp import SemidefiniteProgram, Vector

TOLERANCE = 1e-6
TIME_LIMIT_S = 60.0
"""A program of 113 rows took 20 s."""


def dual_problem(program: SemidefiniteProgram, /) -> tuple[Any, Any]:
    """max b'y with C − Σ y_i·A_i ⪰ 0 and y ≤ 0 on limits, as CVXPY's problem and its variable y.

    The primal has a variable for every entry of Y; this form has one for every constraint.
    """
    import cvxpy
    from scipy.sparse import csr_array

    n, k = len(program.C), len(program.rhs)
    entries = program.left * n + program.right
    combine = csr_array((program.values, (entries, program.rows)), (n * n, k))
    y = cvxpy.Variable(k)
    slack: Any = (program.C.ravel() - combine @ y).reshape((n, n), order="C")
    constraints = [slack >> 0]
    if program.is_limit.any():
        constraints.append(y[program.is_limit] <= 0)
    return cvxpy.Problem(cvxpy.Maximize(program.rhs @ y), constraints), y


def solve_dual_with_cvxpy(
    program: SemidefiniteProgram, /, *, time_limit_s: float = TIME_LIMIT_S
) -> Vector | None:
    """Nearly optimal multipliers, as of ``sdp.solve_dual``; None where this fails too.

    Args:
        program: Strictly feasible on both sides.
        time_limit_s: Of the solve; writing the problem down comes before.
    """
    import cvxpy

    problem, y = dual_problem(program)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the status says what they say
            problem.solve(
                solver=cvxpy.SCS, eps_abs=TOLERANCE, eps_rel=TOLERANCE, time_limit_secs=time_limit_s
            )
    except cvxpy.SolverError:
        return None
    if problem.status != cvxpy.OPTIMAL:
        return None
    found = np.asarray(y.value, dtype=np.float64)
    return np.where(program.is_limit, np.minimum(found, 0.0), found)

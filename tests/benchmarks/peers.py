"""Other solvers on the same problem, each as a user of it would call it, on one thread.

A peer is a function (problem, time_limit_s) → PeerAnswer. It gets the measured matrix as it is:
no start, no shifts, no candidates ruled out (the two of ``clado_core.solvers`` begin with their
local search). Problems have a budget in bits and no other wishes.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clado_core import AllocationProblem, Solution, SolveStatus
from clado_core.problem.solution import PROVEN_GAP
from clado_core.records.assignment import Assignment
from clado_core.solvers import ScipSolver, Solver, Toulbar2Solver
from clado_core.solvers.quiet import quiet_stdout

LARGEST = 1e4
"""What max |G| becomes, so that absolute tolerances of 1e-6 are small beside an optimum."""

EXACT_IN_DOUBLE = 2.0**52
"""Of all of CP-SAT's whole coefficients together: its linear relaxation counts in doubles."""

Vector: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """What a peer says; nothing of it has been checked.

    Args:
        assignment: None where it found none.
        objective: x'Gx of it, as the peer counts.
        bound: No assignment has a smaller one, it says; None where it says nothing.
        is_proven: Whether it calls the assignment optimal (to a relative 1e-6).
    """

    assignment: Assignment | None = None
    objective: float | None = None
    bound: float | None = None
    is_proven: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """A solver, how it is called in tables, and the packages that it needs.

    Args:
        name: For people.
        package: On the package index, to install.
        module: What must be there to import.
        preloaded: What it imports, so that importing is not timed.
        solve: The peer.
    """

    name: str
    package: str
    module: str
    preloaded: str
    solve: Callable[[AllocationProblem, float], PeerAnswer]

    @property
    def is_installed(self) -> bool:
        """Whether its package can be imported, without importing it."""
        return importlib.util.find_spec(self.module) is not None


@dataclass(frozen=True, slots=True)
class _Model:
    """Minimize x'Gx, one candidate per layer, sizes·x ≤ capacity; x of shape (n,), n = L·B.

    Args:
        problem: It comes from.
        unit: G was divided by it.
        G: Shape (n, n), max |G| is ``LARGEST``.
        one_hot: Shape (L, n).
        sizes: Shape (n,), whole numbers without a common divisor.
        capacity: In the same unit, rounded down, which changes nothing.
    """

    problem: AllocationProblem
    unit: float
    G: Vector
    one_hot: Vector
    sizes: npt.NDArray[np.int64]
    capacity: int

    @classmethod
    def of(cls, problem: AllocationProblem) -> _Model:
        matrix, budget = problem.matrix, problem.budget_bits
        if set(problem.budgets) != {"budget_bits"} or problem.rules or problem.pins or not budget:
            raise ValueError("Peers take a budget in bits and no other wishes.")
        unit = float(np.abs(matrix.G).max()) / LARGEST or 1.0
        sizes = np.multiply.outer(matrix.layers.n_weights, matrix.bit_widths).ravel()
        divisor = int(np.gcd.reduce(sizes))
        one_hot = np.kron(np.eye(matrix.n_layers), np.ones(matrix.n_bits))
        return cls(problem, unit, matrix.G / unit, one_hot, sizes // divisor, budget // divisor)

    def answer(
        self, x: Any, objective: float | None, bound: float | None, is_proven: bool
    ) -> PeerAnswer:
        """In the problem's own terms; x is None where nothing was found."""
        bound = bound * self.unit if bound is not None and math.isfinite(bound) else None
        if x is None or objective is None:
            return PeerAnswer(bound=bound)
        matrix = self.problem.matrix
        chosen = np.reshape(x, (matrix.n_layers, matrix.n_bits)).argmax(axis=1)
        bits = tuple(matrix.bit_widths[m] for m in chosen)
        return PeerAnswer(self.problem.assignment(bits), objective * self.unit, bound, is_proven)


@dataclass(frozen=True, slots=True)
class _Products:
    """Linear form: y_ab = x_a·x_b for candidates of different layers, Σ_b y_ab = x_a, both ways.

    Source: Fortet (1960), with the equalities of one-hot groups (Adams and Johnson, 1994).

    Args:
        cost: Shape (n + p,), of the x, then of the y.
        sums: For each equality, the y of the sum and the x that it equals.
    """

    cost: Vector
    sums: list[tuple[npt.NDArray[np.int64], int]]


def _products(model: _Model) -> _Products:
    """Layers that do not interact have no products."""
    n = len(model.G)
    groups = np.split(np.arange(n), len(model.one_hot))
    costs, sums = [model.G.diagonal()], []
    for left, right in combinations(groups, 2):
        block = 2 * model.G[np.ix_(left, right)]
        if block.any():
            y = sum(map(len, costs)) + np.arange(block.size).reshape(block.shape)
            costs.append(block.ravel())
            sums += list(zip(y, left.tolist(), strict=True))
            sums += list(zip(y.T, right.tolist(), strict=True))
    return _Products(np.concatenate(costs), sums)


def highs(problem: AllocationProblem, time_limit_s: float, /) -> PeerAnswer:
    """HiGHS through scipy.optimize.milp, on the linear form; y need not be declared whole."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import lil_array

    model = _Model.of(problem)
    linear, n = _products(model), len(model.G)
    d, v = len(model.one_hot), len(linear.cost)
    rows = lil_array((d + 1 + len(linear.sums), v))
    rows[:d, :n], rows[d, :n] = model.one_hot, model.sizes / model.capacity
    for i, (y, x) in enumerate(linear.sums):
        rows[d + 1 + i, y], rows[d + 1 + i, x] = 1.0, -1.0
    equal = np.concatenate([np.ones(d), [1.0], np.zeros(len(linear.sums))])
    lower = equal.copy()
    lower[d] = -np.inf
    with quiet_stdout():
        found = milp(
            linear.cost,
            integrality=np.arange(v) < n,
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(rows.tocsr(), lower, equal),
            options={"time_limit": time_limit_s, "mip_rel_gap": PROVEN_GAP},
        )
    x = None if found.x is None else found.x[:n]
    return model.answer(x, found.fun, found.mip_dual_bound, found.status == 0)


def cp_sat(problem: AllocationProblem, time_limit_s: float, /) -> PeerAnswer:
    """OR-Tools CP-SAT on the linear form, coefficients rounded to whole numbers."""
    from ortools.sat.python import cp_model

    model, cp = _Model.of(problem), cp_model.CpModel()
    linear, n = _products(model), len(model.G)
    scale = EXACT_IN_DOUBLE / float(np.abs(linear.cost).sum())
    literals = [cp.new_bool_var("") for _ in linear.cost]
    for group in np.split(np.arange(n), len(model.one_hot)):
        cp.add_exactly_one(literals[a] for a in group)
    for y, x in linear.sums:
        cp.add(cp_model.LinearExpr.sum([literals[p] for p in y]) == literals[x])
    weigh = cp_model.LinearExpr.weighted_sum
    cp.add(weigh(literals[:n], model.sizes.tolist()) <= model.capacity)
    cp.minimize(weigh(literals, [round(c * scale) for c in linear.cost.tolist()]))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = time_limit_s
    status = solver.solve(cp)
    # An assignment sums one cost per layer and per pair of them, each rounded by a half at most.
    layers = len(model.one_hot)
    bound = (solver.best_objective_bound - layers * (layers + 1) / 4) / scale
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return model.answer(None, None, bound, False)
    x = [solver.value(literal) for literal in literals[:n]]
    return model.answer(x, solver.objective_value / scale, bound, status == cp_model.OPTIMAL)


def cvxpy_scip(problem: AllocationProblem, time_limit_s: float, /) -> PeerAnswer:
    """CVXPY's quad_form with SCIP, as in the paper's code, but exact for an indefinite G.

    Instead of clipping negative eigenvalues, which changes the optimum, the smallest λ is moved to
    where it is a constant: x'x = Σx for binaries (Hammer and Rubin, 1970). CVXPY hands no bound on.
    """
    import cvxpy

    model = _Model.of(problem)
    shift = min(0.0, float(np.linalg.eigvalsh(model.G)[0]))
    convex = model.G - shift * np.eye(len(model.G))
    x = cvxpy.Variable(len(model.G), boolean=True)
    share = model.sizes / model.capacity
    asked = cvxpy.Problem(
        cvxpy.Minimize(cvxpy.quad_form(x, cvxpy.psd_wrap(convex)) + shift * cvxpy.sum(x)),
        [model.one_hot @ x == 1, share @ x <= 1],
    )
    settings = {"limits/time": time_limit_s}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an answer that is not proven: its status says so
        try:
            asked.solve(solver=cvxpy.SCIP, scip_params=settings)
        except cvxpy.SolverError:  # its time was over before it had an answer
            return PeerAnswer()
    return model.answer(x.value, asked.value, None, asked.status == cvxpy.OPTIMAL)


def gurobi(problem: AllocationProblem, time_limit_s: float, /) -> PeerAnswer:
    """Gurobi on the quadratic program as it is: convex for a Gram matrix, else made so by it.

    The licence that comes with gurobipy takes 2,000 variables and 2,000 linear constraints, less
    than the linear form of most matrices has, and 200 variables where there are quadratic terms.
    """
    import gurobipy

    model = _Model.of(problem)
    settings = {"OutputFlag": 0, "Threads": 1, "TimeLimit": time_limit_s, "MIPGap": PROVEN_GAP}
    with gurobipy.Env(params=settings) as env, gurobipy.Model(env=env) as program:
        x = program.addMVar(len(model.G), vtype=gurobipy.GRB.BINARY)
        program.setObjective(x @ model.G @ x)
        program.addConstr(model.one_hot @ x == 1)
        program.addConstr(model.sizes @ x <= model.capacity)
        program.optimize()
        is_optimal = program.Status == gurobipy.GRB.OPTIMAL
        found, value = (x.X, program.ObjVal) if program.SolCount else (None, None)
        return model.answer(found, value, program.ObjBound, is_optimal)


def _ours(solver: Solver, problem: AllocationProblem, time_limit_s: float) -> PeerAnswer:
    return answer_of(solver.solve(problem, time_limit_s=time_limit_s))


def scip_native(problem: AllocationProblem, time_limit_s: float, /) -> PeerAnswer:
    """SCIP on linear products, beginning with local search."""
    return _ours(ScipSolver("products"), problem, time_limit_s)


def toulbar2(problem: AllocationProblem, time_limit_s: float, /) -> PeerAnswer:
    """toulbar2 on the measured matrix, beginning with local search."""
    return _ours(Toulbar2Solver(), problem, time_limit_s)


def answer_of(solution: Solution, /) -> PeerAnswer:
    """One of this program's solutions as a peer's answer."""
    bound = solution.bound if math.isfinite(solution.bound) else None
    is_proven = solution.status is SolveStatus.OPTIMAL
    return PeerAnswer(solution.assignment, solution.objective, bound, is_proven)


PEERS = (
    Peer("HiGHS", "scipy", "scipy", "scipy.optimize", highs),
    Peer("CP-SAT", "ortools", "ortools", "ortools.sat.python.cp_model", cp_sat),
    Peer("SCIP", "pyscipopt", "pyscipopt", "pyscipopt", scip_native),
    Peer("CVXPY+SCIP", "cvxpy", "cvxpy", "cvxpy", cvxpy_scip),
    Peer("toulbar2", "pytoulbar2", "pytoulbar2", "clado_core.solvers.toulbar2", toulbar2),
    Peer("Gurobi", "gurobipy", "gurobipy", "gurobipy", gurobi),
)
"""All but CP-SAT and Gurobi come with requirements.txt: python -m pip install ortools gurobipy."""

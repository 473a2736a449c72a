"""Benchmark of the solvers, as ratios and gaps within one run.

Example:
  python -m tests.benchmarks.solve matrix.npz assets/digits-resnet.clado
  python -m tests.benchmarks.solve --peers --out assets/peers.json

--peers runs HiGHS, OR-Tools CP-SAT, SCIP, CVXPY with SCIP, toulbar2 and Gurobi, as far as they are
installed, against our solver at five budgets of eight shipped matrices, or of those that are named.
CP-SAT and Gurobi are in no requirements file: python -m pip install ortools gurobipy. The licence
that comes with gurobipy takes 2,000 variables and 2,000 linear constraints, 200 variables where
terms are quadratic.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from clado_core import AllocationProblem, SensitivityMatrix, Solution, SolveStatus, load
from clado_core.allocation.sweep import sweep
from clado_core.files.npz_import import matrix_from_npz
from clado_core.problem.allocation_problem import bits_for_average
from clado_core.solvers import (
    DaqpSolver,
    LocalSearchSolver,
    ScipSolver,
    Solver,
    TieredSolver,
    compute_shifts,
)
from clado_core.solvers.tiered import SECOND_SEARCH
from tests.benchmarks import peer_run
from tests.benchmarks.growth import growth
from tests.benchmarks.relaxation import compare

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
SMALL = 100
"""Candidates up to which CVXPY and the products are timed; beyond, they do not finish."""


def main(arguments: Iterable[str] | None = None) -> dict[str, Any]:
    """Run all measurements; a table on standard error, a line of JSON on standard output."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("matrices", nargs="*", type=Path, help=".npz or .clado files")
    parser.add_argument("--budgets", type=int, default=20, help="average bits from 2.2 to 7")
    parser.add_argument("--baseline-budgets", type=int, default=5, help="of them, for CVXPY")
    parser.add_argument("--points", type=int, default=50, help="of the frontier")
    parser.add_argument(
        "--time-limit", type=float, help="seconds per solve (default: 60; with --peers 10)"
    )
    parser.add_argument("--growth", type=float, default=10.0, help="seconds per solve; 0: skip")
    parser.add_argument("--peers", action="store_true", help="other solvers against ours")
    parser.add_argument("--out", type=Path, metavar="FILE", help="of --peers: results as JSON")
    options = parser.parse_args(None if arguments is None else list(arguments))
    if options.peers:
        limit_s = options.time_limit or peer_run.TIME_LIMIT_S
        asked = options.matrices or peer_run.shown_matrices()
        results = peer_run.run({path: _load(path) for path in asked}, limit_s, options.out)
        print(json.dumps(results))
        return results
    options.time_limit = options.time_limit or 60.0
    figures = {path.stem: measure(_load(path), options) for path in options.matrices or _found()}
    for name, values in figures.items():
        _say(f"\n{name}")
        for key, value in values.items():
            _say(f"  {key:<44} {_short(value)}")
    rows = growth(options.growth) if options.growth else []
    for row in rows:
        _say("  ".join(f"{key} {_short(value)}" for key, value in row.items()))
    results = {"machine": _machine(), "matrices": figures, "growth": rows}
    print(json.dumps(results))
    return results


def measure(matrix: SensitivityMatrix, options: argparse.Namespace) -> dict[str, Any]:
    """Every figure of one matrix; times in seconds."""
    averages = np.linspace(2.2, 7.0, options.budgets)
    problems = [
        AllocationProblem(matrix, bits_for_average(float(a), matrix.layers)) for a in averages
    ]
    shifts, certify_s = _timed(lambda: compute_shifts(matrix))
    cached = _solve_all(DaqpSolver(shifts), problems, options, "DAQP, cached")
    alone = _solve_all(DaqpSolver(), problems, options, "DAQP")
    scip = _solve_all(ScipSolver(shifts=shifts), problems, options, "SCIP")
    both = _solve_all(TieredSolver(shifts, confirm=True), problems, options, "both")
    quick = _solve_all(LocalSearchSolver(), problems, options, "local search")
    longer = _solve_all(SECOND_SEARCH, problems, options, "longer local search")
    front, frontier_s = _timed(lambda: sweep(matrix, points=options.points))
    _, two_jobs_s = _timed(lambda: sweep(matrix, points=options.points, jobs=2))

    optima = np.array([s.objective if _is_proven(s) else np.nan for s in scip])
    figures: dict[str, Any] = {
        "candidates": len(matrix.G),
        "budgets": len(problems),
        "certificate_s": certify_s,
        **_times("daqp_cached", cached),
        **_times("daqp", alone),
        **_times("scip", scip),
        "scip_worst_gap": max(s.gap or 0.0 for s in scip),
        "both_provers_agree": _agreement(cached, scip),
        "confirmed_by_both": sum(s.solver.startswith("daqp+") for s in both),
        **_times("first_answer_local_search", quick),
        "first_answer_worst_gap_to_optimum": float(np.nanmax(_above(quick, optima))),
        **_times("longer_local_search", longer),
        "longer_local_search_worst_gap_to_optimum": float(np.nanmax(_above(longer, optima))),
        f"frontier_{len(front)}_points_s": frontier_s,
        "frontier_speedup_of_two_processes": frontier_s / two_jobs_s,
        "frontier_proven": sum(_is_proven(s) for s in front.points),
        "frontier_worst_gap": max(s.gap or 0.0 for s in front.points),
    }
    relaxation = compare(problems[len(problems) // 3])
    figures |= {f"semidefinite_{key}": value for key, value in relaxation.items()}
    if len(matrix.G) <= SMALL:
        figures |= _against_baselines(problems, options, cached, scip)
    return figures


def _against_baselines(
    problems: list[AllocationProblem],
    options: argparse.Namespace,
    cached: list[Solution],
    scip: list[Solution],
) -> dict[str, Any]:
    """CVXPY's quad_form with SCIP on the projected matrix (the paper's), and linear products."""
    chosen = np.linspace(0, len(problems) - 1, options.baseline_budgets).round().astype(int)
    baseline, products = [], []
    for i in chosen:
        _progress(f"CVXPY, budget {i}")
        baseline.append(_cvxpy_with_scip_s(problems[i], options.time_limit))
        products.append(
            ScipSolver("products").solve(problems[i], time_limit_s=options.time_limit).runtime_s
        )
    return {
        "cvxpy_quad_form_scip_median_s": float(np.median(baseline)),
        "scip_products_median_s": float(np.median(products)),
        "speedup_daqp_cached_over_cvxpy": _ratio(baseline, cached, chosen),
        "speedup_scip_over_cvxpy": _ratio(baseline, scip, chosen),
    }


def _cvxpy_with_scip_s(problem: AllocationProblem, time_limit_s: float) -> float:
    """Wall time of the paper's formulation: binaries, the projected matrix, one budget."""
    import cvxpy

    matrix = problem.matrix.project_psd()
    x = cvxpy.Variable(len(matrix.G), boolean=True)
    sizes = np.multiply.outer(matrix.layers.n_weights, matrix.bit_widths).ravel()
    one_hot = np.kron(np.eye(matrix.n_layers), np.ones(matrix.n_bits))
    model = cvxpy.Problem(
        cvxpy.Minimize(cvxpy.quad_form(x, cvxpy.psd_wrap(matrix.G))),
        [one_hot @ x == 1, (sizes / sizes.max()) @ x <= problem.budget_bits / sizes.max()],
    )
    started = time.perf_counter()
    model.solve(solver=cvxpy.SCIP, scip_params={"limits/time": time_limit_s})
    return time.perf_counter() - started


def _solve_all(
    solver: Solver, problems: list[AllocationProblem], options: argparse.Namespace, name: str
) -> list[Solution]:
    solutions = []
    for i, problem in enumerate(problems):
        _progress(f"{name}, budget {i + 1}/{len(problems)}")
        solutions.append(solver.solve(problem, time_limit_s=options.time_limit))
    return solutions


def _times(name: str, solutions: list[Solution]) -> dict[str, Any]:
    seconds = [s.runtime_s for s in solutions]
    figures: dict[str, Any] = {
        f"{name}_median_s": float(np.median(seconds)),
        f"{name}_worst_s": max(seconds),
    }
    proven = sum(map(_is_proven, solutions))
    return figures | ({f"{name}_proven": proven} if proven else {})


def _ratio(baseline: list[float], solutions: list[Solution], chosen: np.ndarray) -> float:
    """Median over budgets of baseline time / our time."""
    ours = [solutions[i].runtime_s for i in chosen]
    return float(np.median(np.array(baseline) / np.array(ours)))


def _above(solutions: list[Solution], optima: np.ndarray) -> np.ndarray:
    values = np.array([s.objective for s in solutions])
    return np.maximum((values - optima) / np.abs(optima), 0.0)


def _agreement(first: list[Solution], second: list[Solution]) -> str:
    both = [
        (a.objective, b.objective)
        for a, b in zip(first, second, strict=True)
        if _is_proven(a) and _is_proven(b)
    ]
    same = sum(bool(np.isclose(a, b, rtol=1e-9, atol=1e-12)) for a, b in both)
    return f"{same} of {len(both)}"


def _is_proven(solution: Solution) -> bool:
    return solution.status is SolveStatus.OPTIMAL


def _timed(action: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = action()
    return result, time.perf_counter() - started


def _load(path: Path) -> SensitivityMatrix:
    return load(path) if path.suffix == ".clado" else matrix_from_npz(path, name=path.stem)


def _found() -> list[Path]:
    """The development matrices where they are, otherwise the artifacts in the repository."""
    found = [SHARED / f"matrix_{name}.npz" for name in ("r20_pairwise", "r56_gram")]
    return [p for p in found if p.exists()] or sorted((ROOT / "assets").glob("*.clado"))


def _machine() -> dict[str, Any]:
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
    }


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text:<60}")
        sys.stderr.flush()


def _say(text: str) -> None:
    sys.stderr.write(f"{text:<60}\n")


if __name__ == "__main__":
    main()

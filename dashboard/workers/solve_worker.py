"""The process that proves; started by ``solve_service``."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from clado_core.allocation.stored import load_shifts
from clado_core.solvers import Progress, Solver, TieredSolver
from dashboard.workers.worker_process import Send, matrix_of, rules_of, serve


@lru_cache(maxsize=4)
def _solver(artifact: str, digest: str) -> Solver:
    """DAQP proves, SCIP has the last word; with the shifts beside the artifact, if any."""
    return TieredSolver(load_shifts(artifact), confirm=True)


def _answer(request: dict[str, Any], send: Send) -> None:
    def progress(now: Progress) -> None:
        send(kind="progress", elapsed_s=now.elapsed_s, objective=now.objective, bound=now.bound)

    matrix = matrix_of(request["artifact"], request["digest"])
    problem = rules_of(request["rules"]).problem(matrix, request["budget_bits"])
    start = request["warm_start"]
    solution = _solver(request["artifact"], request["digest"]).solve(
        problem,
        warm_start=problem.assignment(tuple(start)) if start else None,
        time_limit_s=request["time_limit_s"],
        on_progress=progress,
    )
    send(
        kind="done",
        bits=list(solution.assignment.bits),
        status=solution.status.name,
        bound=solution.bound,
        solver=solution.solver,
        runtime_s=solution.runtime_s,
        first_answer_s=solution.first_answer_s,
    )


if __name__ == "__main__":
    serve(_answer)

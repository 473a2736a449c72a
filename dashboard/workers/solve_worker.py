"""The worker process: one JSON request per line on standard input, JSON messages out.

Started by ``solve_service`` as ``python -m dashboard.workers.solve_worker``. Solvers print, so the
protocol keeps standard output's descriptor for itself and gives them the null device.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from functools import lru_cache
from typing import Any, TextIO

from clado_core import SensitivityMatrix, load
from clado_core.allocation.stored import load_shifts
from clado_core.errors import CladoError
from clado_core.solvers import Progress, Solver, TieredSolver
from dashboard.rules import Rules

LOWER_PRIORITY = 5
"""Niceness: drawing the page comes before proving."""


def main() -> None:
    """Answer requests until standard input closes."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.nice(LOWER_PRIORITY)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        _answer(json.loads(requests.get()), out)


def _listen(requests: queue.SimpleQueue[str]) -> None:
    """Pass lines on; when the server is gone, leave at once, even in the middle of a solve."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


@lru_cache(maxsize=4)
def _solver(artifact: str, digest: str) -> Solver:
    """DAQP proves, SCIP has the last word; with the shifts beside the artifact, if any."""
    return TieredSolver(load_shifts(artifact), confirm=True)


@lru_cache(maxsize=4)
def _matrix(artifact: str, digest: str) -> SensitivityMatrix:
    return load(artifact)


def _rules(values: dict[str, list[Any]]) -> Rules:
    """Tuples that JSON made lists of."""
    return Rules(
        locks=tuple((name, b) for name, b in values["locks"]),
        ties=tuple(tuple(group) for group in values["ties"]),
        least=tuple((name, b) for name, b in values["least"]),
    )


def _answer(request: dict[str, Any], out: TextIO) -> None:
    def send(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")

    def progress(now: Progress) -> None:
        send(kind="progress", elapsed_s=now.elapsed_s, objective=now.objective, bound=now.bound)

    try:
        matrix = _matrix(request["artifact"], request["digest"])
        problem = _rules(request["rules"]).problem(matrix, request["budget_bits"])
        start = request["warm_start"]
        solution = _solver(request["artifact"], request["digest"]).solve(
            problem,
            warm_start=problem.assignment(tuple(start)) if start else None,
            time_limit_s=request["time_limit_s"],
            on_progress=progress,
        )
    except CladoError as problem_found:
        send(kind="failed", message=str(problem_found))
        return
    except Exception as fault:  # whatever happens inside a solver, the page keeps its answer
        send(kind="failed", message=f"The solver failed ({type(fault).__name__}: {fault}).")
        return
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
    main()

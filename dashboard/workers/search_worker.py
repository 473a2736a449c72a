"""The process that searches without a proof; started by ``solve_service``.

Not the one that proves: that is ended whenever a visitor wants another proof, and takes a second to
start, since it loads every solver.
"""

from __future__ import annotations

from typing import Any

from clado_core.allocation.greedy import greedy_front
from dashboard.workers.searches import Effort, minimized
from dashboard.workers.worker_process import Send, matrix_of, rules_of, serve


def _answer(request: dict[str, Any], send: Send) -> None:
    matrix = matrix_of(request["artifact"], request["digest"])
    if request["method"]:
        matrix = minimized(matrix, request["method"])
    budget, bits = request["budget_bits"], request["warm_start"]
    problem = rules_of(request["rules"]).problem(matrix, budget)
    start = problem.assignment(tuple(bits)) if bits else greedy_front(problem, [budget])[0]
    solution = Effort(request["effort"]).solver.solve(problem, warm_start=start)
    send(kind="done", bits=list(solution.assignment.bits))


if __name__ == "__main__":
    serve(_answer)

"""The process that searches without a proof; started by ``solve_service``.

Not the one that proves: that is ended whenever a visitor wants another proof, and takes a second to
start, since it loads every solver.
"""

from __future__ import annotations

from typing import Any

from dashboard.workers.searches import Effort, method_front, minimized
from dashboard.workers.worker_process import Send, matrix_of, rules_of, serve


def _answer(request: dict[str, Any], send: Send) -> None:
    """One choice, or a method's front."""
    matrix = matrix_of(request["artifact"], request["digest"])
    rules, method = rules_of(request["rules"]), request["method"]
    if request["budget_bits"] is None:
        found = method_front(matrix, method, rules)
    else:
        problem = rules.problem(
            minimized(matrix, method) if method else matrix, request["budget_bits"]
        )
        start = request["warm_start"]
        solution = Effort(request["effort"]).solver.solve(
            problem, warm_start=problem.assignment(tuple(start)) if start else None
        )
        found = [solution.assignment]
    send(kind="done", bits=[list(each.bits) for each in found])


if __name__ == "__main__":
    serve(_answer)

"""Random small problems, solved in every way, against enumeration.

Run ``python -m tests.core.solvers.fuzz FIRST LAST`` for more seeds than the test has time for.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from clado_core import AllocationProblem, EnumerationSolver, Solution, SolveStatus, TieredSolver
from clado_core.problem.program import compile_program
from clado_core.solvers import daqp, toulbar2
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.toulbar2_process import minimize
from tests.core.instances import random_problem

TOLERANCE = 1e-6
"""What "proven" leaves open, relative to the objective or a thousandth of its terms."""


def disagreements(seeds: Iterable[int]) -> Iterator[str]:
    """A line for every answer that is not the optimum, proven, with a bound that holds."""
    for seed in seeds:
        problem = random_problem(seed)
        optimum = EnumerationSolver().solve(problem)
        answers = {"tiered": TieredSolver(race=False).solve(problem)}
        with shrinking_at_once():
            answers["shrunk"] = TieredSolver(race=False).solve(problem)
        if toulbar2.is_installed():
            answers["toulbar2"] = by_toulbar2(problem)
        for name, answer in answers.items():
            if not agrees(answer, optimum):
                yield f"seed {seed}, {name}: {answer} for {optimum}"


def agrees(answer: Solution, optimum: Solution) -> bool:
    """Whether an answer is as good as the optimum, proven by a bound that is not above it."""
    lost = TOLERANCE * max(abs(optimum.objective), 1e-3 * optimum.terms)
    is_best = abs(answer.objective - optimum.objective) <= lost
    return is_best and answer.bound <= optimum.objective + lost and is_optimal(answer)


def is_optimal(answer: Solution) -> bool:
    """Whether it says so."""
    return answer.status is SolveStatus.OPTIMAL


@contextmanager
def shrinking_at_once() -> Iterator[None]:
    """No short tree first: small problems too are bounded by the relaxation and made smaller."""
    before = daqp._search_briefly
    daqp._search_briefly = lambda *_: False
    try:
        yield
    finally:
        daqp._search_briefly = before


def by_toulbar2(problem: AllocationProblem) -> Solution:
    """Its search alone, from no answer: nothing of another prover helps."""
    incumbent = Incumbent(problem)
    program = compile_program(problem)
    race = toulbar2.Race(incumbent)
    race._scale = toulbar2._scale(program)
    if incumbent.is_settled or not np.isfinite(race._scale):
        return TieredSolver(race=False).solve(problem)
    arrays = toulbar2._arrays(program, race._scale)
    # No choice costs as much: the largest of each layer and of each pair.
    menus = np.split(np.arange(program.n_variables), program.offsets[1:-1])
    worst = sum(int(arrays["unary"][menu].max()) for menu in menus)
    worst += sum(
        int(arrays["binary"][np.ix_(a, b)].max()) for k, a in enumerate(menus) for b in menus[:k]
    )
    found = _in_a_process_of_its_own(arrays | {"upper": np.array(worst + 1)})
    race._give(found, incumbent)
    return incumbent.solution("toulbar2")


def _in_a_process_of_its_own(arrays: dict[str, Any]) -> dict[str, Any]:
    """What one does may depend on what it did before."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, json.dumps(minimize(arrays, 0)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        found: dict[str, Any] = json.load(answer)
    os.waitpid(child, 0)
    return found


def main(first: int, last: int) -> int:
    """Print what disagrees; the exit status says whether anything does."""
    logging.disable(logging.WARNING)
    wrong = 0
    for line in disagreements(range(first, last)):
        print(line, flush=True)
        wrong += 1
    print(f"{last - first} problems, {wrong} wrong answers")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))

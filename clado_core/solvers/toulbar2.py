"""toulbar2: a prover whose code and bounds share nothing with the others."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from clado_core.errors import InputError, SolverError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.program import Program, compile_program
from clado_core.problem.solution import Solution
from clado_core.records.assignment import Assignment
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.local_search import LocalSearchSolver
from clado_core.solvers.protocol import OnProgress

NAME = "toulbar2"

MOST_UNITS = 2.0**59
"""Of all costs together: toulbar2 counts in 64 bits, and keeps some for itself."""

MOST_SCALE = 1e15
"""Of the largest cost: more is below its rounding."""

DOUBLE = 2.0**-52
"""Relative rounding of the bound, which comes as a double."""

GRACE_S = 2.0
"""For starting the process, and for its answer at its limit."""

MISSING = (
    "toulbar2 is not installed here: python -m pip install pytoulbar2 (it has wheels for Linux and "
    "for macOS 14 on ARM)."
)


def is_installed() -> bool:
    """Whether pytoulbar2 can be imported, without importing it."""
    return importlib.util.find_spec("pytoulbar2") is not None


@dataclass(frozen=True, slots=True)
class Toulbar2Solver:
    """Branch and bound with soft arc consistency on the measured G, indefinite as it is.

    It gets the compiled program alone: no shifts, no candidates ruled out, no bound of another
    prover. Costs are rounded down to whole units, so its bounds hold for G; an answer to start
    from is only where it stops looking.

    Source: Hurley et al., Multi-language evaluation of exact solvers in graphical model discrete
    optimization (2016); Montalbano et al., Multiple-choice knapsack constraint in graphical models
    (2022).
    """

    def solve(
        self,
        problem: AllocationProblem,
        /,
        *,
        warm_start: Assignment | None = None,
        time_limit_s: float | None = None,
        gap_limit: float = 0.0,
        on_progress: OnProgress | None = None,
    ) -> Solution:
        """See Solver.solve; the process starts once local search has an answer.

        Raises:
            InputError: It is not installed, or as in Solver.solve.
        """
        if not is_installed():
            raise InputError(MISSING)
        incumbent = Incumbent(problem, on_progress=on_progress, warm_start=warm_start)
        if not incumbent.is_settled:
            LocalSearchSolver().improve(incumbent, time_limit_s=time_limit_s)
            prove(incumbent, incumbent.left_s(time_limit_s))
        return incumbent.solution(NAME, gap_limit=gap_limit, in_time=time_limit_s is None)


def prove(incumbent: Incumbent, left_s: float | None, /) -> None:
    """Search the incumbent's whole problem; offers what is better, proves the bound.

    Args:
        incumbent: Has an answer.
        left_s: CPU seconds, and with a little grace wall seconds too; None for no limit.

    Raises:
        SolverError: The process failed.
    """
    program = compile_program(incumbent.problem)
    answer = incumbent.assignment
    scale = _scale(program)
    if left_s == 0 or not math.isfinite(scale):
        return
    upper = scale * (program.objective(program.choice_of(answer.bits)) - program.constant)
    # Its own cost is below this, so that a search that ends has found it or a better one.
    arrays = _arrays(program, scale) | {
        "upper": np.array(math.floor(upper) + 1),
        "limit_s": np.array(0.0 if left_s is None else left_s),
    }
    found = _run(arrays, left_s)
    if found is None:
        return
    bound = found["bound"] - DOUBLE * abs(found["bound"])
    if found["choice"] is not None:
        bits = program.layer_bits(np.array(found["choice"], dtype=np.int64))
        if bits != answer.bits and incumbent.problem.is_feasible(
            incumbent.problem.assignment(bits)
        ):
            incumbent.offer(incumbent.program.choice_of(bits))
    incumbent.prove(program.constant + bound / scale)


def _scale(program: Program) -> float:
    """Units in one of the objective; +inf where nothing costs anything."""
    largest = float(np.abs(program.Q).max(initial=0.0))
    if largest == 0:
        return math.inf
    tables = program.n_decisions * (program.n_decisions + 1) / 2
    return min(MOST_SCALE, MOST_UNITS / (2 * tables)) / largest


def _arrays(program: Program, scale: float) -> dict[str, Any]:
    """Whole costs, rounded down: no assignment costs more than scale times its objective."""
    binary = np.floor(2 * program.Q * scale).astype(np.int64)
    return {
        "unary": np.floor(program.Q.diagonal() * scale).astype(np.int64),
        "binary": binary,
        "offsets": program.offsets,
        "costs": program.costs,
        "limits": program.limits,
    }


def _run(arrays: dict[str, Any], left_s: float | None) -> dict[str, Any] | None:
    """What the process says; None where it had to be ended."""
    given = io.BytesIO()
    np.savez(given, **arrays)
    command = [sys.executable, "-m", "clado_core.solvers.toulbar2_process"]
    try:
        done = subprocess.run(
            command,
            input=given.getvalue(),
            capture_output=True,
            timeout=None if left_s is None else left_s + GRACE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode < 0:
        return None  # its own limit
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise SolverError(f"toulbar2 stopped: {said[-1] if said else done.returncode}.")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result

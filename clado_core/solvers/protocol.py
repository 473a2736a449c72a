"""What every solver is: an AllocationProblem in, a Solution out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypedDict, runtime_checkable

from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.solution import Solution
from clado_core.records.assignment import Assignment


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known while a solve runs, in terms of x'Gx.

    Args:
        elapsed_s: Wall time since the solve started.
        assignment: The best assignment so far.
        objective: Its x'Gx.
        bound: No feasible assignment has a smaller one; −inf while nothing is proven.
    """

    elapsed_s: float
    assignment: Assignment
    objective: float
    bound: float


OnProgress: TypeAlias = Callable[[Progress], None]


class SolveOptions(TypedDict, total=False):
    """Options of ``Solver.solve``, for functions that pass them on."""

    warm_start: Assignment | None
    time_limit_s: float | None
    gap_limit: float
    on_progress: OnProgress | None


@runtime_checkable
class Solver(Protocol):
    """Anything that answers an allocation problem."""

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
        """Minimize x'Gx within the problem's budgets.

        Args:
            problem: What to solve; it has checked that each budget can be kept.
            warm_start: A feasible assignment to start from; the answer is never worse than it.
            time_limit_s: Wall time after which the best answer so far is returned.
            gap_limit: Relative gap at which to stop; 0 asks for a proof of optimality.
            on_progress: Called, from the solving thread, when the answer or the bound improves.

        Returns:
            The best assignment found, with a bound that is valid for the problem's matrix.

        Raises:
            InputError: The warm start breaks a budget or a wish, or no assignment was found that
                keeps all budgets at once.
            SolverError: The solver itself failed.
        """
        ...

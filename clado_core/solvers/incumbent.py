"""The record every solver keeps while it runs: best answer, bound, and the clock."""

from __future__ import annotations

import math
import time
from typing import Protocol

import numpy as np
import numpy.typing as npt

from clado_core._typing import Choices
from clado_core.errors import InputError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.program import Program, compile_program, without
from clado_core.problem.solution import (
    Solution,
    SolveStatus,
    is_proven,
    relative_gap,
    solution_of,
)
from clado_core.records.assignment import Assignment
from clado_core.records.scheme import BitWidths
from clado_core.solvers.convexify import ConvexForm
from clado_core.solvers.protocol import OnProgress, Progress

PROOF_TOLERANCE = 1e-7
"""What a branch and bound in floating point gives up of its bound, relative to the objective."""

NO_ASSIGNMENT = "No assignment was found that keeps all budgets at once: raise one of them."
"""Each can be kept alone, but joint choices trade one resource for another."""


class Rival(Protocol):
    """Somebody else at work on the same problem, in another process."""

    @property
    def is_running(self) -> bool:
        """Whether something may still come of it."""

    def start(self, left_s: float | None, /) -> None:
        """Begin, with so much time."""

    def collect(self) -> None:
        """Give the incumbent what was found, once it has ended."""


class Incumbent:
    """Best choice and bound so far; improvements are reported as they come.

    The clock starts at construction, so compiling the program counts. ``program`` shrinks as
    candidates are ruled out that no better answer uses. ``convex`` is a program that it
    was, with a convex form of it, and ``first_convex`` the first of these. ``rival`` is who else
    may prove it: asked whenever it matters whether all is proven.

    Args:
        problem: What is being solved.
        on_progress: Called at every improvement.
        warm_start: Becomes the first answer.

    Raises:
        InputError: The warm start breaks a budget or a wish.
    """

    def __init__(
        self,
        problem: AllocationProblem,
        /,
        *,
        on_progress: OnProgress | None = None,
        warm_start: Assignment | None = None,
    ) -> None:
        self._started = time.perf_counter()
        self.problem = problem
        self._on_progress = on_progress
        self._first_answer_s = math.nan
        self.program: Program = compile_program(problem)
        self.choice: Choices | None = None
        self.convex: tuple[Program, ConvexForm] | None = None
        self.first_convex: tuple[Program, ConvexForm] | None = None
        self.rival: Rival | None = None
        self.objective = math.inf
        self.bound = -math.inf
        if warm_start is not None:
            if not problem.is_feasible(warm_start):
                raise InputError("The warm start breaks a budget or a wish of the problem.")
            self.offer(self.program.choice_of(warm_start.bits))
        if self.is_settled:
            self.offer(np.zeros(0, dtype=np.int64))
            self.prove(self.objective)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to decide, so that the only assignment is proven."""
        return self.program.n_decisions == 0

    @property
    def elapsed_s(self) -> float:
        """Wall time since the solve started."""
        return time.perf_counter() - self._started

    def left_s(self, time_limit_s: float | None, /) -> float | None:
        """What is left of a time limit, at least 0; None where there is none."""
        return None if time_limit_s is None else max(time_limit_s - self.elapsed_s, 0.0)

    @property
    def terms(self) -> float:
        """Σ|G_ab| of the answer, as ``Solution.terms``; 0 while there is none."""
        return 0.0 if self.choice is None else self.problem.matrix.terms(self._bits)

    @property
    def gap(self) -> float:
        """As ``Solution.gap``, +inf while it is unknown."""
        return self.gap_of(self.bound)

    def gap_of(self, bound: float, /) -> float:
        """The gap that a bound would leave, +inf where that is unknown."""
        gap = relative_gap(self.objective, bound, self.terms)
        return math.inf if gap is None else gap

    def is_within(self, gap_limit: float, /) -> bool:
        """Whether the answer is proven, or proven to be as close as is asked."""
        if self.rival is not None:
            self.rival.collect()
        gap = self.gap
        return is_proven(gap) or gap <= gap_limit

    @property
    def has_rival(self) -> bool:
        """Whether somebody else may prove it any moment."""
        return self.rival is not None and self.rival.is_running

    def offer(self, choice: Choices, /) -> bool:
        """Keep a feasible choice if it is better; says whether it was."""
        objective = self.program.objective(choice)
        if objective >= self.objective:
            return False
        if self.choice is None:
            self._first_answer_s = self.elapsed_s
        self.choice, self.objective = np.array(choice), objective
        self._report()
        return True

    def offer_bits(self, bits: BitWidths, /) -> bool:
        """Keep a feasible assignment if it is better; one that was ruled out is not."""
        program = self.program
        if not all(fixed in (0, b) for fixed, b in zip(program.fixed_bits, bits, strict=True)):
            return False
        menus = np.split(program.bits, program.offsets[1:-1])
        chosen = [bits[members[0]] for members in program.members]
        if not all(b in menu for b, menu in zip(chosen, menus, strict=True)):
            return False
        return self.offer(program.choice_of(bits))

    def prove(self, bound: float, /) -> None:
        """Keep a valid lower bound if it is better; an answer is a bound on all of them."""
        bound = min(bound, self.objective)
        if bound > self.bound:
            self.bound = bound
            self._report()

    def rule_out(self, dropped: npt.NDArray[np.bool_], /) -> None:
        """Forget candidates that no answer better than this one uses.

        Args:
            dropped: Shape (v,), of the program's variables; none of the answer's own.
        """
        self.replace_program(without(self.program, dropped))

    def replace_program(self, program: Program, /) -> None:
        """Go on with a program that has the same answers better than this one."""
        bits, is_met = self._bits, self.bound == self.objective
        self.program = program
        self.choice = program.choice_of(bits)
        # The same sum in another order.
        self.objective = program.objective(self.choice)
        self.bound = min(self.bound, self.objective)
        if is_met or self.is_settled:
            self.prove(self.objective)

    def solution(self, solver: str, /, *, gap_limit: float = 0.0, in_time: bool = True) -> Solution:
        """The result, objective and status recomputed from the assignment on the measured matrix.

        Args:
            solver: Who found it, and who proved it.
            gap_limit: What was asked for.
            in_time: Whether the solve ended by itself.
        """
        # The program's sum and the matrix's are the same up to rounding; where the first meets its
        # bound exactly, so shall the second.
        bound = math.inf if self.bound == self.objective else self.bound
        return solution_of(
            self.problem.matrix,
            self.assignment,
            solver=solver,
            bound=bound,
            otherwise=self._ended(gap_limit, in_time),
            runtime_s=self.elapsed_s,
            first_answer_s=self._first_answer_s,
        )

    @property
    def assignment(self) -> Assignment:
        """The best assignment so far."""
        return self.problem.assignment(self._bits)

    def _ended(self, gap_limit: float, in_time: bool) -> SolveStatus:
        gap = self.gap
        if math.isfinite(gap) and gap <= gap_limit:
            return SolveStatus.GAP_LIMIT
        return SolveStatus.HEURISTIC if in_time else SolveStatus.TIME_LIMIT

    @property
    def _bits(self) -> BitWidths:
        if self.choice is None:
            raise RuntimeError("No answer has been offered yet.")
        return self.program.layer_bits(self.choice)

    def _report(self) -> None:
        if self._on_progress is not None and self.choice is not None:
            self._on_progress(Progress(self.elapsed_s, self.assignment, self.objective, self.bound))

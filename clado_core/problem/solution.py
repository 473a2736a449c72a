"""What a solve gives back: an assignment, how good it is, and who says so."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from clado_core._html import table
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import LOSS_PER_OBJECTIVE, SensitivityMatrix
from clado_core.records.scheme import bits_to_json

PROVEN_GAP = 1e-6
"""Gap under which an answer counts as proven optimal."""

CANCELLED = 1e-3
"""Smallest |x'Gx| that a gap is relative to, as a share of Σ|terms|: where the terms of x'Gx cancel
to less, its own size says nothing, and a share of nothing could never be proven."""


class SolveStatus(Enum):
    """How a solve ended; the value is the sentence shown to users, ``code`` the one in files."""

    OPTIMAL = "Proven optimal."
    GAP_LIMIT = "Proven to be within the gap that was asked for."
    TIME_LIMIT = "Best found within the time limit; the gap says how far the optimum can be."
    HEURISTIC = "Approximate: a good answer that is not proven optimal."

    @property
    def code(self) -> str:
        """Name in JSON: "optimal", "gap_limit", "time_limit" or "heuristic"."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Solution:
    """One assignment and what is proven about it, always in terms of the measured G.

    Args:
        assignment: The chosen bit-widths.
        status: How the solve ended.
        objective: x'Gx of the assignment on the measured G, recomputed from the assignment.
        bound: No feasible assignment has a smaller x'Gx; −inf where nothing is proven.
        method: "clado", "diagonal", "block", "uniform", ...: what was minimized.
        solver: Who found it and, where proven, who proved it, such as "scip".
        runtime_s: Wall time of the whole solve.
        first_answer_s: Wall time until the first feasible assignment.
        terms: Σ|G_ab| over the assignment's candidates, of which x'Gx is the sum without bars.
    """

    assignment: Assignment
    status: SolveStatus
    objective: float
    bound: float
    method: str
    solver: str
    runtime_s: float
    first_answer_s: float
    terms: float = 0.0

    def __repr__(self) -> str:
        return f"Solution({self.summary})"

    def _repr_html_(self) -> str:
        layers = self.assignment.layers.layers
        rows = [
            (layer.name, layer.n_weights, str(bits), layer.weight_bytes(bits))
            for layer, bits in zip(layers, self.assignment.bits, strict=True)
        ]
        return table(f"{self.summary}.", ["layer", "weights", "bits", "bytes"], rows)

    @property
    def summary(self) -> str:
        """What it takes, what is predicted and how sure that is, in a line."""
        bound = "no bound" if self.bound == -math.inf else f"bound {self.bound:.4g}"
        gap = bound if self.gap is None else f"gap {self.gap:.2%}"
        return (
            f"{self.assignment.summary}, predicted loss {self.predicted_loss_increase:+.4g}, "
            f"{self.method}, {self.status.code} by {self.solver}, {gap}"
        )

    @property
    def predicted_loss_increase(self) -> float:
        """Half of x'Gx: a quadratic prediction, not a measured loss."""
        return LOSS_PER_OBJECTIVE * self.objective

    @property
    def gap(self) -> float | None:
        """How far the optimum can be, see ``relative_gap``; None without a bound."""
        return relative_gap(self.objective, self.bound, self.terms)

    def to_json(self) -> dict[str, Any]:
        """As plain values; the keys are listed in the README."""
        chosen = self.assignment
        return {
            "assignment": {k: bits_to_json(b) for k, b in chosen.by_layer().items()},
            "status": self.status.code,
            "objective": self.objective,
            "predicted_loss_increase": self.predicted_loss_increase,
            "bound": self.bound if math.isfinite(self.bound) else None,
            "gap": self.gap,
            "size_bits": chosen.size_bits,
            "size_bytes": chosen.size_bytes,
            "avg_bits": chosen.avg_bits,
            "bops": chosen.bops,
            "runtime_s": self.runtime_s,
            "first_answer_s": self.first_answer_s,
            "solver": self.solver,
            "method": self.method,
        }


def relative_gap(objective: float, bound: float, terms: float = 0.0, /) -> float | None:
    """(objective − bound) / max(|objective|, ``CANCELLED`` · terms).

    Args:
        objective: x'Gx of an assignment.
        bound: No feasible assignment has a smaller one.
        terms: Σ|G_ab| over the assignment's candidates.

    Returns:
        0 where objective and bound are equal, None where the gap is not finite.
    """
    if objective == bound:
        return 0.0
    unit = max(abs(objective), CANCELLED * terms)
    if unit == 0 or not math.isfinite(bound):
        return None
    gap = (objective - bound) / unit
    return gap if math.isfinite(gap) else None


def is_proven(gap: float | None, /) -> bool:
    """Whether an answer with this gap counts as optimal: the one check behind that word."""
    return gap is not None and gap <= PROVEN_GAP


def solution_of(
    matrix: SensitivityMatrix,
    assignment: Assignment,
    /,
    *,
    solver: str,
    method: str = "clado",
    bound: float = -math.inf,
    otherwise: SolveStatus = SolveStatus.HEURISTIC,
    runtime_s: float = 0.0,
    first_answer_s: float | None = None,
) -> Solution:
    """An assignment with its x'Gx recomputed, and the status that this and the bound justify.

    Args:
        matrix: The measured one.
        assignment: Of its layers.
        solver: Who found and, where proven, who proved it.
        method: What was minimized.
        bound: No feasible assignment has a smaller x'Gx; cut off at the assignment's own.
        otherwise: How the solve ended, which is the status where the bound proves no optimum.
        runtime_s: Wall time of the whole solve.
        first_answer_s: Wall time until the first answer; ``runtime_s`` where None.

    Raises:
        InputError: A bit-width that was not measured.
    """
    objective, terms = matrix.objective(assignment.bits), matrix.terms(assignment.bits)
    bound = -math.inf if math.isnan(bound) else min(bound, objective)
    if is_proven(relative_gap(objective, bound, terms)):
        status = SolveStatus.OPTIMAL
    else:
        status = SolveStatus.HEURISTIC if otherwise is SolveStatus.OPTIMAL else otherwise
    first = runtime_s if first_answer_s is None else first_answer_s
    return Solution(assignment, status, objective, bound, method, solver, runtime_s, first, terms)


def with_bound(solution: Solution, bound: float, prover: str, /) -> Solution:
    """A solution beside a bound that was proven elsewhere, and the status that follows.

    Args:
        solution: Any.
        bound: No feasible assignment has a smaller x'Gx; cut off at the solution's own.
        prover: Who proved the bound.
    """
    improved = replace(solution, bound=min(bound, solution.objective))
    if is_proven(improved.gap):
        found = solution.solver
        named = prover if found in prover else f"found by {found}, proven by {prover}"
        return replace(improved, status=SolveStatus.OPTIMAL, solver=named)
    # What was proven beside a tighter bound need not hold beside this one.
    looser = improved.bound < solution.bound
    claims = solution.status is SolveStatus.GAP_LIMIT and looser
    if solution.status is SolveStatus.OPTIMAL or claims:
        return replace(improved, status=SolveStatus.HEURISTIC)
    return improved

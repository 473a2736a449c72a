"""What a solve gives back: an assignment, how good it is, and who says so."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from clado_core._html import table
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import LOSS_PER_OBJECTIVE
from clado_core.records.scheme import bits_to_json

PROVEN_GAP = 1e-6
"""Relative gap under which an answer counts as proven optimal."""


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
    """

    assignment: Assignment
    status: SolveStatus
    objective: float
    bound: float
    method: str
    solver: str
    runtime_s: float
    first_answer_s: float

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
        gap = "no bound" if self.gap is None else f"gap {self.gap:.2%}"
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
        """Relative optimality gap (objective − bound)/|objective|; None without a bound."""
        return relative_gap(self.objective, self.bound)

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


def relative_gap(objective: float, bound: float, /) -> float | None:
    """(objective − bound)/|objective|, 0 where both are equal, None where it is not finite."""
    if objective == bound:
        return 0.0
    if objective == 0 or not math.isfinite(bound):
        return None
    return (objective - bound) / abs(objective)


def with_bound(solution: Solution, bound: float, prover: str, /) -> Solution:
    """A solution beside a bound that was proven elsewhere, and the status that follows.

    Args:
        solution: Any.
        bound: No feasible assignment has a smaller x'Gx; cut off at the solution's own.
        prover: Who proved the bound.
    """
    improved = replace(solution, bound=min(bound, solution.objective))
    if improved.gap is not None and improved.gap <= PROVEN_GAP:
        found = solution.solver
        named = prover if found in prover else f"found by {found}, proven by {prover}"
        return replace(improved, status=SolveStatus.OPTIMAL, solver=named)
    # What was proven beside a tighter bound need not hold beside this one.
    proven = solution.status in (SolveStatus.OPTIMAL, SolveStatus.GAP_LIMIT)
    if proven and improved.bound < solution.bound:
        return replace(improved, status=SolveStatus.HEURISTIC)
    return improved

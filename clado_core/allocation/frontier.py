"""The trade-off between size and predicted loss: one solution per budget, with valid gaps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clado_core._html import table
from clado_core._typing import Mask
from clado_core.allocation.sharing import ProvenBound, shared_answers
from clado_core.errors import InfeasibleBudgetError, InputError
from clado_core.problem.solution import Solution, SolveStatus, solution_of
from clado_core.records.assignment import assignment_from_mapping
from clado_core.records.matrix import SensitivityMatrix


@dataclass(frozen=True, slots=True)
class Frontier:
    """Solutions at ascending budgets; what one of them proves is used for the others.

    See ``sharing`` for why that is sound.

    Args:
        budgets_bits: Ascending budgets in bits of searched weights, shape (p,).
        points: The solution within each budget, same length.

    Raises:
        InputError: No points, lengths that differ, or budgets that do not ascend.
    """

    budgets_bits: tuple[int, ...]
    points: tuple[Solution, ...]

    def __post_init__(self) -> None:
        if not self.points or len(self.points) != len(self.budgets_bits):
            raise InputError(
                f"A frontier needs one solution per budget; given {len(self.budgets_bits)} budgets "
                f"and {len(self.points)} solutions."
            )
        if any(np.diff(self.budgets_bits) <= 0):
            raise InputError("The budgets of a frontier must ascend.")

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        return f"Frontier({self.summary})"

    def _repr_html_(self) -> str:
        kept = [
            point for point, keep in zip(self.points, self.non_dominated(), strict=True) if keep
        ]
        rows = [
            (
                f"{point.assignment.avg_bits:.3f}",
                point.assignment.size_bytes,
                point.predicted_loss_increase,
                point.status.code,
                "" if point.gap is None else f"{point.gap:.2%}",
            )
            for point in kept
        ]
        header = ["bits", "bytes", "predicted loss", "status", "gap"]
        return table(f"{self.summary}. Those that no other matches:", header, rows)

    @property
    def summary(self) -> str:
        """How many points, over which sizes, how many proven, in a line."""
        avg_bits = [point.assignment.avg_bits for point in self.points]
        proven = sum(point.status is SolveStatus.OPTIMAL for point in self.points)
        return (
            f"{len(self)} budgets, {min(avg_bits):.2f} to {max(avg_bits):.2f} bits, "
            f"{proven} proven optimal"
        )

    @property
    def sizes_bits(self) -> npt.NDArray[np.int64]:
        """Bits that each point uses, at most its budget, shape (p,)."""
        return np.array([point.assignment.size_bits for point in self.points], dtype=np.int64)

    @property
    def objectives(self) -> npt.NDArray[np.float64]:
        """x'Gx of each point, shape (p,)."""
        return np.array([point.objective for point in self.points])

    def best_within(self, budget_bits: int, /) -> Solution:
        """The best known solution within any budget, with a gap that is valid for that budget.

        Args:
            budget_bits: Between two points too: the assignment comes from those that fit, the
                bound from the points at this budget or above. Budgets above the last point's are
                answered as that one: it is the largest size, or the limit the sweep was given.

        Raises:
            InfeasibleBudgetError: No point is this small.
        """
        within = min(budget_bits, self.budgets_bits[-1])
        (best,) = shared_answers([within], self.points, self._bounds())
        if best is None:
            raise self._too_small(budget_bits)
        return best

    def non_dominated(self) -> Mask:
        """Which points no other point matches or beats in size and objective, shape (p,).

        Of points that are equal in both, the first counts.
        """
        order = np.lexsort((np.arange(len(self)), self.objectives, self.sizes_bits))
        mask = np.zeros(len(self), dtype=np.bool_)
        best = math.inf
        for i in order:
            if self.objectives[i] < best:
                best = float(self.objectives[i])
                mask[i] = True
        return mask

    def choices(self, n: int | None = None, /) -> tuple[Solution, ...]:
        """The non-dominated points by ascending size; at most n of them, evenly in size.

        Args:
            n: All where None; the smallest and the largest are among two or more.

        Raises:
            InputError: n is below 1.
        """
        kept = self._by_size()
        if n is not None and n < 1:
            raise InputError(f"A part of a frontier needs one point or more, not {n}.")
        if n is not None and n < len(kept):
            sizes = self.sizes_bits[kept]
            wanted = np.linspace(sizes[0], sizes[-1], n)
            kept = kept[np.unique(np.abs(sizes[:, None] - wanted).argmin(axis=0))]
        return tuple(self.points[i] for i in kept)

    def knee(self) -> int:
        """Index of the point farthest below the chord of the non-dominated points.

        Both axes are scaled to [0, 1] first, so units do not matter; with fewer than three
        non-dominated points it is the last of them.
        """
        kept = self._by_size()
        if len(kept) < 3:
            return int(kept[-1])
        size, value = _unit(self.sizes_bits[kept]), _unit(self.objectives[kept])
        return int(kept[np.argmax(1 - size - value)])

    def _by_size(self) -> npt.NDArray[np.int64]:
        """Indices of the non-dominated points by ascending size."""
        kept = np.flatnonzero(self.non_dominated())
        return kept[np.argsort(self.sizes_bits[kept])]

    def shared(self) -> Frontier:
        """The same budgets, each with the best answer and bound that any point proves for it."""
        answers = shared_answers(self.budgets_bits, self.points, self._bounds())
        return Frontier(self.budgets_bits, tuple(answer for answer in answers if answer))

    def to_json(self) -> dict[str, Any]:
        """As plain values: ``points``, each a solution's with its ``budget_bits``."""
        return {
            "points": [
                point.to_json() | {"budget_bits": budget}
                for budget, point in zip(self.budgets_bits, self.points, strict=True)
            ]
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], matrix: SensitivityMatrix, /) -> Frontier:
        """From such values, for the matrix they were computed on.

        Raises:
            InputError: A layer that the matrix does not have, or a field that is missing.
        """
        try:
            points = tuple(_solution_from_json(point, matrix) for point in values["points"])
            return cls(tuple(int(point["budget_bits"]) for point in values["points"]), points)
        except KeyError as error:
            raise InputError(f"The frontier lacks the field {error}.") from None

    def _bounds(self) -> list[ProvenBound]:
        pairs = zip(self.budgets_bits, self.points, strict=True)
        return [ProvenBound(budget, point.bound, point.solver) for budget, point in pairs]

    def _too_small(self, budget_bits: int) -> InfeasibleBudgetError:
        sizes = self.sizes_bits
        return InfeasibleBudgetError(
            f"A budget of {budget_bits:,} bits is below the frontier's smallest size, "
            f"{sizes.min():,} bits.",
            constraint="budget_bits",
            requested=budget_bits,
            minimum=int(sizes.min()),
            maximum=int(sizes.max()),
        )


def _unit(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.asarray((values - values.min()) / np.ptp(values), dtype=np.float64)


def _solution_from_json(values: Mapping[str, Any], matrix: SensitivityMatrix) -> Solution:
    """One point; objective and status are recomputed, whatever was stored."""
    bound = values["bound"]
    return solution_of(
        matrix,
        assignment_from_mapping(matrix.layers, matrix.scheme, values["assignment"]),
        solver=str(values["solver"]),
        method=str(values["method"]),
        bound=-math.inf if bound is None else float(bound),
        otherwise=SolveStatus[str(values["status"]).upper()],
        runtime_s=float(values["runtime_s"]),
        first_answer_s=float(values["first_answer_s"]),
    )

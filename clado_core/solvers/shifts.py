"""Work done once per measured matrix, so that every later proof starts at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from clado_core.errors import InputError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.program import Program, compile_program
from clado_core.records.matrix import SensitivityMatrix
from clado_core.solvers.convexify import ConvexForm, best_shifts, convex_form, convexify
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.reference_form import ReferenceForm, reference_form

DEFAULT_SIZES = 9
"""Solved sizes; between two of them shifts are interpolated, which costs little tightness."""


@dataclass(frozen=True, slots=True)
class ConvexifyingShifts:
    """Shifts that convexify one matrix, tight at a grid of sizes.

    They make every proof faster and none wrong: shifts of another matrix cost time, no
    correctness. They serve problems with wishes and other budgets as well.

    Args:
        sizes_bits: Ascending, shape (g,): sizes of the searched weights.
        shifts: Shape (g, w, B − 1), w = L·(B − 1): for each size, row a holds the shifts between
            kept candidate a and all kept candidates of its layer.

    Raises:
        InputError: Shapes that do not agree, or sizes that do not ascend.
    """

    sizes_bits: npt.NDArray[np.int64]
    shifts: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        sizes = np.array(self.sizes_bits, dtype=np.int64)
        shifts = np.array(self.shifts, dtype=np.float64)
        if sizes.ndim != 1 or shifts.ndim != 3 or len(shifts) != len(sizes) or not len(sizes):
            raise InputError(
                f"There must be shifts for every size; given {sizes.shape} sizes and shifts "
                f"of shape {shifts.shape}."
            )
        if (np.diff(sizes) <= 0).any():
            raise InputError("The sizes that shifts are tight at must ascend.")
        for name, array in (("sizes_bits", sizes), ("shifts", shifts)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def convex_form(
        self, problem: AllocationProblem, program: Program, size_bits: int, /
    ) -> ConvexForm:
        """A convex form of a program of this matrix, tight near a size.

        With z₀ = T·z + constant the whole matrix's binaries in terms of the program's, the convex
        form H₀ of the whole matrix becomes T'H₀T. Shifts are affine in H₀, and mixtures of
        positive semidefinite matrices are positive semidefinite, so interpolating them is safe.
        """
        whole = compile_program(AllocationProblem(problem.matrix))
        whole_form, form = reference_form(whole), reference_form(program)
        H = whole_form.quadratic - _spread(whole_form, self._at(size_bits))
        T = _binaries_of(problem, program, whole, whole_form, form)
        return convex_form(form, _inside_decisions(form, form.quadratic - T.T @ H @ T))

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """As arrays for an ``.npz`` file or an artifact."""
        return {"sizes_bits": self.sizes_bits, "shifts": self.shifts}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]], /) -> ConvexifyingShifts:
        """From such arrays; raises InputError where one is missing or has a wrong shape."""
        try:
            return cls(
                np.asarray(arrays["sizes_bits"], dtype=np.int64),
                np.asarray(arrays["shifts"], dtype=np.float64),
            )
        except KeyError as error:
            raise InputError(f"The stored shifts lack the array {error}.") from None

    def _at(self, size_bits: int) -> npt.NDArray[np.float64]:
        """The shifts at a size, shape (w, B − 1); beyond the ends those of the end."""
        right = int(np.clip(np.searchsorted(self.sizes_bits, size_bits), 1, len(self.shifts) - 1))
        if len(self.shifts) == 1:
            return np.asarray(self.shifts[0])
        low, high = self.sizes_bits[right - 1 : right + 1]
        share = float(np.clip((size_bits - low) / (high - low), 0.0, 1.0))
        return np.asarray((1 - share) * self.shifts[right - 1] + share * self.shifts[right])


def convexify_for(incumbent: Incumbent, shifts: ConvexifyingShifts | None, /) -> ConvexForm:
    """The convex form that the shifts give; without any, the tightest, from an SDP."""
    if shifts is None:
        return convexify(incumbent.program)
    # The size of a good answer tells where on the grid a problem lies, whatever limits it.
    size = incumbent.assignment.size_bits
    return shifts.convex_form(incumbent.problem, incumbent.program, size)


OnShifts: TypeAlias = Callable[[ConvexifyingShifts, int], None]
"""Called with (the shifts so far, sizes in all) after every size."""


def compute_shifts(
    matrix: SensitivityMatrix,
    /,
    *,
    n_sizes: int = DEFAULT_SIZES,
    known: ConvexifyingShifts | None = None,
    on_progress: OnShifts | None = None,
) -> ConvexifyingShifts:
    """Solve the SDP at evenly spaced sizes between the smallest and the largest.

    Args:
        matrix: What to convexify; at least two bit-widths.
        n_sizes: At least 2.
        known: Those of an interrupted run; its sizes are not solved again.
        on_progress: Receives the shifts after every size, so that they can be stored.
    """
    if n_sizes < 2 or matrix.n_bits < 2:
        raise InputError("Shifts need two sizes or more, and two bit-widths or more.")
    low, high = (a.size_bits for a in AllocationProblem(matrix).extremes())
    grid = np.unique(np.linspace(low, high, n_sizes + 2)[1:-1].astype(np.int64)).tolist()
    solved = (
        {} if known is None else dict(zip(known.sizes_bits.tolist(), known.shifts, strict=True))
    )
    for size in grid:
        if size not in solved:
            program = compile_program(AllocationProblem(matrix, budget_bits=size))
            form = reference_form(program)
            solved[size] = _gathered(form, best_shifts(program, form))
            if on_progress is not None:
                on_progress(_from_sizes(solved), len(grid))
    return _from_sizes(solved)


def _from_sizes(solved: Mapping[int, npt.NDArray[np.float64]]) -> ConvexifyingShifts:
    sizes = sorted(solved)
    return ConvexifyingShifts(np.array(sizes), np.array([solved[size] for size in sizes]))


def _gathered(form: ReferenceForm, shifts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(w, w) zero between decisions → (w, B − 1); all decisions have the same menu."""
    width = int((form.decision == 0).sum())
    first = form.decision * width
    return np.take_along_axis(shifts, first[:, None] + np.arange(width), axis=1)


def _spread(form: ReferenceForm, gathered: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(w, B − 1) → (w, w)."""
    shifts = np.zeros_like(form.quadratic)
    if gathered.shape[0] != len(shifts) or len(shifts) % gathered.shape[1]:
        raise InputError(
            f"The shifts are for {gathered.shape[0]} binaries; the matrix needs {len(shifts)}."
        )
    first = form.decision * gathered.shape[1]
    columns = first[:, None] + np.arange(gathered.shape[1])
    np.put_along_axis(shifts, columns, gathered, axis=1)
    return shifts


def _inside_decisions(form: ReferenceForm, A: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A without its entries between decisions (there, up to rounding, it is zero already)."""
    return np.where(np.equal.outer(form.decision, form.decision), A, 0.0)


def _binaries_of(
    problem: AllocationProblem,
    program: Program,
    whole: Program,
    whole_form: ReferenceForm,
    form: ReferenceForm,
) -> npt.NDArray[np.float64]:
    """T, shape (w₀, w): how the whole matrix's kept candidates change with the program's z."""
    candidates = np.zeros((whole.n_variables, program.n_variables))
    for k, members in enumerate(program.members):
        for a in range(program.offsets[k], program.offsets[k + 1]):
            level = problem.matrix.bit_widths.index(int(program.bits[a]))
            candidates[whole.offsets[list(members)] + level, a] = 1.0
    changes = candidates[:, form.kept] - candidates[:, form.reference[form.decision]]
    return np.asarray(changes[whole_form.kept])

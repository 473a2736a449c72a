"""Work done once per measured matrix, so that every later proof starts at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from clado_core.errors import InputError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.program import Program, compile_program
from clado_core.records.matrix import SensitivityMatrix
from clado_core.solvers.convexify import ConvexForm, best_shifts, carried_over, convexify
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.reference_form import ReferenceForm, reference_form

SMALLEST_SHARE = 1e-4
"""Of a wide program's unit; with a smaller one its form is made anew: RIDGE and rounding, which are
relative to the wide one, would make it loose."""

logger = logging.getLogger(__name__)

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
        InputError: Shapes that do not agree, sizes that do not ascend, or numbers that are none.
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
        if not np.isfinite(shifts).all():
            raise InputError("Shifts must be finite numbers.")
        if (np.diff(sizes) <= 0).any():
            raise InputError("The sizes that shifts are tight at must ascend.")
        for name, array in (("sizes_bits", sizes), ("shifts", shifts)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def convex_form(
        self, problem: AllocationProblem, program: Program, size_bits: int, /
    ) -> ConvexForm:
        """A convex form of a program of this matrix, tight near a size.

        Shifts are affine in the whole matrix's convex form, and mixtures of positive semidefinite
        matrices are positive semidefinite, so interpolating them is safe.

        Raises:
            InputError: They are for another number of candidates.
        """
        whole = compile_program(AllocationProblem(problem.matrix))
        form = reference_form(whole)
        H = form.quadratic - _spread(form, self._at(size_bits))
        return carried_over(ConvexForm(form, H, form.linear - H.diagonal()), whole, program)

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


def convexify_for(
    incumbent: Incumbent, shifts: ConvexifyingShifts | None, /, *, time_limit_s: float | None = None
) -> ConvexForm:
    """The incumbent's convex form, made once: from the shifts, else the tightest, from an SDP.

    After candidates were ruled out the form is carried over, unless the unit shrank so much that
    nothing of its accuracy is left.

    Args:
        incumbent: Keeps the form.
        shifts: Those that do not fit are ignored: they cost tightness, no correctness.
        time_limit_s: Of the whole solve; what is left of it limits the SDP.
    """
    program = incumbent.program
    if incumbent.convex is None or incumbent.convex[0] is not program:
        form = _carried(incumbent) or _from_shifts(incumbent, shifts)
        if form is None:
            form = convexify(program, time_limit_s=incumbent.left_s(time_limit_s))
        incumbent.convex = program, form
        incumbent.first_convex = incumbent.first_convex or incumbent.convex
    return incumbent.convex[1]


def _carried(incumbent: Incumbent) -> ConvexForm | None:
    if incumbent.convex is None:
        return None
    wide, convex = incumbent.convex
    form = carried_over(convex, wide, incumbent.program)
    return form if form.form.scale >= SMALLEST_SHARE * convex.form.scale else None


def _from_shifts(incumbent: Incumbent, shifts: ConvexifyingShifts | None) -> ConvexForm | None:
    if shifts is None:
        return None
    # The size of a good answer tells where on the grid a problem lies, whatever limits it.
    size = incumbent.assignment.size_bits
    try:
        found = shifts.convex_form(incumbent.problem, incumbent.program, size)
    except (InputError, np.linalg.LinAlgError) as problem:
        logger.warning("The shifts cannot be used (%s).", problem)
        return None
    largest = float(np.abs(incumbent.problem.matrix.G).max(initial=0.0))
    is_accurate = found.form.scale >= SMALLEST_SHARE * largest and np.isfinite(found.H).all()
    return found if is_accurate else None


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

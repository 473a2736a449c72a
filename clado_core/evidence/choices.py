"""What each method chooses within each budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clado_core.allocation.methods import surrogate_matrix
from clado_core.errors import InputError
from clado_core.problem.allocation_problem import AllocationProblem, bits_for_average
from clado_core.problem.solution import SolveStatus
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import BLOCK, CLADO, DIAGONAL, MEASURED_ALONG, REFINED, UNIFORM
from clado_core.records.scheme import BitWidths
from clado_core.solvers.shifts import ConvexifyingShifts
from clado_core.solvers.tiered import TieredSolver

FOR_REPAIRED = ("clado-repaired", "diagonal-repaired", "calibrated-repaired", "refined-repaired")
"""Methods that choose by a matrix measured with the candidates that a repair ships."""
CLADO_REPAIRED, DIAGONAL_REPAIRED, CALIBRATED_REPAIRED, REFINED_REPAIRED = FOR_REPAIRED
REFERENCES = (CLADO, REFINED, CLADO_REPAIRED, REFINED_REPAIRED)
"""Methods that every other is compared with, image by image."""
METHODS = (
    CLADO_REPAIRED,
    REFINED_REPAIRED,
    CALIBRATED_REPAIRED,
    DIAGONAL_REPAIRED,
    CLADO,
    REFINED,
    "clado-psd",
    "clado-shrunk",
    "logit-gram",
    DIAGONAL,
    BLOCK,
    *MEASURED_ALONG,
    UNIFORM,
)
"""clado: the measured matrix; clado-refined: chosen by measured loss among clado's best and their
neighbours; clado-psd: its negative eigenvalues clipped, as in the paper;
clado-shrunk: each entry shrunk by its standard error; logit-gram: another estimate of the matrix;
diagonal, block: without the other interactions; hawq, mpqco: their own sensitivities. All of these
know weights rounded to nearest; those that end in "-repaired" know them as they are shipped, and
calibrated-repaired from forwards of single layers."""


SAME_SIZE = 0.02
"""Sizes this near each other, relatively, count as equal."""
MOST_DRAWS = 200_000


@dataclass(frozen=True, slots=True)
class Choice:
    """One method's assignment within one budget.

    Args:
        method: One of ``METHODS``.
        budget: Average bits per searched weight that were allowed.
        bits: Bit-width of each layer.
        avg_bits: Average bits per searched weight that it uses.
        size_bytes: Of the whole packed file.
        predicted_loss_increase: Of this assignment by the measured matrix, whatever chose it.
        status: How well the method's own objective was minimized, as in ``Solution``.
        predicted_repaired: Of this assignment by the matrix measured with what is shipped; None
            where there is no such matrix.
    """

    method: str
    budget: float
    bits: BitWidths
    avg_bits: float
    size_bytes: int
    predicted_loss_increase: float
    status: str
    predicted_repaired: float | None = None


def choose(
    matrix: SensitivityMatrix,
    gram: SensitivityMatrix,
    budgets: Sequence[float],
    /,
    *,
    shifts: ConvexifyingShifts | None = None,
    time_limit_s: float | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Choice]:
    """Solve every budget by every method that needs no images.

    Uniform has choices of its own, one per bit-width.

    Args:
        matrix: Measured pairwise, with the diagonals "hawq" and "mpqco".
        gram: The logit-gram estimate on the same layers, menu and quantizer.
        budgets: Average bits per searched weight.
        shifts: Of ``matrix``.
        time_limit_s: Per solve.
        on_progress: Called with (budgets done, budgets in all).
    """
    minimized = surrogates(matrix, gram)
    chosen = list(_uniform(matrix))
    for k, budget in enumerate(sorted(budgets)):
        limit = bits_for_average(budget, matrix.layers)
        for method, surrogate in minimized.items():
            solver = TieredSolver(shifts if method == CLADO else None)
            problem = AllocationProblem(surrogate, budget_bits=limit)
            solved = solver.solve(problem, time_limit_s=time_limit_s)
            chosen.append(choice_of(matrix, method, budget, solved.assignment.bits, solved.status))
        if on_progress is not None:
            on_progress(k + 1, len(budgets))
    return chosen


def choose_repaired(
    matrix: SensitivityMatrix,
    repaired: SensitivityMatrix,
    calibrated: SensitivityMatrix,
    budgets: Sequence[float],
    /,
    *,
    shifts: ConvexifyingShifts | None = None,
    time_limit_s: float | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Choice]:
    """What matrices of the shipped quantizer choose, with and without interactions.

    Args:
        matrix: Measured with rounding to nearest, which scores every choice alike.
        repaired: Of the same layers and menu, all pairs measured with a repair's candidates.
        calibrated: Likewise, from single candidates.
        budgets: Average bits per searched weight.
        shifts: Of ``repaired``.
        time_limit_s: Per solve.
        on_progress: Called with (budgets done, budgets in all).
    """
    minimized = {
        CLADO_REPAIRED: (repaired, TieredSolver(shifts)),
        DIAGONAL_REPAIRED: (surrogate_matrix(repaired, method=DIAGONAL), TieredSolver()),
        CALIBRATED_REPAIRED: (calibrated, TieredSolver()),
    }
    chosen = []
    for k, budget in enumerate(sorted(budgets)):
        limit = bits_for_average(budget, matrix.layers)
        for method, (surrogate, solver) in minimized.items():
            problem = AllocationProblem(surrogate, budget_bits=limit)
            solved = solver.solve(problem, time_limit_s=time_limit_s)
            chosen.append(choice_of(matrix, method, budget, solved.assignment.bits, solved.status))
        if on_progress is not None:
            on_progress(k + 1, len(budgets))
    return chosen


def random_assignments(
    matrix: SensitivityMatrix, avg_bits: float, n: int, /, *, seed: int = 0
) -> list[BitWidths]:
    """Assignments of nearly one size, each bit-width as likely as a random mixture says.

    Args:
        matrix: Its layers and menu; of weights alone.
        avg_bits: Average bits per searched weight, met within ``SAME_SIZE``.
        n: How many; fewer where so few are found.
        seed: Draws them.
    """
    draw, menu = np.random.default_rng(seed), np.array(matrix.bit_widths)
    weights = np.array([layer.n_weights for layer in matrix.layers.layers])
    found: dict[BitWidths, None] = {}
    for _ in range(MOST_DRAWS):
        bits = draw.choice(menu, size=len(weights), p=draw.dirichlet(np.ones(len(menu))))
        if abs(bits @ weights / weights.sum() / avg_bits - 1) <= SAME_SIZE:
            found[tuple(int(b) for b in bits)] = None
        if len(found) == n:
            break
    return list(found)


def surrogates(
    matrix: SensitivityMatrix, gram: SensitivityMatrix, /
) -> dict[str, SensitivityMatrix]:
    """What each method minimizes, all methods but uniform.

    Raises:
        InputError: The two were not measured alike, or the diagonals of HAWQ or MPQCO are missing.
    """
    same = (matrix.layers.names, matrix.bit_widths, matrix.scheme)
    if same != (gram.layers.names, gram.bit_widths, gram.scheme):
        raise InputError(
            f"'{gram.name}' and '{matrix.name}' differ in layers, bit-widths or quantizer; "
            "measure both in the same way."
        )
    found = {
        CLADO: matrix,
        "clado-psd": matrix.project_psd(),
        "logit-gram": gram,
        **{
            method: surrogate_matrix(matrix, method=method)
            for method in (DIAGONAL, BLOCK, *MEASURED_ALONG)
        },
    }
    error = matrix.standard_error()
    if error is not None:
        found["clado-shrunk"] = _shrunk(matrix, error)
    return {method: found[method] for method in METHODS if method in found}


def _shrunk(matrix: SensitivityMatrix, error: npt.NDArray[np.float64]) -> SensitivityMatrix:
    """Each interaction times max(0, 1 − (standard error / entry)²), the diagonal as it is.

    Source: positive-part James and Stein, 1961, entry by entry.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.nan_to_num(1 - (error / matrix.G) ** 2, nan=0.0, neginf=0.0)
    factor = np.maximum(kept, 0.0)
    np.fill_diagonal(factor, 1.0)
    return matrix.with_G(matrix.G * factor)


def _uniform(matrix: SensitivityMatrix) -> Iterator[Choice]:
    for b in matrix.bit_widths:
        bits = (b,) * matrix.n_layers
        yield choice_of(matrix, UNIFORM, float(b), bits, SolveStatus.OPTIMAL)


def choice_of(
    matrix: SensitivityMatrix, method: str, budget: float, bits: BitWidths, status: SolveStatus, /
) -> Choice:
    """An assignment as a method's choice within a budget (average bits), scored on the matrix."""
    assignment = AllocationProblem(matrix).assignment(bits)
    return Choice(
        method,
        budget,
        bits,
        assignment.avg_bits,
        assignment.size_bytes,
        matrix.predicted_loss_increase(bits),
        status.code,
    )

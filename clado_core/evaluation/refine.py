"""Choose by measured loss: the prediction's best assignments and their neighbours are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clado_core.allocation.k_best import k_best, neighbours
from clado_core.allocation.methods import allocate
from clado_core.errors import InputError
from clado_core.evaluation.evaluator import Evaluator
from clado_core.networks.measured import load_measured, measured_samples
from clado_core.networks.placement import choose_device, place_for
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.program import compile_program
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import MEASURED_ALONG
from clado_core.records.scheme import BitWidths
from clado_core.repairs.database import measured_candidates
from clado_core.solvers.shifts import ConvexifyingShifts

MAX_ROUNDS = 12
"""Times that the search may move on to a better neighbour's neighbours."""
TIME_LIMIT_S = 10.0
"""Of each solve: what is not proven by then is run all the same."""
SCREENED = 12
"""For each neighbour that is run, so many are run on a part of the images."""
SCREEN_SHARE, SCREEN_LEAST = 8, 64
"""That part: one in so many of the images, and no fewer than this."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """What choosing by measured loss found.

    Args:
        assignment: The one of least measured loss.
        loss: Its mean loss on the images it was chosen by.
        predicted_best: The assignment of least predicted loss, where the search started.
        predicted_best_loss: Measured likewise.
        evaluated: How many assignments were run on all images.
        screened: How many were run on a part of them, to say which deserve all.
    """

    assignment: Assignment
    loss: float
    predicted_best: Assignment
    predicted_best_loss: float
    evaluated: int
    screened: int


def refine(
    problem: AllocationProblem,
    evaluator: Evaluator,
    /,
    *,
    k: int,
    shifts: ConvexifyingShifts | None = None,
    time_limit_s: float = TIME_LIMIT_S,
    on_progress: Callable[[int, int], None] | None = None,
) -> Refinement:
    """Run the k best assignments and what other methods choose; then neighbours of the best.

    Other methods are those that need no more than the matrix. Neighbours are one move or one swap
    away, within the budgets. The best of them by predicted loss are run on a part of the images,
    and the k best of these on all; so on from a better one, until there is none.

    Args:
        problem: Its budgets and wishes hold for everything that is run.
        evaluator: Of the measured network, on the sensitivity set.
        k: How many of the best, and of each one's neighbours, are run on all images.
        shifts: As for DaqpSolver.
        time_limit_s: Of finding the k best by prediction, and of each other method; where the k
            are not proven within it, neighbours of the best known take their place.
        on_progress: Called with (assignments run, of so many so far; a better one adds its
            neighbours).
    """
    ranked = _ranked(problem, k, shifts, time_limit_s)
    runs = _Runs(evaluator, on_progress)
    best = runs.best_first([*ranked, *_rivals(problem, time_limit_s)])[0]
    for _ in range(MAX_ROUNDS):
        around = [b for b in _around(problem, best, SCREENED * k) if b not in runs.measured]
        deserving = runs.best_first(around, screen=True)[:k]
        before, best = best, runs.best_first([best, *deserving])[0]
        if best == before:
            break
    return runs.refinement(problem, best, ranked[0])


class _Runs:
    """Losses of the assignments that were run, on all images and on a part of them."""

    def __init__(
        self, evaluator: Evaluator, on_progress: Callable[[int, int], None] | None
    ) -> None:
        self._evaluator, self._on_progress = evaluator, on_progress
        self._screen = evaluator.on_first(max(SCREEN_LEAST, len(evaluator) // SCREEN_SHARE))
        self.measured: dict[BitWidths, float] = {}
        self.screened: dict[BitWidths, float] = {}

    def best_first(
        self, candidates: Sequence[BitWidths], *, screen: bool = False
    ) -> list[BitWidths]:
        """Run those not known yet, on all images or on the part; sorted by that loss."""
        evaluator = self._screen if screen else self._evaluator
        losses = self.screened if screen else self.measured
        left = [bits for bits in dict.fromkeys(candidates) if bits not in losses]
        total = self._done() + len(left)
        for bits in left:
            losses[bits] = evaluator.outcomes(bits).loss
            if self._on_progress is not None:
                self._on_progress(self._done(), total)
        return sorted(candidates, key=lambda bits: losses[bits])

    def refinement(
        self, problem: AllocationProblem, best: BitWidths, predicted_best: BitWidths
    ) -> Refinement:
        """What was found, once both have been run on all images."""
        return Refinement(
            problem.assignment(best),
            self.measured[best],
            problem.assignment(predicted_best),
            self.measured[predicted_best],
            len(self.measured),
            len(self.screened),
        )

    def _done(self) -> int:
        return len(self.measured) + len(self.screened)


def _ranked(
    problem: AllocationProblem, k: int, shifts: ConvexifyingShifts | None, time_limit_s: float
) -> list[BitWidths]:
    """The k best by prediction, neighbours of the best in place of those not proven in time."""
    found = [
        s.assignment.bits for s in k_best(problem, k=k, shifts=shifts, time_limit_s=time_limit_s)
    ]
    return found if len(found) == k else [*found, *_around(problem, found[0], k - len(found))]


def sensitivity_evaluator(
    matrix: SensitivityMatrix,
    /,
    *,
    model: str | None = None,
    weights: str | None = None,
    data: str | None = None,
    artifact: Path | None = None,
    allow_noise: bool = False,
) -> Evaluator:
    """Runs the network that was measured, on the images and with the candidates of the measurement.

    Args:
        matrix: The artifact.
        model: The network, where the artifact does not name it.
        weights: As for ``load_model``, where they are not those that the artifact names.
        data: As for ``load_data``, where the artifact does not name it.
        artifact: Where the matrix is stored, beside its candidates.
        allow_noise: As for ``Evaluator``.

    Raises:
        InputError: The network or the data is not named, or the data gives other images than were
            measured on.
        ArtifactError: The weights are others than were measured.
    """
    about = matrix.provenance
    if None in (model or about.model, data or about.data, about.n_samples):
        raise InputError(
            f"'{matrix.name}' does not say which network and data it was measured with: give "
            "the model and the data."
        )
    loaded = load_measured(matrix, model=model, weights=weights)
    samples = measured_samples(loaded, matrix, data=data)
    place_for(loaded.module, choose_device("auto"), samples.x)
    candidates = measured_candidates(matrix, loaded, artifact=artifact, data=data)
    return Evaluator(loaded.module, matrix, samples, allow_noise=allow_noise, candidates=candidates)


def _rivals(problem: AllocationProblem, time_limit_s: float) -> Iterator[BitWidths]:
    """What the other methods choose that this matrix was measured for."""
    measured_along = [name for name in MEASURED_ALONG if name in problem.matrix.diagonals]
    for method in ("diagonal", "block", *measured_along):
        yield allocate(problem, method=method, time_limit_s=time_limit_s).assignment.bits
    yield allocate(problem, psd=True, time_limit_s=time_limit_s).assignment.bits


def _around(problem: AllocationProblem, bits: BitWidths, k: int) -> Iterator[BitWidths]:
    """The k best feasible neighbours of an assignment by predicted loss, best first."""
    program = compile_program(problem)
    found = neighbours(program, program.choice_of(bits), k)
    for choice in sorted(found, key=lambda other: found[other])[:k]:
        yield program.layer_bits(np.array(choice, dtype=np.int64))

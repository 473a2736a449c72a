"""Choose by measured loss: the prediction's best assignments and their neighbours are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from clado_core.baselines import MEASURED_ALONG, allocate
from clado_core.datasets import load_data
from clado_core.errors import InputError
from clado_core.inference import choose_device, place
from clado_core.matrix import SensitivityMatrix
from clado_core.models import load_model, require_weights
from clado_core.outcomes import Evaluator
from clado_core.problem import AllocationProblem
from clado_core.program import compile_program
from clado_core.scheme import BitWidths
from clado_core.solution import Assignment
from clado_core.solvers.certificate import Certificate
from clado_core.solvers.k_best import k_best, neighbours

MAX_ROUNDS = 4
"""Times that the search may move on to a better neighbour's neighbours."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """What choosing by measured loss found.

    Args:
        assignment: The one of least measured loss.
        loss: Its mean loss on the images it was chosen by.
        predicted_best: The assignment of least predicted loss, where the search started.
        predicted_best_loss: Measured likewise.
        evaluated: How many assignments were run.
    """

    assignment: Assignment
    loss: float
    predicted_best: Assignment
    predicted_best_loss: float
    evaluated: int


def refine(
    problem: AllocationProblem,
    evaluator: Evaluator,
    /,
    *,
    k: int,
    certificate: Certificate | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Refinement:
    """Run the k best assignments and what other methods choose; then neighbours of the best.

    Other methods are those that need no more than the matrix. Neighbours are one move or one swap
    away, within the budgets, ranked by predicted loss; the k best are run, and so on from a better
    one.

    Args:
        problem: Its budgets and wishes hold for everything that is run.
        evaluator: Of the measured network, on the sensitivity set.
        k: How many of the best, and of each one's neighbours, are run.
        certificate: As for DaqpSolver.
        on_progress: Called with (assignments run, most that may be).
    """
    ranked = [each.assignment.bits for each in k_best(problem, k=k, certificate=certificate)]
    rivals = list(_rivals(problem))
    most = len(rivals) + k * (1 + MAX_ROUNDS)
    measured: dict[BitWidths, float] = {}

    def run(candidates: Iterator[BitWidths] | list[BitWidths]) -> BitWidths:
        for bits in candidates:
            if bits not in measured:
                measured[bits] = evaluator.outcomes(bits).loss
                if on_progress is not None:
                    on_progress(len(measured), most)
        return min(measured, key=lambda bits: measured[bits])

    before, best, rounds = None, run(ranked + rivals), 0
    while best != before and rounds < MAX_ROUNDS:
        before, best, rounds = best, run(_around(problem, best, k)), rounds + 1
    return Refinement(
        problem.assignment(best),
        measured[best],
        problem.assignment(ranked[0]),
        measured[ranked[0]],
        len(measured),
    )


def sensitivity_evaluator(
    matrix: SensitivityMatrix,
    /,
    *,
    model: str | None = None,
    weights: str | None = None,
    data: str | None = None,
) -> Evaluator:
    """Runs the network that was measured, on the images it was measured on.

    Args:
        matrix: The artifact.
        model: The network, where the artifact does not name it.
        weights: As for ``load_model``.
        data: As for ``load_data``, where the artifact does not name it.

    Raises:
        InputError: The network or the data is not named, or the data's training part gives other
            images than were measured on.
        ArtifactError: The weights are others than were measured.
    """
    about = matrix.provenance
    spec, source = model or about.model, data or about.data
    if spec is None or source is None or about.n_samples is None:
        raise InputError(
            f"'{matrix.name}' does not say which network and data it was measured with: give "
            "--model and --data."
        )
    loaded = load_model(spec, weights)
    require_weights(loaded, matrix)
    place(loaded.module, choose_device("cpu"))
    samples = load_data(source).sensitivity_set(about.n_samples, seed=about.seed or 0)
    if about.data_sha256 not in (None, samples.digest):
        raise InputError(
            f"The images of {source} are not those '{matrix.name}' was measured on; give the "
            "same data."
        )
    return Evaluator(loaded.module, matrix, samples)


def _rivals(problem: AllocationProblem) -> Iterator[BitWidths]:
    """What the other methods choose that this matrix was measured for."""
    measured_along = [name for name in MEASURED_ALONG if name in problem.matrix.diagonals]
    for method in ("diagonal", "block", *measured_along):
        yield allocate(problem, method=method).assignment.bits
    yield allocate(problem, psd=True).assignment.bits


def _around(problem: AllocationProblem, bits: BitWidths, k: int) -> Iterator[BitWidths]:
    """The k best feasible neighbours of an assignment by predicted loss, best first."""
    program = compile_program(problem)
    found = neighbours(program, program.choice_of(bits), k)
    for choice in sorted(found, key=lambda other: found[other])[:k]:
        yield program.layer_bits(np.array(choice, dtype=np.int64))

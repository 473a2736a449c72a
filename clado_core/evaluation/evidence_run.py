"""Make evidence: measure what is not there yet, then evaluate every choice on held-out images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from clado_core._version import __version__
from clado_core.allocation.stored import load_shifts, save_shifts
from clado_core.data.sources import Samples
from clado_core.evaluation.evaluator import Evaluator
from clado_core.evaluation.refine import refine
from clado_core.evidence.choices import REFERENCES, Choice, choice_of
from clado_core.evidence.record import Evidence, Outcome
from clado_core.evidence.significance import mcnemar
from clado_core.networks.load import LoadedModel, require_weights
from clado_core.networks.measured import origin_of
from clado_core.problem.allocation_problem import AllocationProblem, bits_for_average
from clado_core.problem.solution import SolveStatus
from clado_core.quantization.candidate import CandidateTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import REFINED, LayerSelection
from clado_core.records.scheme import BitWidths
from clado_core.sensitivity import (
    MeasurementSettings,
    layers_of,
    measure_into,
    measured_before,
)
from clado_core.solvers.shifts import ConvexifyingShifts, compute_shifts

OnProgress = Callable[[int, int], None]


def measured(
    path: Path,
    model: LoadedModel,
    samples: Samples,
    settings: MeasurementSettings,
    /,
    *,
    selection: LayerSelection,
    seed: int,
    candidates: CandidateTable | None = None,
    on_progress: OnProgress,
) -> SensitivityMatrix:
    """The artifact at a path; measured and stored now where there is none.

    Args:
        path: Ends in ``.clado``; losses of a stopped measurement are kept beside it.
        model: The network; an artifact that is there must be of its weights.
        samples: The sensitivity set that ``seed`` drew.
        settings: How to measure; an artifact that is there must have been measured so.
        selection: As for ``find_layers``.
        candidates: As for ``measure``.
        on_progress: Called with (losses known, losses in all so far).

    Raises:
        InputError, ArtifactError: The artifact that is there is of something else.
    """
    layers = layers_of(model.module, samples, selection=selection)
    if path.is_file():
        how = None if candidates is None else candidates.calibration
        matrix = measured_before(path, layers, samples, settings, seed=seed, calibration=how)
        require_weights(model, matrix)
        return matrix
    return measure_into(
        *(path, model.module, layers, samples),
        settings=settings,
        name=path.stem,
        origin=origin_of(model, seed=seed),
        on_progress=on_progress,
        candidates=candidates,
    )


def shifts_of(
    path: Path, matrix: SensitivityMatrix, /, *, on_progress: OnProgress
) -> ConvexifyingShifts:
    """The convexification beside an artifact; made and stored now where there is none."""
    known = load_shifts(path)
    if known is None:
        known = compute_shifts(
            matrix, on_progress=lambda made, total: on_progress(len(made.sizes_bits), total)
        )
        save_shifts(known, path)
    return known


def refined(
    model: LoadedModel,
    matrix: SensitivityMatrix,
    samples: Samples,
    budgets: Sequence[float],
    /,
    *,
    k: int,
    shifts: ConvexifyingShifts,
    cache: Path | None = None,
    method: str = REFINED,
    scored_by: SensitivityMatrix | None = None,
    candidates: CandidateTable | None = None,
    allow_noise: bool = False,
    on_progress: OnProgress | None = None,
) -> list[Choice]:
    """At each budget, the assignment of least measured loss on images to choose by.

    Args:
        model: The network that was measured.
        matrix: What predicts losses.
        samples: Never those that accuracy is reported on.
        budgets: Average bits per searched weight.
        k: As for ``refine``.
        shifts: Of the matrix.
        cache: As for ``Evaluator``, likewise ``candidates`` and ``allow_noise``.
        method: Its name; ``scored_by`` predicts loss increases, ``matrix`` where None.
        on_progress: Called with (budgets done, budgets in all).
    """
    inside, scored = (model.module, matrix, samples), scored_by or matrix
    evaluator = Evaluator(*inside, cache=cache, allow_noise=allow_noise, candidates=candidates)
    found = []
    for done, budget in enumerate(budgets, start=1):
        limit = bits_for_average(budget, matrix.layers)
        problem = AllocationProblem(matrix, budget_bits=limit)
        best = refine(problem, evaluator, k=k, shifts=shifts).assignment
        found.append(choice_of(scored, method, budget, best.bits, SolveStatus.HEURISTIC))
        if on_progress is not None:
            on_progress(done, len(budgets))
    return found


def evaluated(
    model: LoadedModel,
    matrix: SensitivityMatrix,
    images: tuple[Samples, Samples],
    choices: Sequence[Choice],
    /,
    *,
    digests: dict[str, str],
    cache: Path | None = None,
    allow_noise: bool = False,
    on_progress: OnProgress | None = None,
) -> Evidence:
    """Quantize every choice for real and run it.

    Args:
        model: The network that was measured.
        matrix: What predicts losses.
        images: The sensitivity set, and images neither trained nor measured on.
        choices: Equal assignments are run once.
        digests: Of the artifacts, by what they are.
        cache: As for ``Evaluator``, likewise ``allow_noise``.
        allow_noise: Run a network whose outputs differ from run to run, with a warning.
        on_progress: Called with (assignments done, assignments in all).
    """
    samples, held_out = images
    evaluator = Evaluator(model.module, matrix, held_out, cache=cache, allow_noise=allow_noise)
    seen = evaluator.on(samples)
    reference = evaluator.outcomes(None)
    _run_all((evaluator, seen), choices, on_progress)
    return Evidence(
        name=matrix.name,
        network=model.spec,
        digests={"weights": model.weights_sha256, "data": held_out.digest, **digests},
        n=len(held_out),
        float_top1=reference.top1,
        float_loss=reference.loss,
        outcomes=tuple(_outcomes(choices, evaluator, seen)),
        versions={"clado_core": __version__, "torch": torch.__version__},
    )


def _run_all(
    evaluators: tuple[Evaluator, ...], choices: Sequence[Choice], on_progress: OnProgress | None
) -> None:
    def is_known(bits: BitWidths) -> bool:
        return all(evaluator.is_known(bits) for evaluator in evaluators)

    wanted = list(dict.fromkeys(choice.bits for choice in choices))
    wanted.sort(key=is_known, reverse=True)
    if on_progress is not None:
        on_progress(sum(map(is_known, wanted)), len(wanted))
    for k, bits in enumerate(wanted):
        for evaluator in evaluators:
            evaluator.outcomes(bits)
        if on_progress is not None:
            on_progress(k + 1, len(wanted))


def _outcomes(choices: Sequence[Choice], evaluator: Evaluator, seen: Evaluator) -> list[Outcome]:
    references = {(c.method, c.budget): c.bits for c in choices if c.method in REFERENCES}
    found = []
    for choice in sorted(choices, key=lambda each: each.budget):
        outcomes = evaluator.outcomes(choice.bits)
        paired = {
            method: mcnemar(evaluator.outcomes(bits).right, outcomes.right)
            for (method, budget), bits in references.items()
            if budget == choice.budget and method != choice.method
        }
        seen_loss = seen.outcomes(choice.bits).loss
        said = (outcomes.top1, outcomes.ci95, outcomes.loss, seen_loss, paired)
        found.append(Outcome(choice, *said))
    return found

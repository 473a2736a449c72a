"""Run what was chosen: accuracy of a choice, and the choice of least measured loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix
from clado_core.solvers.shifts import ConvexifyingShifts

if TYPE_CHECKING:
    from torch import nn

    from clado_core.evaluation.evaluate import Evaluation
    from clado_core.evaluation.refine import Refinement


class Chosen(Protocol):
    """What holds an assignment: a Solution, a Refinement, a Configuration."""

    @property
    def assignment(self) -> Assignment:
        """One bit-width per layer."""


def assignment_of(choice: Assignment | Chosen, /) -> Assignment:
    """The bit-widths of a choice."""
    return choice if isinstance(choice, Assignment) else choice.assignment


def evaluate(
    module: nn.Module,
    choice: Assignment | Chosen,
    data: object,
    /,
    *,
    matrix: SensitivityMatrix | None = None,
    n_samples: int | None = None,
    batch_size: int | None = None,
    allow_noise: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Quantize a network as chosen, run images through it, and put its weights back.

    Args:
        module: The network that was measured.
        choice: An Assignment, or what holds one, such as a Solution; a Repaired runs as shipped.
        data: As for ``measure``; neither trained nor measured on.
        matrix: What was measured: weights are compared with it, quantized inputs need its ranges.
        n_samples: Use the first so many; all where None.
        batch_size: Samples per forward.
        allow_noise: Run a network whose outputs differ from run to run, with a warning.
        on_progress: Called with (batches done, batches in all).

    Raises:
        InputError: The data cannot be used.
        ArtifactError: The weights are others than were measured.
        MeasurementError: The network cannot run the data, or gives other outputs each time.
    """
    from clado_core.data.in_memory import as_samples
    from clado_core.evaluation.evaluate import evaluate
    from clado_core.networks.placement import default_batch_size, placed
    from clado_core.repairs.repaired import Repaired

    require_measured(module, matrix)
    samples = as_samples(data, n=n_samples)
    chosen = choice if isinstance(choice, Repaired) else assignment_of(choice)
    task = partial(evaluate, matrix=matrix, allow_noise=allow_noise, on_progress=on_progress)
    with placed(module, samples.x) as device:
        return task(module, chosen, samples, batch_size=batch_size or default_batch_size(device))


def refine(
    problem: AllocationProblem,
    module: nn.Module,
    data: object,
    /,
    *,
    k: int = 8,
    n_samples: int | None = None,
    calibration: object = None,
    shifts: ConvexifyingShifts | None = None,
    time_limit_s: float = 10.0,
    allow_noise: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Refinement:
    """Choose by measured loss among the best by prediction, other methods' choices, neighbours.

    Args:
        problem: Its budgets and wishes hold for everything that is run.
        module: The network that was measured; afterwards as it was.
        data: As for ``measure``, best the same; never images that accuracy is reported on.
        k: How many of the best, and of each one's neighbours, are run on all images.
        n_samples: Use the first so many; all where None.
        calibration: As for ``measure``, where repaired weights were measured.
        shifts: Of the matrix, for faster proofs.
        time_limit_s: Of each solve.
        allow_noise: Run a network whose outputs differ from run to run, with a warning.
        on_progress: Called with (assignments run, of so many so far).

    Returns:
        The assignment of least measured loss, which ``evaluate``, ``repair`` and ``export`` take.

    Raises:
        InputError, ArtifactError, MeasurementError: As for ``evaluate``.
    """
    how = {"k": k, "shifts": shifts, "time_limit_s": time_limit_s, "on_progress": on_progress}
    return _refined(problem, module, (data, n_samples, calibration), allow_noise, how)


def _refined(
    problem: AllocationProblem,
    module: nn.Module,
    images: tuple[object, int | None, object],
    allow_noise: bool,
    how: dict[str, Any],
) -> Refinement:
    from clado_core.data.in_memory import as_samples, calibration_images
    from clado_core.evaluation.evaluator import Evaluator
    from clado_core.evaluation.refine import refine
    from clado_core.networks.placement import placed
    from clado_core.repairs.database import recalibrated

    require_measured(module, matrix := problem.matrix)
    data, n_samples, calibration = images
    samples = as_samples(data, n=n_samples)
    with placed(module, samples.x):
        made = recalibrated(matrix, module, calibration_images(samples, calibration))
        inside = (module, matrix, samples)
        return refine(problem, Evaluator(*inside, allow_noise=allow_noise, candidates=made), **how)


def require_measured(module: nn.Module, matrix: SensitivityMatrix | None, /) -> None:
    """Make sure that a network has the weights that a matrix was measured on.

    Raises:
        ArtifactError: It has others.
    """
    from clado_core.networks.load import require_digest, state_digest

    if matrix is not None:
        require_digest(state_digest(module), matrix, of="the network given")

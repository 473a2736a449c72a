"""The smallest choice within a measured drop of accuracy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from clado_core.allocation.frontier import Frontier
from clado_core.files.outcomes import keep_outcome, read_outcomes
from clado_core.library.evaluate import require_measured
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import MeasuredAs, Rounding

if TYPE_CHECKING:
    from torch import nn

    from clado_core.evaluation.smallest import SmallestWithin
    from clado_core.repairs.repairer import Repairer


class How(TypedDict, total=False):
    """How choices are run.

    Args:
        rounding: "nearest", "gptq" or "adaround" ("adaround" where it is not given).
        batch_size: Samples per forward.
        allow_noise: Run a network whose outputs differ from run to run, with a warning.
    """

    rounding: Rounding
    batch_size: int
    allow_noise: bool


def smallest_within(
    matrix: SensitivityMatrix,
    front: Frontier,
    module: nn.Module,
    data: object,
    /,
    *,
    max_drop: float,
    measured_as: MeasuredAs = "repaired",
    repair_data: object = None,
    held_out: object = None,
    artifact: str | Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    **how: Unpack[How],
) -> SmallestWithin:
    """Search a front for the smallest choice whose measured top-1 drop is at most so much.

    Args:
        matrix: What was measured.
        front: As of ``sweep``; about log₂ of its choices are run, those between them are not.
        module: The network that was measured; afterwards as it was.
        data: Labelled images to choose by, as for ``measure``: not those measured on or repaired
            with, never those that accuracy is reported on. The network may know them.
        max_drop: Against the float network on the same images, in percentage points, as in 1.0.
        measured_as: "repaired", or "rounded" to nearest and nothing else.
        repair_data: Training images to repair with, as for ``repair``.
        held_out: Labelled images on which the answer, and nothing else, is run once.
        artifact: Where the matrix is stored: measurements are kept beside it, and known ones used.
        on_progress: Called with (choices run, about how many in all).
        how: ``rounding``, ``batch_size`` and ``allow_noise``, as for ``repair``.

    Returns:
        What ``evaluate``, ``repair`` and ``export`` take as a choice, with all that was measured.

    Raises:
        InputError, ArtifactError, MeasurementError: As for ``repair``; no choice keeps the drop.
    """
    options = {"max_drop": max_drop, "measured_as": measured_as, "on_progress": on_progress}
    return _search(matrix, front, module, (data, repair_data, held_out), artifact, how, **options)


def _search(
    matrix: SensitivityMatrix,
    front: Frontier,
    module: nn.Module,
    images: tuple[object, object, object],
    artifact: str | Path | None,
    how: How,
    /,
    **options: Any,
) -> SmallestWithin:
    from clado_core.data.in_memory import as_samples
    from clado_core.evaluation.choice_runner import ChoiceRunner
    from clado_core.evaluation.smallest import smallest_within
    from clado_core.networks.placement import default_batch_size, placed

    require_measured(module, matrix)
    data, repair_data, held_out = images
    samples = as_samples(data)
    with placed(module, samples.x) as device:
        how = {"batch_size": default_batch_size(device), **how}
        runner = ChoiceRunner(
            *(module, matrix, samples, _repairer(module, matrix, repair_data, how)),
            known=() if artifact is None else read_outcomes(artifact, matrix),
            keep=None if artifact is None else partial(keep_outcome, artifact, matrix),
            batch_size=how["batch_size"],
            allow_noise=how.get("allow_noise", False),
        )
        confirm = None if held_out is None else partial(runner.on, as_samples(held_out))
        return smallest_within(front, runner, confirm=confirm, **options)


def _repairer(
    module: nn.Module, matrix: SensitivityMatrix, data: object, how: How, /
) -> Repairer | None:
    from clado_core.data.in_memory import as_samples
    from clado_core.repairs.repair import halves
    from clado_core.repairs.repairer import Repairer

    if data is None:
        return None
    return Repairer(module, matrix, *halves(as_samples(data, labels=False)), **how)

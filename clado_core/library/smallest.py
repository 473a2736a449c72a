"""The smallest choice within a measured drop of accuracy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clado_core.allocation.frontier import Frontier
from clado_core.files.outcomes import keep_outcome, read_outcomes
from clado_core.library.evaluate import require_measured
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import MeasuredAs, Rounding

if TYPE_CHECKING:
    from torch import nn

    from clado_core.evaluation.smallest import SmallestWithin
    from clado_core.repairs.repairer import Repairer


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
    rounding: Rounding = "adaround",
    artifact: str | Path | None = None,
    batch_size: int | None = None,
    allow_noise: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> SmallestWithin:
    """Search a front for the smallest choice whose measured top-1 drop is at most so much.

    About log₂ of the front's choices are run; those between them are not. The drop is against the
    float network on the same images, so images that the network was trained on will do.

    Args:
        matrix: What was measured.
        front: As of ``sweep``.
        module: The network that was measured; afterwards as it was.
        data: Labelled images to choose by, as for ``measure``: others than were measured on or are
            repaired with, never those that accuracy is reported on.
        max_drop: In percentage points, as in 1.0.
        measured_as: "repaired", or "rounded" to nearest and nothing else.
        repair_data: Training images to repair with, as for ``repair``; not needed for "rounded".
        held_out: Labelled images on which the answer, and nothing else, is run once.
        rounding: As for ``repair``.
        artifact: Where the matrix is stored: what is measured is kept beside it, and a search that
            was stopped continues.
        batch_size: Samples per forward.
        allow_noise: As for ``evaluate``.
        on_progress: Called with (choices run, about how many in all).

    Returns:
        What ``evaluate``, ``repair`` and ``export`` take as a choice, with all that was measured.

    Raises:
        InputError: The data cannot be used, or no choice that was run keeps within the drop.
        ArtifactError, MeasurementError: As for ``evaluate``.
    """
    from clado_core.data.in_memory import as_samples
    from clado_core.evaluation.choice_runner import ChoiceRunner
    from clado_core.evaluation.smallest import smallest_within
    from clado_core.networks.placement import default_batch_size, placed

    require_measured(module, matrix)
    samples = as_samples(data)
    with placed(module, samples.x) as device:
        size = batch_size or default_batch_size(device)
        options = partial(_repairer, rounding=rounding, batch_size=size, allow_noise=allow_noise)
        runner = ChoiceRunner(
            *(module, matrix, samples, options(module, matrix, repair_data)),
            known=() if artifact is None else read_outcomes(artifact, matrix),
            keep=None if artifact is None else partial(keep_outcome, artifact, matrix),
            batch_size=size,
            allow_noise=allow_noise,
        )
        confirm = None if held_out is None else partial(runner.on, as_samples(held_out))
        search = partial(smallest_within, max_drop=max_drop, measured_as=measured_as)
        return search(front, runner, confirm=confirm, on_progress=on_progress)


def _repairer(
    module: nn.Module,
    matrix: SensitivityMatrix,
    data: object,
    /,
    *,
    rounding: Rounding,
    batch_size: int,
    allow_noise: bool,
) -> Repairer | None:
    from clado_core.data.in_memory import as_samples
    from clado_core.repairs.repair import halves
    from clado_core.repairs.repairer import Repairer

    if data is None:
        return None
    images = halves(as_samples(data, labels=False))
    make = partial(Repairer, rounding=rounding, batch_size=batch_size, allow_noise=allow_noise)
    return make(module, matrix, *images)

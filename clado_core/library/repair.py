"""Make the network that is shipped of a choice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clado_core.library.evaluate import Chosen, assignment_of, require_measured
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import Rounding

if TYPE_CHECKING:
    from torch import nn

    from clado_core.repairs.repaired import Repaired


def repair(
    matrix: SensitivityMatrix,
    choice: Assignment | Chosen,
    module: nn.Module,
    data: object,
    /,
    *,
    rounding: Rounding = "adaround",
    finetune: int = 0,
    state: str | Path | None = None,
    n_samples: int | None = None,
    batch_size: int | None = None,
    allow_noise: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    on_finetuning: Callable[[int, int], None] | None = None,
) -> Repaired:
    """Better integers and statistics for a choice, in the same bytes; labels are not used.

    Args:
        matrix: What was measured.
        choice: An Assignment, or what holds one.
        module: The network that was measured; afterwards as it was.
        data: Training images, as for ``measure``; one half calibrates, the other judges.
        rounding: "nearest", "gptq" or "adaround".
        finetune: Epochs of fine-tuning on the calibrating half, distilled from the float network;
            0 leaves it out.
        state: File that keeps a stopped fine-tuning, for the same call to continue; removed at the
            end.
        n_samples: Use the first so many.
        batch_size: Samples per forward.
        allow_noise: As for ``evaluate``.
        on_progress: Called with (layers rounded, layers in all).
        on_finetuning: Called with (images done, images in all).

    Returns:
        What ``evaluate`` and ``export`` take in place of the choice; they raise what this does.
    """
    from clado_core.data.in_memory import as_samples
    from clado_core.networks.placement import default_batch_size, placed
    from clado_core.repairs.finetune import Finetuning
    from clado_core.repairs.repair import halves, repair

    require_measured(module, matrix)
    calibration, judges = halves(as_samples(data, n=n_samples, labels=False))
    kept = None if state is None else Path(state)
    plan = None
    if finetune:
        plan = Finetuning(finetune, calibration, state=kept, on_images=on_finetuning)
    with placed(module, judges.x) as device:
        size = batch_size or default_batch_size(device)
        task = partial(repair, rounding=rounding, batch_size=size, allow_noise=allow_noise)
        choices = (assignment_of(choice), calibration, judges)
        found = task(module, matrix, *choices, finetuning=plan, on_progress=on_progress)
    if plan and kept:
        kept.unlink(missing_ok=True)
    return found

"""Make the network that is shipped of a choice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from clado_core.library.evaluate import Chosen, assignment_of, require_measured
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import Rounding

if TYPE_CHECKING:
    from torch import nn

    from clado_core.data.sources import Samples
    from clado_core.repairs.finetune import Finetuning
    from clado_core.repairs.repaired import Repaired

OnProgress: TypeAlias = Callable[[int, int], None]


def repair(
    matrix: SensitivityMatrix,
    choice: Assignment | Chosen,
    module: nn.Module,
    data: object,
    /,
    *,
    rounding: Rounding = "adaround",
    reconstruct: bool = False,
    finetune: int = 0,
    state: str | Path | None = None,
    n_samples: int | None = None,
    batch_size: int | None = None,
    allow_noise: bool = False,
    on_progress: OnProgress | None = None,
) -> Repaired:
    """Better integers and statistics for a choice, in the same bytes; labels are not used.

    Args:
        matrix: What was measured.
        choice: An Assignment, or what holds one.
        module: The network that was measured; afterwards as it was.
        data: Training images, as for ``measure``; one half calibrates, the other judges.
        rounding: "nearest", "gptq" or "adaround".
        reconstruct: Then learn block after block to answer as the float network's does.
        finetune: Epochs of fine-tuning on the calibrating half; 0 leaves it out.
        state: File that keeps a stopped one for the same call to continue; removed at the end.
        n_samples: Use the first so many.
        batch_size: Samples per forward; ``allow_noise``: as for ``evaluate``.
        on_progress: Called with (layers rounded, in all), (blocks done, in all), (images, in all).

    Returns:
        What ``evaluate`` and ``export`` take in place of the choice; they raise what this does.
    """
    require_measured(module, matrix)
    parts = _halves(data, n_samples)
    plan = _plan(finetune, parts[0], state, on_progress)
    how: dict[str, Any] = {"batch_size": batch_size, "allow_noise": allow_noise}
    task = partial(_repaired, plan, reconstruct, rounding, on_progress, how)
    return task(module, matrix, assignment_of(choice), parts)


def _halves(data: object, n: int | None) -> tuple[Samples, Samples]:
    from clado_core.data.in_memory import as_samples
    from clado_core.repairs.repair import halves

    return halves(as_samples(data, n=n, labels=False))


def _plan(
    epochs: int, images: Samples, state: str | Path | None, on_images: OnProgress | None
) -> Finetuning | None:
    """What is wrong with it is said before anything is computed."""
    from clado_core.repairs.finetune import Finetuning

    kept = None if state is None else Path(state)
    return Finetuning(epochs, images, state=kept, on_images=on_images) if epochs else None


def _repaired(
    plan: Finetuning | None,
    in_blocks: bool,
    rounding: Rounding,
    on_progress: OnProgress | None,
    how: dict[str, Any],
    module: nn.Module,
    matrix: SensitivityMatrix,
    assignment: Assignment,
    parts: tuple[Samples, Samples],
) -> Repaired:
    from clado_core.networks.placement import default_batch_size, placed
    from clado_core.repairs.finetune import finetune
    from clado_core.repairs.reconstruct import reconstruct
    from clado_core.repairs.repair import repair

    with placed(module, parts[0].x) as device:
        how["batch_size"] = how["batch_size"] or default_batch_size(device)
        task = partial(repair, rounding=rounding, on_progress=on_progress, **how)
        found = task(module, matrix, assignment, *parts)
        if in_blocks:
            found = reconstruct(module, matrix, found, *parts, on_block=on_progress, **how)
        if plan is None:
            return found
        tuned = finetune(module, matrix, found, parts[1], plan, **how)
    if plan.state is not None:
        plan.state.unlink(missing_ok=True)
    return tuned

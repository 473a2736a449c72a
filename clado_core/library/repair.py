"""Make the network that is shipped of a choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

    Each step is kept only where it lowers the divergence from the float network's outputs.

    Args:
        matrix: What was measured.
        choice: An Assignment, or what holds one.
        module: The network that was measured; afterwards as it was.
        data: Training images, as for ``measure``; one half calibrates, the other judges.
        rounding: "nearest", "gptq" or "adaround".
        reconstruct: Then learn block after block to answer as the float network's does.
        finetune: Epochs of fine-tuning on the calibrating half; 0 leaves it out.
        state: File that keeps a stopped one for the same call to continue; removed at the end.
        n_samples: Use the first so many; all where None.
        batch_size: Samples per forward.
        allow_noise: As for ``evaluate``.
        on_progress: Called with (layers rounded, in all), (blocks done, in all), (images, in all).

    Returns:
        What ``evaluate`` and ``export`` take in place of the choice; they raise what this does.
    """
    steps = _Steps(rounding, reconstruct, finetune, state, on_progress)
    how = {"batch_size": batch_size, "allow_noise": allow_noise}
    return steps.taken(module, matrix, assignment_of(choice), _halves(data, n_samples), how)


def _halves(data: object, n: int | None) -> tuple[Samples, Samples]:
    from clado_core.data.in_memory import as_samples
    from clado_core.repairs.repair import halves

    return halves(as_samples(data, n=n, labels=False))


@dataclass(frozen=True, slots=True)
class _Steps:
    """What is done, as ``repair`` is asked for it."""

    rounding: Rounding
    reconstruct: bool
    epochs: int
    state: str | Path | None
    on_progress: OnProgress | None

    def taken(
        self,
        module: nn.Module,
        matrix: SensitivityMatrix,
        assignment: Assignment,
        parts: tuple[Samples, Samples],
        how: dict[str, Any],
    ) -> Repaired:
        from clado_core.networks.placement import default_batch_size, placed
        from clado_core.repairs.finetune import finetune
        from clado_core.repairs.reconstruct import reconstruct
        from clado_core.repairs.repair import repair

        require_measured(module, matrix)
        # Made first: what is wrong with it is said before anything is computed.
        plan, told = self._plan(parts[0]), self.on_progress
        with placed(module, parts[0].x) as device:
            how = {**how, "batch_size": how["batch_size"] or default_batch_size(device)}
            task = partial(repair, rounding=self.rounding, on_progress=told, **how)
            found = task(module, matrix, assignment, *parts)
            if self.reconstruct:
                found = reconstruct(module, matrix, found, *parts, on_block=told, **how)
            if plan is not None:
                found = finetune(module, matrix, found, parts[1], plan, **how)
        if plan is not None and plan.state is not None:
            plan.state.unlink(missing_ok=True)
        return found

    def _plan(self, images: Samples) -> Finetuning | None:
        from clado_core.repairs.finetune import Finetuning

        if not self.epochs:
            return None
        kept = None if self.state is None else Path(self.state)
        return Finetuning(self.epochs, images, state=kept, on_images=self.on_progress)

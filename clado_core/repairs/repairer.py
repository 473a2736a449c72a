"""Repair several choices of one network with the same images."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import nn

from clado_core.data.sources import Samples
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.measured_choice import RepairSettings
from clado_core.records.names import Rounding
from clado_core.repairs.candidates import Candidates
from clado_core.repairs.database import VERSION
from clado_core.repairs.repair import candidates_of, repair
from clado_core.repairs.repaired import Repaired


class Repairer:
    """Makes what a layer becomes at a bit-width once, whatever number of choices ask for it.

    Args:
        model: The float network that was measured, on its device.
        matrix: What was measured.
        calibration: As for ``repair``.
        judges: As for ``repair``.
        rounding: "nearest", "gptq" or "adaround".
        candidates: Of the network, made with these calibration images and this rounding; made here
            when they are first needed where None.
        batch_size: Per forward.
        allow_noise: Run a network whose outputs differ from run to run, with a warning.
    """

    def __init__(
        self,
        model: nn.Module,
        matrix: SensitivityMatrix,
        calibration: Samples,
        judges: Samples,
        /,
        *,
        rounding: Rounding = "adaround",
        candidates: Candidates | None = None,
        batch_size: int = 64,
        allow_noise: bool = False,
    ) -> None:
        self._model, self._matrix = model, matrix
        self._images = calibration, judges
        self._rounding: Rounding = rounding
        self._batch_size, self._allow_noise = batch_size, allow_noise
        self._candidates = candidates

    @property
    def images(self) -> Samples:
        """All images that repairs are made with."""
        first, second = self._images
        x, y = torch.cat([first.x, second.x]), torch.cat([first.y, second.y])
        return replace(first, x=x, y=y)

    @property
    def settings(self) -> RepairSettings:
        """What makes a repair by another one the same."""
        digest = hashlib.sha256("\n".join(part.inputs_digest for part in self._images).encode())
        n = sum(map(len, self._images))
        return RepairSettings(self._rounding, 0, n, digest.hexdigest(), VERSION)

    def repair(self, assignment: Assignment, /) -> Repaired:
        """What a choice is shipped as; raises what ``repair`` does."""
        calibration, judges = self._images
        model, matrix = self._model, self._matrix
        if self._candidates is None:
            how = self._rounding, self._batch_size
            self._candidates = candidates_of(model, matrix, calibration, *how)
        return repair(
            *(model, matrix, assignment, calibration, judges),
            rounding=self._rounding,
            candidates=self._candidates,
            batch_size=self._batch_size,
            allow_noise=self._allow_noise,
        )

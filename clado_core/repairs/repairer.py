"""Repair several choices of one network with the same images."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from clado_core.data.sources import Samples
from clado_core.records.assignment import Assignment
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.measured_choice import RepairSettings
from clado_core.records.names import Rounding
from clado_core.records.scheme import weight_bits
from clado_core.repairs.candidates import Candidates, candidates_from
from clado_core.repairs.database import VERSION, calibration_of, candidates_beside
from clado_core.repairs.repair import OnLayer, repair
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
        artifact: Where the matrix is stored: candidates are kept beside it; in memory where None.
        seed: That drew the images; None where they were given.
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
        artifact: Path | None = None,
        seed: int | None = None,
        batch_size: int = 64,
        allow_noise: bool = False,
    ) -> None:
        self._model, self._matrix = model, matrix
        self._images = calibration, judges
        self._rounding: Rounding = rounding
        self._batch_size, self._allow_noise = batch_size, allow_noise
        self._candidates, self._artifact, self._seed = candidates, artifact, seed

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

    def repair(self, assignment: Assignment, /, *, on_progress: OnLayer | None = None) -> Repaired:
        """What a choice is shipped as; arguments as of ``repair``, and it raises the same."""
        with self._made() as candidates:
            return repair(
                *(self._model, self._matrix, assignment, *self._images),
                rounding=self._rounding,
                candidates=candidates,
                batch_size=self._batch_size,
                allow_noise=self._allow_noise,
                on_progress=on_progress,
            )

    def unmade(self, assignment: Assignment, /) -> LayerTable | None:
        """The layers whose candidate a repair would have to make first; None without any."""
        layers = assignment.layers
        with self._made() as candidates:
            pairs = zip(layers.layers, assignment.bits, strict=True)
            found = tuple(x for x, bits in pairs if not candidates.is_made(x, weight_bits(bits)))
        return replace(layers, layers=found) if found else None

    def _made(self) -> AbstractContextManager[Candidates]:
        """Candidates, of a file where there is an artifact."""
        matrix, images = self._matrix, self._images[0]
        inside = (self._model, matrix.layers, matrix.scheme, images)
        if self._candidates is None and self._artifact is not None:
            calibration = calibration_of(images, rounding=self._rounding, seed=self._seed)
            return candidates_beside(self._artifact, *inside, calibration)
        if self._candidates is None:
            self._candidates = candidates_from(
                *inside, rounding=self._rounding, batch_size=self._batch_size
            )
        return nullcontext(self._candidates)

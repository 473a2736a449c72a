"""Run choices as rounded and as repaired; what was run before is not run again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Self

from torch import nn

from clado_core.data.sources import Samples
from clado_core.errors import InputError
from clado_core.evaluation.evaluator import Evaluator
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.records.image_outcomes import ImageOutcomes
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.measured_choice import ImageSet, MeasuredChoice, RepairSettings
from clado_core.records.names import REPAIRED, MeasuredAs
from clado_core.records.scheme import BitWidths
from clado_core.repairs.repairer import Repairer


class ChoiceRunner:
    """Measures choices of one network on the same images.

    Args:
        model: On its device; its weights are swapped in place and put back.
        matrix: What was measured on it.
        samples: What choices are run on.
        repairer: Of this network; without one choices are only rounded.
        split: What to call the part of the data that the samples are; theirs where None.
        known: Measured before; those of other images or repairs do no harm.
        keep: Called with every new measurement, before the next begins.
        batch_size: As for ``Evaluator``, likewise ``allow_noise``.
        allow_noise: Run a network whose outputs differ from run to run, with a warning.
    """

    def __init__(
        self,
        model: nn.Module,
        matrix: SensitivityMatrix,
        samples: Samples,
        repairer: Repairer | None = None,
        /,
        *,
        split: str | None = None,
        known: Iterable[MeasuredChoice] = (),
        keep: Callable[[MeasuredChoice], None] | None = None,
        batch_size: int | None = None,
        allow_noise: bool = False,
    ) -> None:
        self._evaluator = Evaluator(
            model, matrix, samples, batch_size=batch_size, allow_noise=allow_noise
        )
        self._problem, self._repairer, self._keep = AllocationProblem(matrix), repairer, keep
        self._known = {each.key: each for each in known}
        self._images = _image_set(samples, split)

    def on(self, samples: Samples, /, *, split: str | None = None) -> Self:
        """The same on other images; what is known is shared."""
        other = copy.copy(self)
        other._evaluator, other._images = self._evaluator.on(samples), _image_set(samples, split)
        return other

    def known(self, bits: BitWidths, measured_as: MeasuredAs, /) -> MeasuredChoice | None:
        """What was measured before; None where that has to be run."""
        return self._known.get((bits, self._repair_of(measured_as), self._images.sha256))

    def measure(self, bits: BitWidths, measured_as: MeasuredAs, /) -> MeasuredChoice:
        """Round or repair a choice and run all images, unless that was done before.

        Raises:
            InputError, MeasurementError: As for ``Evaluator.outcomes`` and ``repair``.
        """
        if (found := self.known(bits, measured_as)) is not None:
            return found
        reference = self._reference()
        if measured_as == REPAIRED:
            repaired = self._to_repair.repair(self._problem.assignment(bits))
            outcomes = self._evaluator.repaired_outcomes(repaired)
        else:
            outcomes = self._evaluator.outcomes(bits)
        repair = self._repair_of(measured_as)
        found = MeasuredChoice(bits, self._images, outcomes, reference, repair)
        self._known[found.key] = found
        if self._keep is not None:
            self._keep(found)
        return found

    def measure_all(
        self,
        choices: Sequence[BitWidths],
        measured_as: Sequence[MeasuredAs],
        /,
        *,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[dict[MeasuredAs, MeasuredChoice]]:
        """Every choice as each of these, in the order given.

        Args:
            choices: Each of shape (L,).
            measured_as: "rounded", "repaired" or both.
            on_progress: Called with (measurements known, measurements in all).
        """
        wanted = [(bits, each) for bits in choices for each in measured_as]
        wanted = [pair for pair in dict.fromkeys(wanted) if self.known(*pair) is None]
        total = len(choices) * len(measured_as)
        for k, pair in enumerate([None, *wanted]):
            if pair is not None:
                self.measure(*pair)
            if on_progress is not None:
                on_progress(total - len(wanted) + k, total)
        return [{each: self.measure(bits, each) for each in measured_as} for bits in choices]

    @cached_property
    def repair_settings(self) -> RepairSettings:
        """How repaired choices are repaired."""
        return self._to_repair.settings

    @property
    def _to_repair(self) -> Repairer:
        if self._repairer is None:
            raise InputError("Choices are to be run as repaired: give images to repair with.")
        return self._repairer

    def _repair_of(self, measured_as: MeasuredAs) -> RepairSettings | None:
        return self.repair_settings if measured_as == REPAIRED else None

    def _reference(self) -> ImageOutcomes:
        """The float network on these images; whoever ran a choice on them ran it too."""
        digest = self._images.sha256
        same = (each.reference for each in self._known.values() if each.images.sha256 == digest)
        return next(same, None) or self._evaluator.outcomes(None)


def _image_set(samples: Samples, split: str | None) -> ImageSet:
    return ImageSet(samples.name, split or samples.split, samples.digest)

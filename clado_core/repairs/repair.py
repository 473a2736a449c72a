"""Repair one chosen configuration: each step is kept only if unseen images say that it helps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Self

from torch import Tensor, nn

from clado_core.data.sources import DataSource, Samples
from clado_core.errors import InputError, MeasurementError
from clado_core.networks.inference import kl_divergence, make_batches, measuring, run_batch
from clado_core.quantization.batch_norm import reestimate_batch_norm
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.quantization.weights import QuantizedWeight
from clado_core.records.assignment import Assignment
from clado_core.records.calibration import IMAGES
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import NEAREST, Rounding
from clado_core.records.scheme import weight_bits
from clado_core.repairs.candidates import Candidates, candidates_from
from clado_core.repairs.repaired import Repaired, Step, running_as

OnLayer = Callable[[int, int], None]
"""Called with (layers rounded, layers in all)."""

MATCHED, REESTIMATED = "matched statistics", "re-estimated statistics"
FEWEST_TO_NORMALIZE = 8
"""With fewer images statistics are no estimates; a single one has none."""
SHARE = 10
"""Of a small data set one in so many training images calibrates, and another judges."""
NORM_BATCH = 256
"""Images normalized together where statistics are estimated anew; fewer are too noisy."""


def repair(
    model: nn.Module,
    matrix: SensitivityMatrix,
    assignment: Assignment,
    calibration: Samples,
    judges: Samples,
    /,
    *,
    rounding: Rounding = "adaround",
    candidates: Candidates | None = None,
    batch_size: int = 64,
    allow_noise: bool = False,
    on_progress: OnLayer | None = None,
) -> Repaired:
    """Better integers on the same grid, and statistics that fit: what diverges least is kept.

    Args:
        model: The float network that was measured, on its device; as it was afterwards.
        matrix: What was measured: ranges of quantized inputs.
        assignment: The choice.
        calibration: Images to round and estimate with; some hundred of the training images.
        judges: Others, none of those that accuracy is reported on.
        rounding: "nearest", "gptq" or "adaround".
        candidates: Made so from ``calibration``: for several choices nothing is made twice.
        batch_size: Per forward.
        allow_noise: Run a network whose outputs differ from run to run, with a warning.
        on_progress: Called after every layer.

    Raises:
        MeasurementError: The network cannot run the images, or gives other outputs each time.
    """
    trials = Trials(model, matrix, judges, batch_size, allow_noise=allow_noise)
    trials.offer(NEAREST, rounded_to_nearest(model, assignment))
    inside = (model, assignment.layers, assignment.scheme, calibration)
    made = candidates or candidates_from(*inside, rounding=rounding, batch_size=batch_size)
    matched = _candidates(made, assignment, on_progress)
    if rounding != NEAREST:
        trials.offer(rounding, replace(matched, state={}))
    return trials.offer(MATCHED, matched).reestimated(matched, calibration).best


def calibration_sets(source: DataSource, n: int | None, /, *, seed: int) -> tuple[Samples, Samples]:
    """Training images to calibrate with, and others to judge by.

    Args:
        source: Its training part is drawn from.
        n: So many of each, fewer where there are not enough; None for ``IMAGES``, or a tenth of the
            training images where they are few, so that others are left to search on.
        seed: Draws them.

    Raises:
        InputError: There is one image alone.
    """
    available = len(source.indices("train"))
    wanted = n or max(1, min(IMAGES, available // SHARE))
    return halves(source.sensitivity_set(min(2 * wanted, available), seed=seed))


def halves(samples: Samples, /) -> tuple[Samples, Samples]:
    """Samples to calibrate with, and others to judge by; an InputError for a single one."""
    h = len(samples) // 2
    if not h:
        raise InputError("A repair needs two images or more: one to calibrate with, one to judge.")
    calibration = replace(samples, x=samples.x[:h], y=samples.y[:h])
    return calibration, replace(samples, x=samples.x[h:], y=samples.y[h:])


def rounded_to_nearest(model: nn.Module, assignment: Assignment, /) -> Repaired:
    """What a choice is without any repair."""
    swap = WeightSwap(model, assignment.layers, assignment.scheme)
    pairs = enumerate(zip(assignment.layers.names, assignment.bits, strict=True))
    return Repaired(assignment, {name: swap.quantized(i, bits) for i, (name, bits) in pairs}, {})


def _candidates(made: Candidates, assignment: Assignment, on_progress: OnLayer | None) -> Repaired:
    """All layers' integers, and the statistics and biases that go with them."""
    weights: dict[str, QuantizedWeight] = {}
    state: dict[str, Tensor] = {}
    layers = assignment.layers.layers
    for k, (layer, bits) in enumerate(zip(layers, assignment.bits, strict=True)):
        weights[layer.name], own = made.make(layer, weight_bits(bits))
        state |= own
        if on_progress is not None:
            on_progress(k + 1, len(layers))
    return Repaired(assignment, weights, state)


class Trials:
    """Judges what is offered against the float network's outputs, and keeps the best."""

    def __init__(
        self,
        model: nn.Module,
        matrix: SensitivityMatrix,
        judges: Samples,
        batch_size: int,
        *,
        allow_noise: bool,
    ) -> None:
        self._model, self._matrix = model, matrix
        self._batches = batches = make_batches(model, judges, batch_size)
        with measuring(model, batches, allow_noise=allow_noise) as self.steady:
            self._float = [run_batch(model, batch) for batch in batches]
        self._tried: list[tuple[Repaired, Step]] = []
        self._since = time.perf_counter()

    @property
    def best(self) -> Repaired:
        """What diverges least, with all that was tried.

        Raises:
            MeasurementError: Nothing can be judged.
        """
        chosen = min(self._tried, key=lambda trial: trial[1].divergence)
        if math.isinf(chosen[1].divergence):
            raise MeasurementError(
                "The divergence from the float network's outputs is no number for anything tried: "
                "some of the outputs, the float network's own perhaps, are not finite."
            )
        steps = tuple(
            replace(step, kept=_is_part(repaired, chosen[0])) for repaired, step in self._tried
        )
        return replace(chosen[0], steps=steps)

    def after(self, start: Repaired) -> Repaired:
        """The best, and how it came to be: by the steps of what was offered first, and these."""
        best = self.best
        return replace(best, steps=(*start.steps, *best.steps[1:]))

    def offer(self, name: str, repaired: Repaired) -> Self:
        """Judge one; its seconds count from the one before."""
        with (
            running_as(self._model, self._matrix, repaired),
            measuring(self._model, known=self.steady),
        ):
            outputs = [run_batch(self._model, batch) for batch in self._batches]
        triples = zip(outputs, self._batches, self._float, strict=True)
        total = sum(float(kl_divergence(z, batch.y, ref)) for z, batch, ref in triples)
        divergence = total / sum(len(batch.y) for batch in self._batches)
        if math.isnan(divergence):
            # Outputs that are not finite are as far off as can be.
            divergence = math.inf
        before, self._since = self._since, time.perf_counter()
        self._tried.append((repaired, Step(name, divergence, False, self._since - before)))
        return self

    def reestimated(
        self, repaired: Repaired, calibration: Samples, name: str = REESTIMATED
    ) -> Self:
        """Offer it with the statistics of all normalizations estimated anew, as it would run."""
        if len(calibration) < FEWEST_TO_NORMALIZE:
            return self
        inputs = [batch.x for batch in make_batches(self._model, calibration, NORM_BATCH)]
        with running_as(self._model, self._matrix, repaired):
            found = reestimate_batch_norm(self._model, inputs)
        if found:
            anew = replace(repaired, state={**repaired.state, **found})
            self.offer(name, anew)
        return self


def _is_part(tried: Repaired, chosen: Repaired) -> bool:
    """Whether what was tried is in what was chosen: the same integers, and its statistics."""
    same = all(w is chosen.weights[name] for name, w in tried.weights.items())
    return same and all(chosen.state.get(name) is value for name, value in tried.state.items())

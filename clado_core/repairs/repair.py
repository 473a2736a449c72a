"""Repair one chosen configuration: each step is kept only if unseen images say that it helps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor, nn

from clado_core.data.sources import Samples
from clado_core.errors import InputError, MeasurementError
from clado_core.networks.inference import Batch, kl_divergence, make_batches, measuring, run_batch
from clado_core.quantization.batch_norm import reestimate_batch_norm
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.quantization.weights import QuantizedWeight
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import NEAREST, Rounding
from clado_core.records.scheme import weight_bits
from clado_core.repairs.candidates import Candidates
from clado_core.repairs.finetune import Finetuning, finetune
from clado_core.repairs.repaired import Repaired, Step, running_as

OnLayer = Callable[[int, int], None]
"""Called with (layers rounded, layers in all)."""

MATCHED, REESTIMATED = "matched statistics", "re-estimated statistics"
FINETUNED = "fine-tuned"
FEWEST_TO_NORMALIZE = 8
"""With fewer images statistics are no estimates; a single one has none."""
MOST_TO_NORMALIZE = 2048
"""More images than these change statistics little."""
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
    batch_size: int = 64,
    allow_noise: bool = False,
    finetuning: Finetuning | None = None,
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
        batch_size: Per forward.
        allow_noise: Run a network whose outputs differ from run to run, with a warning.
        finetuning: Learn on from the best of that; left out where None.
        on_progress: Called after every layer.

    Raises:
        InputError: A fine-tuning that was stopped is of other settings.
        MeasurementError: The network cannot run the images, or gives other outputs each time.
    """
    batches = make_batches(model, judges, batch_size)
    trials = _Trials(model, matrix, assignment, batches, allow_noise=allow_noise)
    trials.offer(NEAREST, _nearest(model, assignment))
    started = time.perf_counter()
    xs = [batch.x for batch in make_batches(model, calibration, batch_size)]
    made = Candidates(model, assignment.layers, assignment.scheme, xs, rounding=rounding)
    matched = _candidates(made, assignment, on_progress)
    if rounding != NEAREST:
        trials.offer(rounding, replace(matched, state={}), started)
    trials.offer(MATCHED, matched)
    trials.reestimated(matched, calibration)
    if finetuning is not None:
        started = time.perf_counter()
        tuned = finetune(model, matrix, trials.best, finetuning, known=trials.steady)
        trials.offer(FINETUNED, tuned, started)
        trials.reestimated(
            tuned, finetuning.moved(MOST_TO_NORMALIZE), f"{FINETUNED}, {REESTIMATED}"
        )
    return trials.best


def halves(samples: Samples, /) -> tuple[Samples, Samples]:
    """Samples to calibrate with, and others to judge by; an InputError for a single one."""
    h = len(samples) // 2
    if not h:
        raise InputError("A repair needs two images or more: one to calibrate with, one to judge.")
    calibration = replace(samples, x=samples.x[:h], y=samples.y[:h])
    return calibration, replace(samples, x=samples.x[h:], y=samples.y[h:])


def _nearest(model: nn.Module, assignment: Assignment) -> Repaired:
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


class _Trials:
    """Judges what is offered against the float network's outputs, and keeps the best."""

    def __init__(
        self,
        model: nn.Module,
        matrix: SensitivityMatrix,
        assignment: Assignment,
        batches: Sequence[Batch],
        *,
        allow_noise: bool,
    ) -> None:
        self._model, self._matrix, self._assignment = model, matrix, assignment
        self._batches = batches
        with measuring(model, batches, allow_noise=allow_noise) as self.steady:
            self._float = [run_batch(model, batch) for batch in batches]
        self._tried: list[tuple[Repaired, Step]] = []

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

    def offer(self, name: str, repaired: Repaired, started: float | None = None) -> None:
        """Judge one; its seconds count from ``started``."""
        started = time.perf_counter() if started is None else started
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
        step = Step(name, divergence, False, time.perf_counter() - started)
        self._tried.append((repaired, step))

    def reestimated(
        self, repaired: Repaired, calibration: Samples, name: str = REESTIMATED
    ) -> None:
        """Offer it with the statistics of all normalizations estimated anew, as it would run."""
        started = time.perf_counter()
        if len(calibration) < FEWEST_TO_NORMALIZE:
            return
        inputs = [batch.x for batch in make_batches(self._model, calibration, NORM_BATCH)]
        with running_as(self._model, self._matrix, repaired):
            found = reestimate_batch_norm(self._model, inputs)
        if found:
            anew = replace(repaired, state={**repaired.state, **found})
            self.offer(name, anew, started)


def _is_part(tried: Repaired, chosen: Repaired) -> bool:
    """Whether what was tried is in what was chosen: the same integers, and its statistics."""
    same = all(w is chosen.weights[name] for name, w in tried.weights.items())
    return same and all(chosen.state.get(name) is value for name, value in tried.state.items())

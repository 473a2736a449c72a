"""One network on one sensitivity set: gives losses and outputs, and measures nothing twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from clado_core.errors import InputError, MeasurementError
from clado_core.files.journal import Journal
from clado_core.networks.inference import Batch, LossFunction, require_classes
from clado_core.networks.steady import STEADY, Steadiness
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.records.layers import LayerTable
from clado_core.sensitivity.memory import return_freed_memory
from clado_core.sensitivity.plan import Unit
from clado_core.sensitivity.settings import MeasurementSettings
from clado_core.sensitivity.suffix import SuffixRunner, prepare_runner

Progress = Callable[[int, int], None]
Sums = npt.NDArray[np.float64]
"""Losses summed over the samples of each batch, shape (batches,)."""
Work: TypeAlias = Sequence[tuple[int, Sequence[Unit]]]
"""Batches by number, and the units to measure on each."""
Measured: TypeAlias = tuple[Unit, int, bytes]
"""A unit, the number of a batch, and the record of it."""
Engine: TypeAlias = Callable[[Work], Iterator[Measured]]
"""Does work, in any order."""


class Workbench:
    """Runs what an estimator asks for, batch by batch, and keeps every result.

    Use it inside ``measuring(model)`` and with the swap entered.

    Args:
        model: In eval mode, on its device.
        layers: Its searched layers.
        batches: The sensitivity set, on the model's device.
        settings: Menu, memory.
        loss: Of one batch, summed.
        swap: Holds the model's weights.
        keys: What may be measured → key in the journal.
        keep_outputs: Keep the outputs of the reference and of single candidates too.
        journal: Holds what is known already; None keeps results in memory alone.
        on_progress: Called with (records known, records asked for so far).
        engine: Measures elsewhere; None measures on this very network.
        steady: How well the network repeats itself.

    Raises:
        InputError: Labels outside the network's classes, or too little memory.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: LayerTable,
        batches: list[Batch],
        settings: MeasurementSettings,
        /,
        *,
        loss: LossFunction,
        swap: WeightSwap,
        keys: Mapping[Any, int],
        keep_outputs: bool = False,
        journal: Journal | None = None,
        on_progress: Progress | None = None,
        engine: Engine | None = None,
        steady: Steadiness = STEADY,
    ) -> None:
        self.model, self.layers, self.swap, self.loss = model, layers, swap, loss
        self.batches, self.settings = batches, settings
        self.n_samples = sum(len(batch.y) for batch in batches)
        self.menu = settings.bit_widths
        self.runner = build_runner(model, layers, self.batches, settings, swap)
        self._keys, self.keep_outputs, self.steady = keys, keep_outputs, steady
        self._engine: Engine = self.measure if engine is None else engine
        self._journal, self._on_progress = journal, on_progress
        self._records: dict[int, bytes] = dict(journal.records) if journal else {}
        self._started = False
        self.measured: set[Unit] = set()
        self.reference: list[Tensor] = [
            outputs
            for batch in self.batches
            for _, outputs in self.runner.outputs(batch.x, [()], self._place)
        ]
        require_classes(self.reference[0].shape[1], self.batches)

    @property
    def n(self) -> int:
        """Number of candidates."""
        return len(self.layers) * len(self.menu)

    @property
    def part_weights(self) -> Sums:
        """Share of the samples in each batch."""
        return np.array([len(batch.y) for batch in self.batches]) / self.n_samples

    def losses(self, units: Sequence[Unit], /) -> dict[Unit, Sums]:
        """Summed losses of each unit on each batch; measures those not known yet.

        Raises:
            MeasurementError: A loss is not finite; names layers and bit-widths.
        """
        self.measured.update(units)
        missing = [
            [u for u in units if self._key(u, b) not in self._records]
            for b in range(len(self.batches))
        ]
        total = self._expect(sum(map(len, missing)))
        for unit, b, payload in self._engine([(b, m) for b, m in enumerate(missing) if m]):
            self._keep(self._key(unit, b), payload, total)
        known = range(len(self.batches))
        return {u: np.array([self._loss_of(self._key(u, b)) for b in known]) for u in units}

    def measure(self, work: Work, /) -> Iterator[Measured]:
        """Do work on this very network, nothing kept.

        Raises:
            MeasurementError: A loss is not finite; names layers and bit-widths.
        """
        for b, units in work:
            if list(units) == [()]:
                yield (), b, self._record((), b, self.reference[b])
                continue
            for unit, outputs in self.runner.outputs(self.batches[b].x, units, self._place):
                yield unit, b, self._record(unit, b, outputs)

    def outputs(self, units: Sequence[Unit], b: int, /) -> Tensor:
        """Outputs of single candidates on batch b, shape (units, samples, classes), float64.

        They must have been measured with ``losses`` on a bench that keeps outputs.
        """
        like = self.reference[b].cpu().numpy()
        raw = [np.frombuffer(self._records[self._key(u, b)][8:], like.dtype) for u in units]
        return torch.from_numpy(np.stack(raw).reshape(len(units), *like.shape)).double()

    def rows(
        self, names: Iterable[Any], compute: Callable[[Any, Batch], npt.NDArray[np.float64]], /
    ) -> dict[Any, npt.NDArray[np.float64]]:
        """For each name a vector per batch, shape (batches, ...); computes those not known yet.

        Args:
            names: Keys of this bench.
            compute: (name, batch) → vector; the network is unquantized when it is called.
        """
        names, known = list(names), range(len(self.batches))
        missing = [(x, b) for b in known for x in names if self._key(x, b) not in self._records]
        total = self._expect(len(missing))
        self._place(())
        for name, b in missing:
            vector = np.asarray(compute(name, self.batches[b]), dtype=np.float64)
            if not np.isfinite(vector).all():
                raise MeasurementError(
                    f"The derivatives for {name} are not finite; look for NaN in the data."
                )
            self._keep(self._key(name, b), vector.tobytes(), total)
        return {
            x: np.array([np.frombuffer(self._records[self._key(x, b)]) for b in known])
            for x in names
        }

    def _key(self, name: Any, b: int) -> int:
        return b * len(self._keys) + self._keys[name]

    def _loss_of(self, key: int) -> float:
        return float(np.frombuffer(self._records[key][:8])[0])

    def _record(self, unit: Unit, b: int, outputs: Tensor) -> bytes:
        value = float(self.loss(outputs, self.batches[b].y, self.reference[b]))
        if not math.isfinite(value):
            self._refuse(value, unit)
        payload = np.float64(value).tobytes()
        if self.keep_outputs and len(unit) < 2:
            payload += outputs.cpu().contiguous().numpy().tobytes()
        return payload

    def _keep(self, key: int, payload: bytes, total: int) -> None:
        if self._journal:
            self._journal.append(key, payload)
        self._records[key] = payload
        self._report(total)

    def _expect(self, missing: int) -> int:
        """Records there will be; reported at the start and whenever there is something to do."""
        total = len(self._records) + missing
        if missing or not self._started:
            self._report(total)
        self._started = True
        return total

    def _report(self, total: int) -> None:
        if self._on_progress:
            self._on_progress(len(self._records), total)

    def _bits(self, unit: Unit) -> dict[int, int]:
        return {a // len(self.menu): self.menu[a % len(self.menu)] for a in unit}

    def _place(self, unit: Unit) -> None:
        self.swap.apply(self._bits(unit))

    def _refuse(self, value: float, unit: Unit) -> None:
        names, bits = self.layers.names, self._bits(unit)
        where = " and ".join(f"'{names[i]}' at {b} bits" for i, b in bits.items())
        first = next(iter(bits), None)
        raise MeasurementError(
            f"The loss is {value} with {where or 'nothing quantized'}; look for overflow there, "
            "or for NaN in the data or the weights.",
            layer=None if first is None else names[first],
            bits=None if first is None else bits[first],
        )


def build_runner(
    model: nn.Module,
    layers: LayerTable,
    batches: list[Batch],
    settings: MeasurementSettings,
    swap: WeightSwap,
    /,
) -> SuffixRunner:
    """The runner for these settings, held to their memory."""
    menu = settings.bit_widths
    runner = prepare_runner(
        model,
        layers,
        batches[0].x,
        swap,
        n_bits=len(menu),
        lowest_bits=menu[0],
        reuse=settings.reuse,
        grouped=settings.group_bits,
    )
    if swap.inputs is not None:
        runner = runner.with_more(swap.inputs.largest_bytes)
    if settings.memory_bytes is None:
        return runner
    return_freed_memory()
    left = settings.memory_bytes - weight_bytes(layers, len(menu))
    if left <= 0:
        raise InputError(
            f"Copies of the weights alone need {weight_bytes(layers, len(menu)) / 1e6:.1f} MB, "
            f"more than the {settings.memory_bytes / 1e6:.1f} allowed; raise the memory."
        )
    return runner.within(left / len(batches[0].y))


def weight_bytes(layers: LayerTable, n_bits: int, /) -> int:
    """Bytes of the weights' originals (float32) and of their integers at every bit-width."""
    return (4 + n_bits) * layers.total_weights

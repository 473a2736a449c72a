"""Measure on a Ray cluster: the same losses of the same batches, on every machine there is.

A task measures, on one batch, every unit that starts with one candidate, so prefixes are reused
inside it. Tasks have no side effects: Ray runs them again where a worker is lost, and the journal
stays with the process that asked. What is measured by derivatives is not distributed.
"""

from __future__ import annotations

import contextlib
import copy
import socket
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from clado_core.data.sources import Samples
from clado_core.errors import CladoError, InputError, MeasurementError
from clado_core.networks.inference import LossFunction, make_batches, measuring
from clado_core.networks.placement import choose_device, is_channels_last, place
from clado_core.networks.steady import STEADY, Steadiness
from clado_core.quantization.candidate import CandidateTable
from clado_core.quantization.inputs import Ranges, quantizing_inputs
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.records.layers import LayerTable
from clado_core.sensitivity.plan import Unit
from clado_core.sensitivity.settings import MeasurementSettings
from clado_core.sensitivity.workbench import Engine, Measured, Work, Workbench

CONNECT_S = 10.0
RETRIES = 5
"""How often a task is started again after its worker was lost."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What a worker needs beside network and samples to measure like the process that asks.

    Args:
        key: Unique; a worker keeps the bench of the latest job.
        layers: The searched layers.
        settings: As given.
        loss: Of one batch, summed.
        keep_outputs: Whether outputs of single candidates are wanted.
        ranges: Of quantized inputs, shape (L, A, 2), or None.
        threads: Of torch, so that sums are taken alike.
        steady: How well the network repeats itself, as the process that asks has found.
        candidates: What layers are at each bit-width; rounded to nearest where None.
    """

    key: str
    layers: LayerTable
    settings: MeasurementSettings
    loss: LossFunction
    keep_outputs: bool
    ranges: Ranges | None
    threads: int
    steady: Steadiness = STEADY
    candidates: CandidateTable | None = None


class RayEngine:
    """A connection to a cluster; a context manager that ends it.

    Args:
        address: Of a running cluster, such as "auto" or "HOST:6379"; "local" starts one here.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str = "auto") -> None:
        try:
            import ray
        except ImportError:
            raise InputError(
                "Ray is not installed: pip install -r requirements-ray.txt, or measure without "
                "a cluster."
            ) from None
        self._ray = ray
        # Workers get this very package; torch and the user's libraries must be there already.
        package = str(Path(__file__).resolve().parents[1])
        try:
            _knock(address)
            ray.init(
                address=address,
                runtime_env={"py_modules": [package]},
                log_to_driver=False,
                logging_level="error",
                configure_logging=False,
            )
        except (OSError, ValueError) as problem:
            reason = (str(problem) or type(problem).__name__).splitlines()[0]
            raise InputError(
                f"There is no Ray cluster at '{address}' ({reason}); start one, give its "
                "address, or the address local."
            ) from None
        self._model: Any = None
        self._samples: Any = None

    @property
    def device(self) -> str:
        """Where the work is done: "cuda" where any machine of the cluster has a GPU."""
        return "cuda" if self._ray.cluster_resources().get("GPU") else "cpu"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ray.shutdown()

    def ship(self, model: nn.Module, samples: Samples, /) -> None:
        """Make network and samples known to the cluster; before hooks are put into the network."""
        for name in {type(module).__module__ for module in model.modules()}:
            if _is_own(name):
                self._ray.cloudpickle.register_pickle_by_value(sys.modules[name])
        on_gpu = any(p.is_cuda for p in model.parameters())
        self._model = self._ray.put(copy.deepcopy(model).cpu() if on_gpu else model)
        self._samples = self._ray.put(samples)

    def engine(
        self,
        layers: LayerTable,
        settings: MeasurementSettings,
        loss: LossFunction,
        /,
        *,
        keep_outputs: bool,
        ranges: Ranges | None,
        steady: Steadiness = STEADY,
        candidates: CandidateTable | None = None,
    ) -> Engine:
        """What measures a bench's losses here; network and samples must have been shipped.

        Args:
            layers: Of the network.
            settings: As the bench's, likewise ``loss`` and ``keep_outputs``.
            loss: Of one batch, summed.
            keep_outputs: Whether outputs are wanted with the losses.
            ranges: Of quantized inputs; None where they stay float.
            steady: How well the network repeats itself.
            candidates: As the bench's.
        """
        job = Job(
            *(uuid.uuid4().hex, layers, settings, loss, keep_outputs, ranges),
            threads=torch.get_num_threads(),
            steady=steady,
            candidates=candidates,
        )
        return lambda work: self._measure(job, work)

    def _measure(self, job: Job, work: Work) -> Iterator[Measured]:
        ray = self._ray
        cores = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
        task = ray.remote(measure_units).options(
            num_cpus=min(job.threads, cores),
            num_gpus=int(self.device == "cuda"),
            max_retries=RETRIES,
        )
        shared = ray.put(job)
        pending = [
            task.remote(shared, self._model, self._samples, b, group)
            for b, units in work
            for group in groups(units)
        ]
        try:
            while pending:
                done, pending = ray.wait(pending)
                yield from self._result(done[0])
        finally:
            for reference in pending:
                ray.cancel(reference)

    def _result(self, reference: Any) -> list[Measured]:
        errors = self._ray.exceptions
        try:
            found: list[Measured] = self._ray.get(reference)
        except errors.RayTaskError as problem:
            if isinstance(problem.cause, CladoError):
                raise problem.cause from None
            raise
        except errors.RayError as problem:
            reason = (str(problem) or type(problem).__name__).splitlines()[0]
            raise MeasurementError(
                f"The cluster lost the same work {RETRIES + 1} times ({reason}); look at its "
                "memory, then run the same command again: what was measured is kept."
            ) from None
        return found


def groups(units: Sequence[Unit], /) -> list[list[Unit]]:
    """Units that share their first candidate, which share most of the work."""
    found: dict[Unit, list[Unit]] = defaultdict(list)
    for unit in units:
        found[unit[:1]].append(unit)
    return list(found.values())


def measure_units(
    job: Job, model: nn.Module, samples: Samples, b: int, units: list[Unit], /
) -> list[Measured]:
    """What a worker does: the losses of some units on batch b."""
    return list(_Kept.bench(job, model, samples).measure([(b, units)]))


class _Kept:
    """The bench that a worker process keeps between its tasks."""

    _key = ""
    _bench: Workbench
    _open = contextlib.ExitStack()

    @classmethod
    def bench(cls, job: Job, model: nn.Module, samples: Samples) -> Workbench:
        if cls._key != job.key:
            cls._open.close()
            cls._key = ""
            torch.set_num_threads(job.threads)
            cls._bench = cls._make(job, model, samples)
            cls._key = job.key
        return cls._bench

    @classmethod
    def _make(cls, job: Job, model: nn.Module, samples: Samples) -> Workbench:
        # What Ray hands out is shared memory and cannot be written, and weights are swapped.
        model, last = copy.deepcopy(model), is_channels_last(model)
        place(model, choose_device("auto"), channels_last=last)
        menu, scheme = job.settings.bit_widths, job.settings.scheme
        cls._open.enter_context(measuring(model, known=job.steady))
        inputs = cls._open.enter_context(
            quantizing_inputs(model, job.layers, menu, scheme, ranges=job.ranges)
        )
        swap = WeightSwap(model, job.layers, scheme, inputs=inputs, candidates=job.candidates)
        cls._open.enter_context(swap)
        return Workbench(
            model,
            job.layers,
            make_batches(model, samples, job.settings.batch_size),
            job.settings,
            loss=job.loss,
            swap=swap,
            keys={},
            keep_outputs=job.keep_outputs,
        )


def _knock(address: str) -> None:
    """Raises OSError where nobody listens: Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()


def _is_own(module: str) -> bool:
    """Whether a module is the user's own code, which workers cannot import."""
    if module.split(".")[0] in ("torch", "torchvision", "clado_core", "builtins"):
        return False
    return "site-packages" not in (getattr(sys.modules[module], "__file__", "") or "")

"""Run a written file and hold its outputs against the quantized network's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clado_core.errors import InputError
from clado_core.exports.onnx_agreement import (
    FileRun,
    Outputs,
    Probe,
    Reference,
    difference,
    nudged,
    random_inputs,
)
from clado_core.exports.onnx_network import first_line, outputs
from clado_core.exports.onnx_runtimes import Runtime

if TYPE_CHECKING:
    from torch import nn


def make_reference(module: nn.Module, input_shape: tuple[int, int, int], /) -> Reference:
    """Random batches with the network's outputs.

    Args:
        module: As ``exportable`` gives it, with its quantized weights.
        input_shape: Channels, height and width.

    Raises:
        InputError: The network does not run such batches, gives NaN or infinite outputs, or others
            when it is run again.
    """
    kinds = [
        np.dtype(str(parameter.dtype).removeprefix("torch."))
        for parameter in module.parameters()
        if parameter.is_floating_point()
    ]
    kind = kinds[0]  # as data is given to a network when it is measured
    probes = []
    for size, x in random_inputs(input_shape, kind).items():
        wanted = outputs(module, x)
        if not np.isfinite(wanted).all():  # a root or logarithm takes no negative numbers
            x = np.random.default_rng(size).random(x.shape).astype(kind)
            wanted = outputs(module, x)
        if not np.isfinite(wanted).all():
            raise InputError(
                f"The network gives NaN or infinite outputs for {size} random inputs between 0 "
                "and 1, so no file can be held against it."
            )
        probes.append(Probe(x, wanted, outputs(module, nudged(x))))
    if not np.array_equal(outputs(module, probes[0].x), probes[0].wanted):
        raise InputError(
            "The network gives other outputs when it is run again on the same input, as with "
            "dropout that stays on or with state that it changes, so no file can stand for it."
        )
    return Reference(tuple(probes), max(float(np.finfo(each).eps) for each in kinds))


def checked_run(
    file: bytes, reference: Reference, runtimes: tuple[Runtime, ...], /
) -> FileRun | None:
    """Run a file in the first of the runtimes that can; None where there is none at all.

    Raises:
        InputError: None of them runs it, or its outputs are others; the sentence says by how much.
    """
    problem: InputError | None = None
    for runtime in runtimes:
        try:
            got = _all_outputs(runtime, file, reference)
        except InputError as found:
            problem = problem or found
            continue
        return _agreement(runtime, got, reference)
    if problem is not None:
        raise problem
    return None


def _all_outputs(runtime: Runtime, file: bytes, reference: Reference) -> list[Outputs]:
    at = ""
    try:
        run = runtime.open(file)
        got = []
        for probe in reference.probes:
            at = f" for a batch of {len(probe.x)}"
            got.append(run(probe.x))
        return got
    except Exception as problem:  # a runtime raises whatever it likes
        raise InputError(
            f"{runtime.name} {runtime.version} does not run the file{at}: {first_line(problem)}"
        ) from None


def _agreement(runtime: Runtime, got: list[Outputs], reference: Reference) -> FileRun:
    probes, reach, allowed = reference.probes, reference.reach, reference.tolerance
    found = [difference(*pair) for pair in zip(got, (p.wanted for p in probes), strict=True)]
    worst = int(np.argmax(found))
    if found[worst] > allowed:
        what = (
            f"off by up to {found[worst]:.3g}, with outputs up to {reach:.3g},"
            if np.isfinite(found[worst])
            else "of another shape, or not finite,"
        )
        raise InputError(
            f"the file's outputs in {runtime.name} {runtime.version} are {what} for a batch of "
            f"{len(probes[worst].x)}"
        )
    sizes = tuple(len(probe.x) for probe in probes)
    return FileRun(runtime.name, runtime.version, sizes, found[worst], reach, allowed)

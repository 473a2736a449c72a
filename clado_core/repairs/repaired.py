"""A repaired network: its integers, and what else of its state is other than the float one's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clado_core.errors import InputError
from clado_core.quantization.inputs import quantizing_inputs
from clado_core.quantization.weight_swap import weight_slice
from clado_core.quantization.weights import QuantizedWeight, dequantize
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried, judged on images that it was not made with.

    Args:
        name: Such as "gptq" or "re-estimated statistics".
        divergence: Mean KL divergence from the float network's outputs with it, in nats.
        kept: Whether it is part of the result.
        seconds: Wall time of making and judging it.
    """

    name: str
    divergence: float
    kept: bool
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Repaired:
    """What a chosen configuration is shipped as; same bit-widths, same bytes.

    Args:
        assignment: The bit-widths.
        weights: Layer name → integers and scales, in network order.
        state: Name → value of the buffers and biases that differ from the float network's.
        steps: What was tried, in order; empty where it was read from a file.
    """

    assignment: Assignment
    weights: Mapping[str, QuantizedWeight]
    state: Mapping[str, Tensor]
    steps: tuple[Step, ...] = ()


@contextmanager
def repaired_in(model: nn.Module, repaired: Repaired, /) -> Iterator[None]:
    """The network is the repaired one for as long as this lasts, and itself again afterwards.

    Args:
        model: The float network that was repaired; written in place.
        repaired: Of this network.

    Raises:
        InputError: It is of another network.
    """
    slices = {layer.name: weight_slice(model, layer) for layer in repaired.assignment.layers.layers}
    entries = model.state_dict(keep_vars=True)
    if unknown := [name for name in repaired.state if name not in entries]:
        raise InputError(f"The network has no '{unknown[0]}'; give the network that was repaired.")
    targets = [(slices[name], dequantize(w)) for name, w in repaired.weights.items()]
    targets += [(entries[name].data, value) for name, value in repaired.state.items()]
    before = [target.clone() for target, _ in targets]
    with torch.no_grad():
        try:
            for target, value in targets:
                target.copy_(value)
            yield
        finally:
            for (target, _), value in zip(targets, before, strict=True):
                target.copy_(value)


@contextmanager
def running_as(
    model: nn.Module, matrix: SensitivityMatrix, repaired: Repaired, /
) -> Iterator[None]:
    """The network as it would be shipped, its inputs quantized where the choice says so.

    Args:
        model: The float network that was repaired; as it was afterwards.
        matrix: What was measured: ranges of quantized inputs.
        repaired: Of this network.
    """
    layers, scheme = repaired.assignment.layers, repaired.assignment.scheme
    inside = (model, layers, matrix.bit_widths, scheme)
    with (
        torch.no_grad(),
        repaired_in(model, repaired),
        quantizing_inputs(*inside, ranges=matrix.input_ranges) as inputs,
    ):
        if inputs is not None:
            inputs.apply_choices(dict(enumerate(repaired.assignment.bits)), scheme)
        yield


def changed_state(
    before: nn.Module, after: nn.Module, assignment: Assignment, /
) -> dict[str, Tensor]:
    """Name → value of what a network keeps beside its searched weights, where that is another.

    Args:
        before: The float network.
        after: The repaired one, in modules of its own; on any device.
        assignment: Its searched layers.
    """
    searched = {layer.parameter for layer in assignment.layers.layers}
    was = before.state_dict()
    return {
        name: value.clone()
        for name, value in after.state_dict().items()
        # What get_extra_state keeps is no tensor, and no file's.
        if isinstance(value, Tensor) and name not in searched
        if not torch.equal(value, was[name].to(value))
    }

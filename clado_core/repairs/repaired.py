"""A repaired network: its integers, and what else of its state is other than the float one's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clado_core.quantization.inputs import quantizing_inputs
from clado_core.quantization.network_state import state_entries, using_state
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
        kept: Whether it is part of the result, or what a fine-tuning that is went on from.
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
        state: Name → value of what else differs from the float network's, as of ``using_state``.
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
    before = {name: part.clone() for name, part in slices.items()}
    with torch.no_grad(), using_state(model, repaired.state):
        try:
            for name, weight in repaired.weights.items():
                slices[name].copy_(dequantize(weight))
            yield
        finally:
            for name, part in slices.items():
                part.copy_(before[name])


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
    was = state_entries(before)
    return {
        name: value.clone()
        for name, value in state_entries(after).items()
        # Buffers that running fills are in one of the two alone.
        if name not in searched and name in was
        if not torch.equal(value, was[name].to(value))
    }

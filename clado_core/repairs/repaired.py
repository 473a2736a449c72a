"""A repaired network: its integers, and what else of its state is other than the float one's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clado_core.quantization.weight_swap import state_entries, weight_slice
from clado_core.quantization.weights import QuantizedWeight, dequantize
from clado_core.records.assignment import Assignment


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
    entries = state_entries(model, repaired.state)
    targets = [(slices[name], dequantize(w)) for name, w in repaired.weights.items()]
    targets += [(entries[name], value) for name, value in repaired.state.items()]
    before = [target.clone() for target, _ in targets]
    with torch.no_grad():
        try:
            for target, value in targets:
                target.copy_(value)
            yield
        finally:
            for (target, _), value in zip(targets, before, strict=True):
                target.copy_(value)

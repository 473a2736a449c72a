"""A repaired network: its integers, and what else of its state is other than the float one's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clado_core.quantization.network_state import using_state
from clado_core.quantization.weight_swap import weight_slice
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

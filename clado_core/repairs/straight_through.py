"""What fine-tuning learns: weights behind the integers, their scales, and what stays float."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from clado_core.errors import InputError, MeasurementError
from clado_core.quantization.straight_through import fake_quantize_straight
from clado_core.quantization.weight_swap import weight_slice
from clado_core.quantization.weights import QuantizedWeight, round_to_levels
from clado_core.repairs.repaired import Repaired

TOWARDS_LEVEL = 0.5
"""Where weights start: halfway from their float value to the level that the repair chose."""
INSIDE = 0.49
"""Of a level, at most, from that level: all weights round to it at first."""


class Learned(nn.Module):
    """Float weights and scales whose rounding a network holds, and its other parameters.

    Its state dict is all that a training changes. Scales are learned as logarithms: they stay
    positive, and a step is a share of them.

    Args:
        network: Trained in place, under grad; it holds what the start says.
        start: Integers, scales and state to begin with.
        model: The float network.
        changing: Buffers that are no part of it, as each forward has them anew; dotted names.
    """

    def __init__(
        self,
        network: nn.Module,
        start: Repaired,
        model: nn.Module,
        /,
        *,
        changing: Collection[str] = (),
    ) -> None:
        super().__init__()
        floating = [p for p in network.parameters() if p.is_floating_point()]
        for parameter in floating:
            parameter.requires_grad_(True)
        self._layers = start.assignment.layers.layers
        self._bits = [start.weights[layer.name].bits for layer in self._layers]
        self._slots = [weight_slice(network, layer) for layer in self._layers]
        self._owners = {x.parameter: network.get_parameter(x.parameter) for x in self._layers}
        held = [start.weights[layer.name] for layer in self._layers]
        floats = [weight_slice(model, layer) for layer in self._layers]
        self.weights = nn.ParameterList(map(_behind, held, floats))
        self.log_scales = nn.ParameterList(w.scales.to(floats[0].device).log() for w in held)
        searched = {id(owner) for owner in self._owners.values()}
        self.others = nn.ParameterList(p for p in floating if id(p) not in searched)
        for i, (name, buffer) in enumerate(network.named_buffers()):
            if name not in changing:
                self.register_buffer(f"buffer{i}", buffer)

    def groups(self, rate: float, /, *, of_scales: float | None = None) -> Iterator[dict[str, Any]]:
        """Parameter groups for an optimizer whose steps do not depend on the gradients' size.

        Args:
            rate: A step, as a share of a tensor's root mean square.
            of_scales: That of logarithms of scales and of vectors (biases, normalizations), as it
                is; the same where None.
        """
        vectors = [p for p in self.others if p.ndim <= 1]
        lr = rate if of_scales is None else of_scales
        yield {"params": [*self.log_scales, *vectors], "lr": lr}
        for p in (*self.weights, *(p for p in self.others if p.ndim > 1)):
            yield {"params": [p], "lr": rate * float(p.detach().square().mean().sqrt())}

    def write(self) -> list[Tensor]:
        """Round, and give the network the result; what ``pull`` takes, layer by layer."""
        each = zip(self.weights, self.log_scales, self._bits, strict=True)
        made = [fake_quantize_straight(w, log_scale.exp(), bits) for w, log_scale, bits in each]
        with torch.no_grad():
            for slot, value in zip(self._slots, made, strict=True):
                slot.copy_(value)
        return made

    def pull(self, made: list[Tensor], /) -> None:
        """Hand the network's gradients on to the weights and scales behind what was written."""
        reached, gradients = [], []
        for layer, value in zip(self._layers, made, strict=True):
            if (gradient := self._owners[layer.parameter].grad) is not None:
                reached.append(value)
                gradients.append(gradient[layer.row_start : layer.row_start + layer.out_channels])
        for owner in self._owners.values():
            owner.grad = None
        torch.autograd.backward(reached, gradients)

    def learn(self, loss: Tensor, made: list[Tensor], optimizer: torch.optim.Optimizer, /) -> None:
        """One step down the gradient of a loss of what ``write`` made.

        Raises:
            MeasurementError: There is none.
        """
        optimizer.zero_grad()
        try:
            torch.autograd.backward(loss)
            self.pull(made)
        except RuntimeError as problem:
            reason = f"{problem}".splitlines()[0]
            raise MeasurementError(
                f"The network cannot be fine-tuned, as it has no gradients: {reason}"
            ) from None
        optimizer.step()

    @torch.no_grad()
    def quantized(self) -> dict[str, QuantizedWeight]:
        """Layer name → integers and scales as they are now."""
        each = zip(self._layers, self.weights, self.log_scales, self._bits, strict=True)
        return {layer.name: round_to_levels(w, s.exp(), bits) for layer, w, s, bits in each}


def trainable_copy(model: nn.Module, /) -> nn.Module:
    """A float32 copy to be trained in place.

    Raises:
        InputError: The network cannot be copied.
    """
    try:
        return copy.deepcopy(model).float()
    except Exception as problem:  # copying runs code of the user's own modules
        reason = (f"{problem}" or type(problem).__name__).splitlines()[0]
        raise InputError(
            f"The network cannot be copied, which fine-tuning needs: {reason}"
        ) from None


def _behind(held: QuantizedWeight, weight: Tensor) -> Tensor:
    """A weight that rounds to these integers, on the side of the float one."""
    integers = held.integers.to(weight.device, torch.float32)
    scale = held.scales.to(weight.device).reshape(-1, *[1] * (weight.ndim - 1))
    away = (weight.to(torch.float32) / scale - integers) * (1 - TOWARDS_LEVEL)
    return (integers + away.clamp(-INSIDE, INSIDE)) * scale

"""First and second moments of what layers read: all that rounding and statistics need to know.

They are sums over every column x that a layer's weight is multiplied with, of all samples and
output positions. For a grouped convolution each group has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.nn import functional as F

from clado_core.errors import InputError, MeasurementError
from clado_core.networks.discovery import attention_fast_path_off
from clado_core.networks.inference import measuring, running
from clado_core.quantization.layer_calls import LayerCall, LayerCalls, Windows
from clado_core.records.layers import LayerInfo

Second: TypeAlias = Float64[Tensor, "groups k k"]
First: TypeAlias = Float64[Tensor, "groups k"]

BLOCK_ELEMENTS = 1 << 20
"""Unfolded inputs held at once, 4 MB in float32: what stays in a CPU's caches."""


@dataclass(frozen=True, slots=True, eq=False)
class InputMoments:
    """Moments of the columns x that the weight of one layer is multiplied with.

    Column entries stand in the order of ``weight.flatten(1)``: input channels of the group, then
    kernel rows and columns.

    Args:
        second: Σ x xᵀ, shape (groups, k, k), float64, finite.
        mean: Mean of x, shape (groups, k), float64.
        count: Columns summed over, at least 1.

    Raises:
        InputError: Shapes do not fit each other, there is no column, or a value is not finite.
    """

    second: Second
    mean: First
    count: int

    def __post_init__(self) -> None:
        if self.second.ndim != 3 or self.second.shape != (*self.mean.shape, self.width):
            raise InputError(
                f"Second moments have shape {tuple(self.second.shape)} and means "
                f"{tuple(self.mean.shape)}; expected (groups, k, k) and (groups, k)."
            )
        if types := {self.second.dtype, self.mean.dtype} - {torch.float64}:
            raise InputError(f"Moments are float64, not {types.pop()}.")
        if self.count < 1:
            raise InputError("Moments of no column at all say nothing; give inputs.")
        if not (self.second.isfinite().all() and self.mean.isfinite().all()):
            raise InputError("The moments hold NaN or infinite values.")

    def __repr__(self) -> str:
        return f"InputMoments({self.groups} groups × {self.width}, {self.count:,} columns)"

    @property
    def groups(self) -> int:
        """Groups of channels; 1 but for grouped convolutions."""
        return len(self.second)

    @property
    def width(self) -> int:
        """k: weights of one output channel."""
        return self.second.shape[-1]

    @property
    def covariance(self) -> Second:
        """E[x xᵀ] − E[x] E[x]ᵀ, shape (groups, k, k)."""
        return self.second / self.count - self.mean[:, :, None] * self.mean[:, None, :]

    def by_group(self, weight: Tensor, /) -> Tensor:
        """A weight's rows group by group: (out_channels, ...) → (groups, rows, k), float64.

        Raises:
            InputError: These are the moments of a layer of another shape.
        """
        rows = len(weight)
        if rows % self.groups or weight[:1].numel() != self.width:
            raise InputError(
                f"A weight of shape {tuple(weight.shape)} does not read {self.groups} groups of "
                f"{self.width} inputs; give the moments of its own layer."
            )
        values = weight.detach().to(self.second.device, torch.float64)
        return values.reshape(self.groups, rows // self.groups, self.width)


def collect_moments(
    model: nn.Module, layers: Iterable[LayerInfo], inputs: Iterable[Tensor], /
) -> dict[str, InputMoments]:
    """Run a network once over inputs and sum up the moments of many layers' inputs.

    Products of unfolded inputs are made in the network's own type, in blocks, and added in
    float64: a block's relative error, about 10⁻⁶, is far below the damping that rounding adds to
    the diagonal, and float64 products would double the time on a CPU. Held are k² values of eight
    bytes per layer and group, on the network's device; give layers in parts where that is too
    much.

    Args:
        model: In any mode; run in eval mode and left as it was.
        layers: Some or all of its searched layers.
        inputs: Of the network, batch by batch, on its device.

    Returns:
        Layer name → moments of its inputs, in the order of the layers.

    Raises:
        InputError: There are no inputs, or a layer's weight is never used.
        MeasurementError: The network cannot run the inputs, or a layer's are not finite.
    """
    wanted = tuple(layers)
    sums = {layer.name: _Sums() for layer in wanted}
    empty = True
    with (
        measuring(model),
        attention_fast_path_off(),
        LayerCalls(model, wanted, lambda call: sums[call.layer.name].add(call)),
    ):
        for x in inputs:
            empty = False
            with running(x):
                # A copy, for networks that change their input in place.
                model(x.clone())
    if empty:
        raise InputError("There are no inputs to take moments of; give at least one batch.")
    _require_seen(name for name, each in sums.items() if not each.count)
    return {name: each.moments(name) for name, each in sums.items()}


def _require_seen(unseen: Iterable[str]) -> None:
    if names := ", ".join(unseen):
        raise InputError(
            f"The inputs of {names} are not known, as the network never multiplies them with these "
            "weights; leave these layers out."
        )


class _Sums:
    """Sums of one layer's columns."""

    def __init__(self) -> None:
        self.count = 0
        self._first: Tensor | float = 0.0
        self._second: Tensor | float = 0.0

    def add(self, call: LayerCall) -> None:
        for columns in _columns(call):
            self.count += columns.shape[-1]
            self._first = columns.sum(-1).to(torch.float64) + self._first
            self._second = (columns @ columns.mT).to(torch.float64) + self._second

    def moments(self, name: str) -> InputMoments:
        first, second = torch.as_tensor(self._first), torch.as_tensor(self._second)
        if not (first.isfinite().all() and second.isfinite().all()):
            raise MeasurementError(
                f"The inputs of '{name}' hold values that are NaN, infinite or too large to be "
                "squared; look at the network's weights and at the data.",
                layer=name,
            )
        return InputMoments(second, first / self.count, self.count)


def _columns(call: LayerCall) -> Iterator[Tensor]:
    """What a weight was multiplied with, in blocks of shape (groups, k, n)."""
    x = call.x.detach()
    x = x if x.dtype == torch.float64 else x.to(torch.float32)
    if call.windows is None:
        width = x.shape[-1]
        for block in torch.split(x.reshape(-1, width), _columns_at_once(width)):
            yield block.mT[None]
        return
    (top, left), (bottom, right) = call.windows.before, call.windows.after
    # Channels outermost: the copy that unfolding makes then reads along rows.
    channels = F.pad(x, (left, right, top, bottom)).transpose(0, 1).contiguous()
    one = _unfolded(channels[:, :1], call.windows)
    positions = one.shape[4:].numel()
    at_once = _columns_at_once(one.shape[:3].numel(), call.windows.groups)
    for samples in torch.split(channels, max(at_once // positions, 1), dim=1):
        windows = _unfolded(samples, call.windows)
        yield windows.reshape(call.windows.groups, -1, windows.shape[3:].numel())


def _columns_at_once(height: int, groups: int = 1) -> int:
    """Columns of a block; at least k, or adding up products takes longer than making them."""
    return max(BLOCK_ELEMENTS // height, height // groups)


def _unfolded(channels: Tensor, windows: Windows) -> Tensor:
    """A view of (C, N, H, W) as (C, kernel rows and columns, N, output rows and columns)."""
    sizes, steps = [], []
    for axis in (0, 1):
        reach = windows.dilation[axis] * (windows.kernel[axis] - 1) + 1
        sizes.append((channels.shape[2 + axis] - reach) // windows.stride[axis] + 1)
        steps.append(channels.stride(2 + axis))
    channel, sample = channels.stride()[:2]
    within = [step * d for step, d in zip(steps, windows.dilation, strict=True)]
    between = [step * s for step, s in zip(steps, windows.stride, strict=True)]
    shape = (channels.shape[0], *windows.kernel, channels.shape[1], *sizes)
    start = channels.storage_offset()
    return channels.as_strided(shape, (channel, *within, sample, *between), start)

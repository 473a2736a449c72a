"""Quantize the inputs of layers: search the range, round, and do so inside a network.

Affine, one scale and zero point per tensor: x ≈ s·(q − z) with q in [0, 2^b − 1]. The range is
the best by mean squared error among the observed one shrunk in 1 % steps, and an exponential
average of that over batches. Source: CLADO's released code (MQBench's EMA-MSE observer).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clado_core.errors import InputError
from clado_core.networks.discovery import PROJECTIONS, attention_fast_path_off
from clado_core.quantization.weights import RANGE_STEP, RANGE_STEPS
from clado_core.records.layers import LayerInfo, LayerTable
from clado_core.records.scheme import BitWidths, QuantizationScheme, act_widths

SEARCHED_VALUES = 1 << 16
"""At most this many values of a tensor, drawn with a fixed seed, decide its range."""
OLD_SHARE = 0.9
"""What an average over batches keeps of the earlier ones."""
SEED = 20250705
ATTENTION_ARGUMENTS = ("query", "key", "value")

Ranges = npt.NDArray[np.float64]


def search_range(x: Tensor, bits: int, /, *, shrink: bool = True) -> tuple[float, float]:
    """Lowest and highest value to represent, 0 among them.

    Args:
        x: Any shape.
        bits: 2 to 8.
        shrink: False takes the observed range ("min-max").
    """
    low, high = (min(float(x.min()), 0.0), max(float(x.max()), 0.0))
    if not math.isfinite(high - low):
        return 0.0, 0.0  # the reference loss will not be finite either, and says so
    if not shrink or low == high:
        return low, high
    values = x.detach().flatten().to(torch.float32)
    if len(values) > SEARCHED_VALUES:
        generator = torch.Generator().manual_seed(SEED)
        drawn = torch.randint(len(values), (SEARCHED_VALUES,), generator=generator)
        values = values[drawn.to(values.device)]
    steps = [1 - RANGE_STEP * k for k in range(RANGE_STEPS)]
    errors = [
        (fake_quantize_input(values, step * low, step * high, bits) - values).square().mean()
        for step in steps
    ]
    best = steps[int(torch.stack(errors).argmin())]
    return best * low, best * high


def fake_quantize_input(x: Tensor, low: float, high: float, bits: int, /) -> Tensor:
    """s·(clamp(round(x/s) + z, 0, 2^b − 1) − z) with s = (high − low)/(2^b − 1), z = round(−low/s).

    Args:
        x: Any shape; not changed.
        low: At most 0; ``high`` is at least 0. Where both are 0 the input is returned.
        high: Highest value represented.
        bits: 2 to 8.
    """
    if low == high:
        return x
    levels = 2**bits - 1
    scale = (high - low) / levels
    zero = round(-low / scale)
    return x.div(scale).round_().add_(zero).clamp_(0, levels).sub_(zero).mul_(scale)


class InputQuantizer:
    """Quantizes the inputs of a network's searched layers while they are asked to.

    Works through hooks, so a layer's module must be called. The output projection of
    ``nn.MultiheadAttention`` is not: where its input is quantized, the attention is computed with
    the identity in its place and the projection is applied after. As a context manager it takes
    the hooks away at the end.

    Args:
        model: In eval mode.
        layers: Its searched layers.
        act_widths: Bit-widths to know ranges for.
        shrink: Whether ranges are searched.

    Raises:
        InputError: A layer's module is not there.
    """

    def __init__(
        self, model: nn.Module, layers: LayerTable, act_widths: BitWidths, /, *, shrink: bool
    ) -> None:
        self._layers, self._shrink = layers, shrink
        self.act_widths = act_widths
        self.ranges: Ranges = np.zeros((len(layers), len(act_widths), 2))
        self.largest_bytes = 0.0
        """Of a quantized input, per sample."""
        self._active: dict[int, int] = {}
        self._seen: set[int] = set()
        self._observing = False
        self._handles: list[Any] = []
        attention: dict[str, dict[str, int]] = {}
        for i, layer in enumerate(layers.layers):
            module, _, part = layer.name.rpartition(".")
            if layer.kind == "attention":
                attention.setdefault(module, {})[part] = i
            else:
                self._attach_layer(_module(model, layer), i)
        for name, parts in attention.items():
            self._attach_attention(model.get_submodule(name), parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def apply(self, act_bits: Mapping[int, int], /) -> None:
        """Quantize exactly these inputs: position of a layer → bit-width."""
        self._active = dict(act_bits)

    def load(self, ranges: Ranges, /) -> None:
        """Use ranges found before, shape (L, A, 2)."""
        self.ranges = np.array(ranges, dtype=np.float64)

    @torch.no_grad()
    def calibrate(self, model: nn.Module, inputs: Iterable[Tensor], /) -> None:
        """Find the ranges on the float network, batch by batch.

        Raises:
            InputError: A layer is never called, so nothing is known of its input.
        """
        self._observing, self._active = True, {}
        self._seen.clear()
        try:
            with attention_fast_path_off():
                for x in inputs:
                    model(x.clone())
        finally:
            self._observing = False
        unseen = [x.name for i, x in enumerate(self._layers.layers) if i not in self._seen]
        if unseen:
            raise InputError(
                f"The inputs of {', '.join(unseen)} cannot be quantized, as the network uses "
                "these weights without calling their modules; leave inputs float (no act_bits)."
            )

    def _input(self, i: int, x: Tensor) -> Tensor:
        """A layer's input as the layer shall see it."""
        if self._observing:
            self._observe(i, x)
        elif (bits := self._active.get(i)) is not None:
            low, high = self.ranges[i, self.act_widths.index(bits)]
            return fake_quantize_input(x, float(low), float(high), bits)
        return x

    def _observe(self, i: int, x: Tensor) -> None:
        self.largest_bytes = max(self.largest_bytes, x.numel() * x.element_size() / len(x))
        for k, bits in enumerate(self.act_widths):
            found = np.array(search_range(x, bits, shrink=self._shrink))
            kept = OLD_SHARE if i in self._seen else 0.0
            self.ranges[i, k] = kept * self.ranges[i, k] + (1 - kept) * found
        self._seen.add(i)

    def _attach_layer(self, module: nn.Module, i: int) -> None:
        def before(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (self._input(i, args[0]), *args[1:])

        self._handles.append(module.register_forward_pre_hook(before))

    def _attach_attention(self, module: nn.Module, parts: Mapping[str, int]) -> None:
        inputs = [parts.get(projection) for projection in PROJECTIONS]
        out = parts.get("out_proj")
        original: list[tuple[nn.Parameter, nn.Parameter | None]] = []

        def before(
            attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            given = dict(zip(ATTENTION_ARGUMENTS, args, strict=False)) | kwargs
            made: dict[tuple[Any, ...], Tensor] = {}
            for argument, i in zip(ATTENTION_ARGUMENTS, inputs, strict=True):
                if i is not None:
                    # One tensor stays one tensor: attention takes another way for queries alone.
                    ranges = self.ranges[i].tobytes()
                    same = (id(given[argument]), self._active.get(i), ranges, self._observing and i)
                    if same not in made:
                        made[same] = self._input(i, given[argument])
                    given[argument] = made[same]
            if out is not None and (self._observing or out in self._active):
                projection = attention.out_proj
                original.append((projection.weight, projection.bias))
                projection.weight = nn.Parameter(
                    torch.eye(len(projection.weight)).to(projection.weight), requires_grad=False
                )
                if projection.bias is not None:
                    projection.bias = nn.Parameter(
                        torch.zeros_like(projection.bias), requires_grad=False
                    )
            rest = args[len(ATTENTION_ARGUMENTS) :]
            return (*(given.pop(name) for name in ATTENTION_ARGUMENTS), *rest), given

        def after(attention: Any, args: Any, result: Any) -> Any:
            if not original:
                return result
            weight, bias = original.pop()
            attention.out_proj.weight, attention.out_proj.bias = weight, bias
            if out is None or result is None:
                return result
            mixed, *others = result
            return (F.linear(self._input(out, mixed), weight, bias), *others)

        self._handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        # Called after a failure too, so that the projection is always put back.
        self._handles.append(module.register_forward_hook(after, always_call=True))


@contextmanager
def quantizing_inputs(
    model: nn.Module,
    layers: LayerTable,
    menu: BitWidths,
    scheme: QuantizationScheme,
    /,
    *,
    calibrate_on: Iterable[Tensor] = (),
    ranges: Ranges | None = None,
) -> Iterator[InputQuantizer | None]:
    """The quantizer of inputs that a menu and a scheme ask for; None where inputs stay float.

    Args:
        model: In eval mode.
        layers: Its searched layers.
        menu: May hold joint choices.
        scheme: Its ``act_bits`` hold for all other choices.
        calibrate_on: Inputs of the network, batch by batch, where no ranges are given.
        ranges: Found before, shape (L, A, 2).
    """
    if not (widths := act_widths(menu, scheme)):
        yield None
        return
    with InputQuantizer(model, layers, widths, shrink=scheme.range_rule == "mse") as inputs:
        if ranges is None:
            inputs.calibrate(model, calibrate_on)
        else:
            inputs.load(ranges)
        yield inputs


def _module(model: nn.Module, layer: LayerInfo) -> nn.Module:
    try:
        return model.get_submodule(layer.name)
    except AttributeError:
        raise InputError(
            f"The network has no module '{layer.name}'; give the network that was measured."
        ) from None

"""Quantize the inputs of layers inside a network.

A range is an exponential average, over batches, of the best one for each. Source: CLADO's released
code (MQBench's EMA-MSE observer).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clado_core.errors import InputError
from clado_core.networks.discovery import attention_fast_path_off
from clado_core.networks.searchable import PROJECTIONS
from clado_core.quantization.input_ranges import fake_quantize_input, search_range
from clado_core.records.layers import LayerInfo, LayerTable
from clado_core.records.scheme import BitWidths, QuantizationScheme, act_widths, input_bits

OLD_SHARE = 0.9
"""What an average over batches keeps of the earlier ones."""
ATTENTION_ARGUMENTS = ("query", "key", "value")

Ranges = npt.NDArray[np.float64]


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

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def apply(self, act_bits: Mapping[int, int], /) -> None:
        """Quantize exactly these inputs: position of a layer → bit-width."""
        self._active = dict(act_bits)

    def apply_choices(self, bits: Mapping[int, int], scheme: QuantizationScheme, /) -> None:
        """Quantize exactly the inputs that choices say: position of a layer → menu entry."""
        acts = {i: input_bits(b) or scheme.act_bits for i, b in bits.items()}
        self.apply({i: act for i, act in acts.items() if act is not None})

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
        hooks = _AttentionHooks(self, parts)
        self._handles.append(module.register_forward_pre_hook(hooks.before, with_kwargs=True))
        # Called after a failure too, so that the projection is always put back.
        self._handles.append(module.register_forward_hook(hooks.after, always_call=True))

    def _is_changed(self, i: int) -> bool:
        """Whether a layer's input is observed or quantized now."""
        return self._observing or i in self._active

    def _treatment(self, i: int) -> Hashable:
        """Equal for inputs that one tensor may stand for: observed apart, quantized alike."""
        return self._active.get(i), self.ranges[i].tobytes(), self._observing and i


class _AttentionHooks:
    """Quantizes what one ``nn.MultiheadAttention`` and its output projection read.

    Args:
        quantizer: Knows what to do with each input.
        parts: Projection → position of its layer.
    """

    def __init__(self, quantizer: InputQuantizer, parts: Mapping[str, int]) -> None:
        self._quantizer = quantizer
        self._inputs = {
            argument: parts[projection]
            for argument, projection in zip(ATTENTION_ARGUMENTS, PROJECTIONS, strict=True)
            if projection in parts
        }
        self._out = parts.get("out_proj")
        self._set_aside: list[tuple[nn.Parameter, nn.Parameter | None]] = []

    def before(
        self, attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the projections shall see them; the output projection is set aside."""
        given = dict(zip(ATTENTION_ARGUMENTS, args, strict=False)) | kwargs
        made: dict[Hashable, Tensor] = {}
        for argument, i in self._inputs.items():
            # One tensor stays one tensor: attention takes another way for queries alone.
            same = (id(given[argument]), self._quantizer._treatment(i))
            if same not in made:
                made[same] = self._quantizer._input(i, given[argument])
            given[argument] = made[same]
        if self._out is not None and self._quantizer._is_changed(self._out):
            self._put_identity(attention.out_proj)
        rest = args[len(ATTENTION_ARGUMENTS) :]
        return (*(given.pop(name) for name in ATTENTION_ARGUMENTS), *rest), given

    def after(self, attention: Any, args: Any, result: Any) -> Any:
        """The output projection, put back and applied to its input as it shall see it."""
        if not self._set_aside:
            return result
        weight, bias = self._set_aside.pop()
        attention.out_proj.weight, attention.out_proj.bias = weight, bias
        if self._out is None or result is None:
            return result
        mixed, *others = result
        return (F.linear(self._quantizer._input(self._out, mixed), weight, bias), *others)

    def _put_identity(self, projection: Any) -> None:
        weight, bias = projection.weight, projection.bias
        self._set_aside.append((weight, bias))
        identity = torch.eye(len(weight)).to(weight)
        projection.weight = nn.Parameter(identity, requires_grad=False)
        if bias is not None:
            projection.bias = nn.Parameter(torch.zeros_like(bias), requires_grad=False)


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

"""Watch what the searched layers of a network multiply their weights with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from clado_core.networks.discovery import PROJECTIONS
from clado_core.quantization.inputs import ATTENTION_ARGUMENTS
from clado_core.quantization.weight_swap import weight_slice
from clado_core.records.layers import LayerInfo

Pair: TypeAlias = tuple[int, int]

_ATTENTION = inspect.signature(F.multi_head_attention_forward)
_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_LINEAR = ("input", "weight", "bias")


@dataclass(frozen=True, slots=True)
class Windows:
    """Which inputs a convolution reads for each of its outputs, zeros around them.

    Args:
        kernel: Height and width.
        stride: Likewise, as are ``dilation`` and ``before`` and ``after``, the zeros added.
        groups: Groups of channels.
    """

    kernel: Pair
    stride: Pair
    dilation: Pair
    before: Pair
    after: Pair
    groups: int


@dataclass(frozen=True, slots=True, eq=False)
class LayerCall:
    """One product with a layer's weight.

    Args:
        layer: The layer.
        x: What the weight met: shape (N, C, H, W) for a convolution, else (..., width).
        output: The product, bias added; None for q, k and v, which are computed as one.
        windows: Of a convolution; None for a matrix product.
    """

    layer: LayerInfo
    x: Tensor
    output: Tensor | None
    windows: Windows | None


class LayerCalls(TorchFunctionMode):
    """Reports every call of the given layers while active.

    Calls are noticed where they are computed, not at the module: padding of a module's own is then
    part of the input, and weights that a network uses without calling their modules, such as all
    four of ``nn.MultiheadAttention``, are seen like others (its fused path must be off). Where a
    layer's module computes its weight from the parameter, the product with that counts.

    Args:
        model: The network.
        layers: Some or all of its searched layers.
        on_call: Called after each product.

    Raises:
        InputError: A layer's parameter is not there or has another shape.
    """

    def __init__(
        self, model: nn.Module, layers: Iterable[LayerInfo], on_call: Callable[[LayerCall], None], /
    ) -> None:
        super().__init__()
        self._model, self._on_call = model, on_call
        self._layers: dict[tuple[int, int], LayerInfo] = {}
        for layer in layers:
            weight_slice(model, layer)
            self._layers[id(model.get_parameter(layer.parameter)), layer.row_start] = layer
        self._inside: list[LayerInfo] = []
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        modules = dict(self._model.named_modules(remove_duplicate=False))
        for layer in self._layers.values():
            if (module := modules.get(layer.name)) is not None:
                self._attach(module, layer)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._inside.clear()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is F.multi_head_attention_forward:
            return self._attend(_ATTENTION.bind(*args, **given).arguments)
        result = func(*args, **given)
        if func is torch.conv2d:
            self._report_convolution(dict(zip(_CONVOLUTION, args, strict=False)) | given, result)
        elif func is F.linear:
            self._report_linear(dict(zip(_LINEAR, args, strict=False)) | given, result)
        return result

    def _attach(self, module: nn.Module, layer: LayerInfo) -> None:
        def enter(*_: Any) -> None:
            self._inside.append(layer)

        def leave(*_: Any) -> None:
            self._inside.pop()

        self._handles.append(module.register_forward_pre_hook(enter))
        self._handles.append(module.register_forward_hook(leave, always_call=True))

    def _layer_of(self, weight: Tensor) -> LayerInfo | None:
        if (layer := self._layers.get((id(weight), 0))) is not None:
            return layer if weight.shape == layer.shape else None
        inner = self._inside[-1] if self._inside else None
        computed = inner is not None and not isinstance(weight, nn.Parameter)
        return inner if computed and inner and weight.shape == inner.shape else None

    def _report_linear(self, given: Mapping[str, Any], output: Tensor) -> None:
        if (layer := self._layer_of(given["weight"])) is not None:
            self._on_call(LayerCall(layer, given["input"], output, None))

    def _report_convolution(self, given: Mapping[str, Any], output: Tensor) -> None:
        if (layer := self._layer_of(given["weight"])) is None:
            return
        x: Tensor = given["input"]
        windows = _windows(given["weight"], given)
        self._on_call(LayerCall(layer, x if x.ndim == 4 else x[None], output, windows))

    def _attend(self, given: dict[str, Any]) -> Any:
        """Attention; its output projection is applied after it where that layer is watched."""
        for name, key in zip(ATTENTION_ARGUMENTS, _projections(given), strict=True):
            layer, x = self._layers.get(key), given[name]
            if layer is not None and layer.shape == (given["embed_dim_to_check"], x.shape[-1]):
                self._on_call(LayerCall(layer, x, None, None))
        weight, bias = given["out_proj_weight"], given["out_proj_bias"]
        if (layer := self._layer_of(weight)) is None:
            return F.multi_head_attention_forward(**given)
        identity = torch.eye(len(weight)).to(weight)
        changed = given | {"out_proj_weight": identity, "out_proj_bias": None}
        mixed, *others = F.multi_head_attention_forward(**changed)
        output = F.linear(mixed, weight, bias)
        self._on_call(LayerCall(layer, mixed, output, None))
        return (output, *others)


def _projections(given: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Object and first row of the weights of q, k and v."""
    if given.get("use_separate_proj_weight"):
        return [(id(given[f"{name}_weight"]), 0) for name in PROJECTIONS]
    width = given["embed_dim_to_check"]
    return [(id(given["in_proj_weight"]), k * width) for k in range(len(PROJECTIONS))]


def _windows(weight: Tensor, given: Mapping[str, Any]) -> Windows:
    height, width = weight.shape[2:]
    dilation = _pair(given.get("dilation", 1))
    padding = given.get("padding", 0)
    before = after = (0, 0) if isinstance(padding, str) else _pair(padding)
    if padding == "same":
        added = (dilation[0] * (height - 1), dilation[1] * (width - 1))
        before = (added[0] // 2, added[1] // 2)
        after = (added[0] - before[0], added[1] - before[1])
    stride = _pair(given.get("stride", 1))
    return Windows((height, width), stride, dilation, before, after, given.get("groups", 1))


def _pair(value: int | Iterable[int]) -> Pair:
    if isinstance(value, int):
        return value, value
    first, *rest = value
    return first, (rest[0] if rest else first)

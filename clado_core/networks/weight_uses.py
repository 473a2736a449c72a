"""Notice convolutions and matrix products that a network computes without calling a module."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from clado_core.errors import InputError

_CHANNELS_AT: dict[Any, tuple[str, int]] = {torch.conv2d: ("conv2d", 1), F.linear: ("linear", -1)}
"""Function → what it is called, and the axis of its output that holds the channels."""


class WeightUses(TorchFunctionMode):
    """Counts output positions per weight while active, whoever calls the function."""

    def __init__(self) -> None:
        super().__init__()
        self._positions: dict[int, int] = defaultdict(int)
        self._weights: dict[int, tuple[str, Tensor]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        if func in _CHANNELS_AT:
            kind, axis = _CHANNELS_AT[func]
            weight = given.get("weight", args[1] if len(args) > 1 else None)
            if isinstance(weight, nn.Parameter):
                self._positions[id(weight)] += result.numel() // result.shape[axis]
                self._weights[id(weight)] = kind, weight
        return result

    def positions(self, weight: object, /) -> int:
        """Output positions computed with this very parameter, over all samples; 0 for none."""
        return self._positions.get(id(weight), 0)

    def refuse_others(self, model: nn.Module, known: set[str], /) -> None:
        """Make sure that every parameter used so is a searched layer's.

        Raises:
            InputError: A convolution or product uses a parameter of its own; the sentence names it.
        """
        names = {id(p): name for name, p in model.named_parameters(remove_duplicate=False)}
        layers = {id(p) for name, p in model.named_parameters() if name in known}
        for key, (kind, _) in self._weights.items():
            if key not in layers and key in names:
                raise InputError(
                    f"The parameter '{names[key]}' is the weight of a functional {kind}, outside "
                    "any nn.Conv2d or nn.Linear, so it would silently stay float; put it into such "
                    "a module."
                )

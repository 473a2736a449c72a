"""The weights of a network whose bit-widths can be searched, as its modules hold them.

These are Conv2d (grouped too), Linear, and the projections of ``nn.MultiheadAttention``, which
keeps q, k and v as rows of one parameter and reads ``out_proj.weight`` without calling the module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from clado_core.records.layers import LayerKind

PROJECTIONS = ("q_proj", "k_proj", "v_proj")
SEARCHED = (nn.Conv2d, nn.Linear, nn.MultiheadAttention)


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight before its uses are counted.

    Args:
        name: As of the layer.
        kind: Likewise.
        parameter: Entry of the state dict that holds it.
        shape: Of its own rows.
        module: Name of the module whose call uses it.
        row_start: First of its rows in the parameter.
    """

    name: str
    kind: LayerKind
    parameter: str
    shape: tuple[int, ...]
    module: str
    row_start: int = 0

    @property
    def rows(self) -> tuple[int, int]:
        """First row in the parameter, and the one after the last."""
        return self.row_start, self.row_start + self.shape[0]

    @property
    def n_weights(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


def list_weights(model: nn.Module, /) -> list[Weight]:
    """All of them in the order they are defined; a module under two names counts once."""
    return list(_weights(model))


def _weights(model: nn.Module) -> Iterator[Weight]:
    inside_attention = {
        id(module.out_proj)
        for module in model.modules()
        if isinstance(module, nn.MultiheadAttention)
    }
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            yield from _attention_weights(name, module)
        elif isinstance(module, nn.Conv2d | nn.Linear) and id(module) not in inside_attention:
            kind: LayerKind = "conv2d" if isinstance(module, nn.Conv2d) else "linear"
            yield Weight(name, kind, join(name, "weight"), tuple(module.weight.shape), name)


def _attention_weights(name: str, module: nn.MultiheadAttention) -> Iterator[Weight]:
    width = module.embed_dim
    shape: tuple[int, ...]
    for row, projection in enumerate(PROJECTIONS):
        if module.in_proj_weight is not None:
            parameter, start, shape = "in_proj_weight", row * width, (width, width)
        else:
            parameter, start = f"{projection}_weight", 0
            shape = tuple(getattr(module, parameter).shape)
        own = join(name, projection)
        yield Weight(own, "attention", join(name, parameter), shape, name, start)
    out = join(name, "out_proj")
    shape = tuple(module.out_proj.weight.shape)
    yield Weight(out, "attention", join(out, "weight"), shape, name)


def join(*parts: str) -> str:
    """A dotted name; empty parts, such as the name of the network itself, are left out."""
    return ".".join(part for part in parts if part)

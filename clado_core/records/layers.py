"""The layers whose bit-widths are searched, with the sizes that budgets count."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from clado_core._typing import LayerVector
from clado_core.errors import InputError
from clado_core.records.float_parts import FloatPart
from clado_core.records.scheme import weight_bits

LayerKind: TypeAlias = Literal["conv2d", "linear", "attention", "unknown"]

FLOAT_BYTES = 4
"""What is not quantized is stored as float32."""

MOST_WEIGHTS = 2**50
"""At 8 bits each, their bits are still exact in float64."""

MOST_MACS = 2**54
"""At 8 bits by 32, their bit operations still fit 64 bits."""


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One quantizable weight.

    Args:
        name: Unique name; the module's, or ``<attention module>.q_proj`` for a packed projection.
        kind: "attention" for a projection inside ``nn.MultiheadAttention``.
        shape: Weight shape, output channels first; for a packed projection its own rows only.
        macs: Multiply-accumulates per sample = weights × output positions (0: not known).
        block: Residual or transformer block the layer stands in; charts group by it.
        parameter: Entry of the state dict that holds the weight.
        row_start: First row of the weight inside that entry (k and v of a packed projection).
    """

    name: str
    kind: LayerKind
    shape: tuple[int, ...]
    macs: int = 0
    block: str = ""
    parameter: str = ""
    row_start: int = 0

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise InputError(
                f"Layer '{self.name}' has weight shape {self.shape}; sizes start at 1."
            )

    @property
    def n_weights(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def out_channels(self) -> int:
        """Rows of the weight: one scale each when quantized per channel."""
        return self.shape[0]

    def weight_bytes(self, bits: int) -> int:
        """Bytes of the packed integers, rounded up to a whole byte; of a joint choice likewise."""
        return -(-self.n_weights * weight_bits(bits) // 8)


@dataclass(frozen=True, slots=True)
class LayerTable:
    """All searched layers in network order, and the bytes of everything that stays float.

    Args:
        layers: At least one, with unique names.
        other_bytes: Bytes of biases, normalization and unquantized layers, as float32.
        float_parts: What these are, part by part; None where that is not known.

    Raises:
        InputError: Empty, two layers share a name, sizes too large to be counted exactly, or parts
            that are not ``other_bytes`` together.
    """

    layers: tuple[LayerInfo, ...]
    other_bytes: int = 0
    float_parts: tuple[FloatPart, ...] | None = None

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError(
                "There is no layer to quantize: no Conv2d, Linear or attention weight."
            )
        names = self.names
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise InputError(f"Layer names must be unique; found twice: {', '.join(twice)}.")
        if self.float_parts is not None:
            found = sum(part.n_bytes for part in self.float_parts)
            if found != self.other_bytes:
                raise InputError(
                    f"The parts that stay float have {found:,} bytes together, expected "
                    f"{self.other_bytes:,}."
                )
        for what, sizes, most in (
            ("weights", [layer.n_weights for layer in self.layers], MOST_WEIGHTS),
            ("multiply-accumulates", [layer.macs for layer in self.layers], MOST_MACS),
        ):
            if sum(sizes) > most:
                raise InputError(
                    f"The layers have more than {most:,} {what}, most of them "
                    f"'{names[sizes.index(max(sizes))]}': such a size cannot be counted exactly."
                )

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        return f"LayerTable({len(self)} layers, {self.total_weights:,} weights)"

    @property
    def names(self) -> tuple[str, ...]:
        """Layer names in network order."""
        return tuple(layer.name for layer in self.layers)

    @property
    def n_weights(self) -> LayerVector:
        """Weights per layer."""
        return np.array([layer.n_weights for layer in self.layers], dtype=np.int64)

    @property
    def macs(self) -> LayerVector:
        """Multiply-accumulates per sample and layer."""
        return np.array([layer.macs for layer in self.layers], dtype=np.int64)

    @property
    def total_weights(self) -> int:
        """Searched weights of the whole network."""
        return int(self.n_weights.sum())

    @property
    def float_bytes(self) -> int:
        """Bytes of the whole network as float32."""
        return self.other_bytes + FLOAT_BYTES * self.total_weights

    def index(self, name: str) -> int:
        """Position of a layer; raises InputError that suggests the nearest names."""
        try:
            return self.names.index(name)
        except ValueError:
            raise InputError(_unknown_layer(name, self.names)) from None


def _unknown_layer(name: str, names: Iterable[str]) -> str:
    known = list(names)
    near = difflib.get_close_matches(name, known, n=3) or known[:3]
    return f"There is no layer named '{name}'; did you mean {' or '.join(near)}?"

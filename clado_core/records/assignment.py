"""One bit-width per layer, and what it weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clado_core.errors import InputError
from clado_core.records.layers import LayerTable
from clado_core.records.scheme import (
    BitWidths,
    QuantizationScheme,
    input_bits,
    menu_entries,
    weight_bits,
)
from clado_core.records.sizes import fixed_bytes


@dataclass(frozen=True, slots=True)
class Assignment:
    """One bit-width per layer.

    Args:
        layers: The searched layers.
        bits: Bit-widths in the same order, shape (L,).
        scheme: The quantizer, which decides how many bytes the scales take.
    """

    layers: LayerTable
    bits: BitWidths
    scheme: QuantizationScheme
    size_bits: int = field(init=False, repr=False, compare=False)
    """Bits of the searched weights, Σ n_i·b_i; known once, as every comparison asks for it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", menu_entries(self.bits))
        if len(self.bits) != len(self.layers):
            raise InputError(
                f"The assignment has {len(self.bits)} bit-widths for {len(self.layers)} layers."
            )
        pairs = zip(self.layers.layers, self.bits, strict=True)
        size_bits = sum(layer.n_weights * weight_bits(b) for layer, b in pairs)
        object.__setattr__(self, "size_bits", size_bits)

    def __repr__(self) -> str:
        return f"Assignment({self.summary})"

    @property
    def summary(self) -> str:
        """How many layers, how many bits and how large, in a line."""
        return f"{len(self.bits)} layers, {self.avg_bits:.2f} bits, {self.size_bytes:,} bytes"

    @property
    def avg_bits(self) -> float:
        """Average bits per searched weight."""
        return self.size_bits / self.layers.total_weights

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole packed file: weights, scales, all that stays float32, its header."""
        packed = sum(
            layer.weight_bytes(weight_bits(b))
            for layer, b in zip(self.layers.layers, self.bits, strict=True)
        )
        return packed + fixed_bytes(self.layers, self.scheme)

    @property
    def bops(self) -> int:
        """Bit operations per sample: Σ MACs·b_weight·b_activation (0 where MACs are unknown)."""
        return sum(
            layer.macs * weight_bits(b) * (input_bits(b) or self.scheme.activation_bits)
            for layer, b in zip(self.layers.layers, self.bits, strict=True)
        )

    def by_layer(self) -> dict[str, int]:
        """Layer name → bits."""
        return dict(zip(self.layers.names, self.bits, strict=True))

    def changes_from(self, other: Assignment, /) -> dict[str, tuple[int, int]]:
        """Layer name → (bits in other, bits here), only where they differ."""
        return {
            name: (before, after)
            for name, before, after in zip(self.layers.names, other.bits, self.bits, strict=True)
            if before != after
        }


def assignment_from_mapping(
    layers: LayerTable, scheme: QuantizationScheme, bits: Mapping[str, int], /
) -> Assignment:
    """Order a layer name → bits mapping by the layer table.

    Raises:
        InputError: A layer is unknown or missing.
    """
    for name in bits:
        layers.index(name)
    missing = [name for name in layers.names if name not in bits]
    if missing:
        raise InputError(f"The assignment gives no bit-width for {', '.join(missing)}.")
    return Assignment(layers, tuple(int(bits[name]) for name in layers.names), scheme)

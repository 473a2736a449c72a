"""What a bit-width means: the integer levels, the granularity of scales and the range rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from clado_core.errors import InputError

BitWidths: TypeAlias = tuple[int, ...]
Granularity: TypeAlias = Literal["per-channel", "per-tensor"]
RangeRule: TypeAlias = Literal["mse", "min-max"]

MIN_BITS = 2
MAX_BITS = 8
SCALE_BYTES = 4
"""Scales are stored as float32."""
FLOAT_ACTIVATION_BITS = 32
"""Bits counted for an activation that is not quantized, in bit operations (BOPs)."""


@dataclass(frozen=True, slots=True)
class QuantizationScheme:
    """How weights (and, optionally, the inputs of layers) are quantized.

    Weights are symmetric: w ≈ s·q with q an integer in ``integer_range(bits)``, one scale s per
    output channel or one per tensor, chosen by mean squared error or from the largest value.

    Args:
        granularity: "per-channel" (scale shape ``(out_channels,)``) or "per-tensor" (one scale).
        range_rule: "mse" searches the scale, "min-max" covers the largest magnitude.
        act_bits: Bit-width of the perturbed layer's input, or None for float activations.

    Raises:
        InputError: A field has a value outside those listed.
    """

    granularity: Granularity = "per-channel"
    range_rule: RangeRule = "mse"
    act_bits: int | None = None

    def __post_init__(self) -> None:
        _require_choice("granularity", self.granularity, get_args(Granularity))
        _require_choice("range rule", self.range_rule, get_args(RangeRule))
        if self.act_bits is not None and not MIN_BITS <= self.act_bits <= MAX_BITS:
            raise InputError(
                f"Activation bits must be {MIN_BITS} to {MAX_BITS} or none, not {self.act_bits}."
            )

    @property
    def activation_bits(self) -> int:
        """Bits of an activation in bit operations: its bit-width, or 32 where it stays float."""
        return self.act_bits or FLOAT_ACTIVATION_BITS

    def scale_bytes(self, out_channels: int) -> int:
        """Bytes of one layer's scales: 4 per output channel, or 4 in all."""
        return SCALE_BYTES * (out_channels if self.granularity == "per-channel" else 1)


def integer_range(bits: int) -> tuple[int, int]:
    """Smallest and largest integer level, [−2^(bits−1), 2^(bits−1)−1] (as ONNX int2/int4/int8)."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def bit_menu(bits: Iterable[int], /) -> BitWidths:
    """The menu 𝔹 of bit-widths, ascending.

    Args:
        bits: Distinct integers from 2 to 8, in any order.

    Raises:
        InputError: Empty, duplicate, or outside 2 to 8.
    """
    menu = tuple(sorted(int(b) for b in bits))
    if not menu:
        raise InputError("The bit-width menu is empty: give at least one, such as 2,4,8.")
    if len(set(menu)) != len(menu):
        raise InputError(f"The bit-width menu {menu} names a bit-width twice.")
    if menu[0] < MIN_BITS or menu[-1] > MAX_BITS:
        raise InputError(
            f"Bit-widths must be from {MIN_BITS} to {MAX_BITS}; the menu given is {menu}."
        )
    return menu


def parse_bit_menu(text: str, /) -> BitWidths:
    """Read a menu such as ``"2,4,8"``; raises InputError where it is not one."""
    try:
        return bit_menu(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"'{text}' is not a list of bit-widths such as 2,4,8.") from None


def _require_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"Unknown {what} '{value}': choose one of {', '.join(choices)}.")

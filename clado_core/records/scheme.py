"""What a bit-width means: the integer levels, the granularity of scales and the range rule.

An entry of a menu is a whole number: the bit-width of the weight, 2 to 8, or a joint choice of
weight and input, which ``JointBits`` packs into one number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from clado_core.errors import InputError

BitWidths: TypeAlias = tuple[int, ...]
Granularity: TypeAlias = Literal["per-channel", "per-tensor"]
GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
RangeRule: TypeAlias = Literal["mse", "min-max"]
RANGE_RULES: tuple[RangeRule, ...] = get_args(RangeRule)

MIN_BITS = 2
MAX_BITS = 8
SCALE_BYTES = 4
"""Scales are stored as float32."""
FLOAT_ACTIVATION_BITS = 32
"""Bits counted for an activation that is not quantized, in bit operations (BOPs)."""
_JOINT = 256


class JointBits(int):
    """Bits of a weight and of its layer's input as one menu entry: 256·weight + input.

    As a number it sorts by weight, then by input; as text it is "4a8" for weights of 4 bits and
    an input of 8.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return f"{weight_bits(self)}a{input_bits(self)}"


def weight_bits(bits: int, /) -> int:
    """Bit-width of the weight in a menu entry."""
    return int(bits) // _JOINT if bits >= _JOINT else int(bits)


def input_bits(bits: int, /) -> int | None:
    """Bit-width of the layer's input in a joint menu entry; None where it names none."""
    return int(bits) % _JOINT if bits >= _JOINT else None


def act_widths(menu: BitWidths, scheme: QuantizationScheme, /) -> BitWidths:
    """Bit-widths that inputs are quantized to, ascending; none where they stay float."""
    joint = {act for b in menu if (act := input_bits(b)) is not None}
    return tuple(sorted(joint)) or ((scheme.act_bits,) if scheme.act_bits else ())


def joint_menu(weights: Iterable[int], inputs: Iterable[int], /) -> BitWidths:
    """Every weight bit-width with every input bit-width.

    Raises:
        InputError: Either is empty, has duplicates, or leaves 2 to 8.
    """
    acts = bit_menu(inputs)
    return tuple(JointBits(_JOINT * w + a) for w in bit_menu(weights) for a in acts)


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
        _require_choice("granularity", self.granularity, GRANULARITIES)
        _require_choice("range rule", self.range_rule, RANGE_RULES)
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
        bits: Distinct integers from 2 to 8 in any order, or joint choices alone.

    Raises:
        InputError: Empty, duplicate, outside 2 to 8, or joint choices beside others.
    """
    menu = tuple(sorted(_entry(int(b)) for b in bits))
    if not menu:
        raise InputError("The bit-width menu is empty: give at least one, such as 2,4,8.")
    shown = ", ".join(map(str, menu))
    if len(set(menu)) != len(menu):
        raise InputError(f"The bit-width menu {shown} names a bit-width twice.")
    parts = {part for b in menu for part in (weight_bits(b), input_bits(b)) if part is not None}
    if min(parts) < MIN_BITS or max(parts) > MAX_BITS:
        raise InputError(
            f"Bit-widths must be from {MIN_BITS} to {MAX_BITS}; the menu given is {shown}."
        )
    if len({input_bits(b) is None for b in menu}) > 1:
        raise InputError(f"The menu {shown} mixes weights alone with weights and inputs.")
    return menu


def parse_bit_menu(text: str, /) -> BitWidths:
    """Read a menu such as ``"2,4,8"`` or ``"4a4,4a8"``; raises InputError where it is not one."""
    return bit_menu([parse_bits(part, within=text) for part in text.split(",")])


def parse_bits(text: str, /, *, within: str | None = None) -> int:
    """Read one menu entry, such as ``"4"`` or ``"4a8"``.

    Args:
        text: The entry.
        within: The list it stands in, for the sentence.

    Raises:
        InputError: It is no entry.
    """
    weight, a, act = text.strip().partition("a")
    try:
        parts = [int(weight), *([int(act)] if a else [])]
        if not 1 <= min(parts) <= max(parts) < _JOINT:
            # Packed into one number it would read as another entry: 2a520 as 4a8.
            raise ValueError
        return JointBits(_JOINT * parts[0] + parts[1]) if a else parts[0]
    except ValueError:
        what = f"'{text}' is not a bit-width" if within is None else f"'{within}' is not a list of "
        what += " such as 4" if within is None else "bit-widths such as 2,4,8"
        raise InputError(f"{what}, or 4a8 for weights of 4 bits and inputs of 8.") from None


def menu_entries(bits: BitWidths, /) -> BitWidths:
    """The same entries, joint choices as such: numpy knows them only as numbers."""
    return tuple(map(_entry, bits)) if max(bits, default=0) >= _JOINT else bits


def bits_to_json(bits: int, /) -> int | str:
    """A menu entry in JSON: a number, or the text of a joint choice."""
    entry = _entry(bits)
    return str(entry) if isinstance(entry, JointBits) else int(entry)


def _entry(bits: int) -> int:
    return JointBits(bits) if bits >= _JOINT else bits


def _require_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"Unknown {what} '{value}': choose one of {', '.join(choices)}.")

"""What a target does with each layer of a choice, told before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from clado_core.records.layers import LayerInfo

FLOAT_BITS = 32


class Handling(Enum):
    """What becomes of a layer's bit-width; the value is the phrase shown to users."""

    RUNS = "kept at the chosen bits"
    WIDENED = "kept in more bits, with the same values"
    SIMULATED = "simulated at the chosen bits, carried in a wider type"
    UPCAST = "given more bits, because asked to"
    FLOAT = "left in float32, because asked to"
    REFUSED = "without a form there"

    @property
    def code(self) -> str:
        """Name in JSON."""
        return self.name.lower()


class ChosenLayer(NamedTuple):
    """A layer with its chosen weight bits.

    Args:
        layer: Name, kind and shape.
        bits: Bit-width of the weight.
    """

    layer: LayerInfo
    bits: int

    @property
    def is_depthwise_like(self) -> bool:
        """A convolution with one input channel per group: depthwise, or of a grey image."""
        return self.layer.kind == "conv2d" and self.layer.shape[1] == 1

    @property
    def is_packed_projection(self) -> bool:
        """q, k or v of an ``nn.MultiheadAttention`` that keeps all three in one parameter."""
        return self.layer.parameter.endswith("in_proj_weight")


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one layer.

    Args:
        handling: Whether the target keeps its bit-width.
        stored: Type or width there, such as "INT4", "int8" or "float32". Of a refused layer: what
            it would get with an up-cast.
        bits: Bit-width that the target works with; 32 for float32.
        why: What the target lacks, for a refused or widened layer.
    """

    handling: Handling
    stored: str
    bits: int
    why: str = ""


Fates = Callable[[tuple[ChosenLayer, ...]], tuple[Fate, ...]]
"""What becomes of the layers of a choice, in their order."""


def each(fate: Callable[[ChosenLayer], Fate], /) -> Fates:
    """Every layer on its own."""
    return lambda layers: tuple(map(fate, layers))


def keep(chosen: ChosenLayer, /) -> Fate:
    """The layer keeps its bit-width."""
    return Fate(Handling.RUNS, f"int{chosen.bits}", chosen.bits)


keep_all: Fates = each(keep)
"""Every layer keeps its bit-width."""


@dataclass(frozen=True, slots=True)
class Capability:
    """A target's report for one choice.

    Args:
        format: Name of the target.
        layers: The chosen layers, in network order.
        fates: What becomes of each, same length.
        notes: Sentences on running the file.
    """

    format: str
    layers: tuple[ChosenLayer, ...]
    fates: tuple[Fate, ...]
    notes: tuple[str, ...]

    @property
    def refused(self) -> tuple[tuple[ChosenLayer, Fate], ...]:
        """Layers that the target has no form for."""
        pairs = zip(self.layers, self.fates, strict=True)
        return tuple((layer, fate) for layer, fate in pairs if fate.handling is Handling.REFUSED)

    @property
    def with_bits(self) -> tuple[tuple[LayerInfo, int], ...]:
        """Layers that the target quantizes, with the bit-width it gives them."""
        pairs = zip(self.layers, self.fates, strict=True)
        return tuple((chosen.layer, fate.bits) for chosen, fate in pairs if fate.bits < FLOAT_BITS)

    @property
    def left_float(self) -> tuple[str, ...]:
        """Names of the layers that stay float32."""
        pairs = zip(self.layers, self.fates, strict=True)
        return tuple(chosen.layer.name for chosen, fate in pairs if fate.bits == FLOAT_BITS)

    def counts(self) -> dict[Handling, int]:
        """How many layers meet each fate."""
        return {h: n for h in Handling if (n := sum(fate.handling is h for fate in self.fates))}

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "format": self.format,
            "layers": [
                {
                    "name": chosen.layer.name,
                    "bits": chosen.bits,
                    "handling": fate.handling.code,
                    "stored": fate.stored,
                    "why": fate.why or None,
                }
                for chosen, fate in zip(self.layers, self.fates, strict=True)
            ],
            "notes": list(self.notes),
        }


def with_upcast(fate: Fate, /) -> Fate:
    """What a refused layer gets once the user has asked for an up-cast."""
    if fate.handling is not Handling.REFUSED:
        return fate
    handling = Handling.FLOAT if fate.stored == "float32" else Handling.UPCAST
    return Fate(handling, fate.stored, fate.bits, fate.why)


def refuse(why: str, /, *, stored: str = "float32", bits: int = FLOAT_BITS) -> Fate:
    """A layer without a form, and what an up-cast would give it."""
    return Fate(Handling.REFUSED, stored, bits, why)


KIND_NOT_KNOWN = refuse("the kind of the layer is not known")
"""A layer of an imported matrix: nothing says whether it is a convolution."""


def chosen_layers(
    layers: tuple[LayerInfo, ...], bits: tuple[int, ...], /
) -> tuple[ChosenLayer, ...]:
    """Pair layers with the bit-widths of their weights."""
    return tuple(ChosenLayer(*pair) for pair in zip(layers, bits, strict=True))

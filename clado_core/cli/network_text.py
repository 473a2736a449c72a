"""What commands say to people of a network's classes, its labels, and what of it stays float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clado_core.records.assignment import Assignment
from clado_core.records.float_parts import NOT_RECORDED, grouped, parts_to_json
from clado_core.records.label_check import LabelCheck
from clado_core.records.layers import LayerTable
from clado_core.records.scheme import BitWidths, QuantizationScheme, bits_to_json

CLASSES_SHOWN = 5
NAMES_SHOWN = 5


def sizes_at(
    layers: LayerTable, menu: BitWidths, scheme: QuantizationScheme, /
) -> list[dict[str, Any]]:
    """Bytes of the whole file with every layer at one choice of the menu."""
    uniform = (Assignment(layers, (bits,) * len(layers), scheme) for bits in menu)
    return [
        {"bits": bits_to_json(bits), "bytes": each.size_bytes}
        for bits, each in zip(menu, uniform, strict=True)
    ]


def float_facts(layers: LayerTable, /) -> dict[str, Any]:
    """What stays float, as plain values; shares are of the file in float32."""
    return {
        "float_bytes": layers.float_bytes,
        "unquantized_bytes": layers.other_bytes,
        "float_parts": parts_to_json(layers.float_parts, layers.float_bytes),
    }


def float_lines(facts: Mapping[str, Any], smallest: Mapping[str, Any], /) -> list[str]:
    """All that stays float: weights one by one, the rest by kind.

    Args:
        facts: As of ``float_facts``.
        smallest: As of ``sizes_at``, for the smallest file.
    """
    left = facts["unquantized_bytes"]
    head = (
        f"Stays float32: {left / 1e6:.4g} MB, {left / facts['float_bytes']:.1%} of the file in "
        f"float32, {left / smallest['bytes']:.1%} of that at {smallest['bits']} bits"
    )
    if facts["float_parts"] is None:
        return [f"{head}; what it is was {NOT_RECORDED}."]
    rows = grouped(facts["float_parts"])
    if not rows:
        return [f"{head}."]
    width, kinds = (max(len(row[key]) for row in rows) for key in ("name", "kind"))
    return [
        f"{head}:",
        *(
            f"  {row['name']:<{width}}  {row['kind']:<{kinds}}  {row['bytes']:>12,} bytes  "
            f"{row['share']:>6.1%}  {row['why']}"
            for row in rows
        ),
    ]


def weights_left_float(facts: Mapping[str, Any], /) -> list[str]:
    """One line that names the weights that stay float; none where all are searched."""
    weights = [part for part in facts["float_parts"] or () if part["is_weight"]]
    if not weights:
        return []
    more = ", …" if len(weights) > NAMES_SHOWN else ""
    names = ", ".join(part["name"] for part in weights[:NAMES_SHOWN]) + more
    share = sum(part["share"] for part in weights)
    return [
        f"Weights that stay float32: {names} ({share:.1%} of the file in float32); info says why."
    ]


def classes_text(names: Sequence[str], /) -> str:
    """The first few, so that a wrong order shows."""
    end = ", …" if len(names) > CLASSES_SHOWN else ""
    return f"from index 0: {', '.join(names[:CLASSES_SHOWN])}{end}"


def labels_text(check: LabelCheck, /) -> str:
    """How the float network did on the sensitivity set."""
    return (
        f"{check.accuracy:.1%} of {check.n:,} samples classified as labelled (chance: "
        f"{check.as_given.chance:.1%}), {check.classes:,} classes"
    )

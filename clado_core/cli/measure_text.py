"""What ``measure`` says to people."""

from __future__ import annotations

from typing import Any

from clado_core.cli.network_text import (
    classes_text,
    float_lines,
    labels_text,
    weights_left_float,
)
from clado_core.cli.progress import clock
from clado_core.records.label_check import LabelCheck

WORTHWHILE = 0.9
"""A way to measure is suggested where it takes at most this share of the time."""


def show(result: dict[str, Any]) -> str:
    """The result for people: a table of layers for a dry run, a sentence else."""
    if not result["dry_run"]:
        return (
            f"{result['name']}: {result['n_layers']} layers, {result['forwards']:,} losses"
            f"{_resumed(result['resumed'])} in {clock(result['runtime_s'])}; "
            f"reference loss {result['base_loss']:.4f}. {result['coverage']['sentence']} "
            f"Stored in {result['out']}" + "".join(f"\n{line}" for line in _said_of_it(result))
        )
    width = max(len(layer["name"]) for layer in result["layers"])
    lines = [f"{'layer':<{width}}  {'kind':<9}  {'weights':>12}  {'MACs':>14}"]
    lines += [
        f"{x['name']:<{width}}  {x['kind']:<9}  {x['n_weights']:>12,}  {x['macs']:>14,}"
        for x in result["layers"]
    ]
    sizes = ", ".join(
        f"{size['bytes'] / 1e6:.3f} MB at {size['bits']} bits" for size in result["sizes"]
    )
    lines += [
        f"{result['n_layers']} layers, {result['n_weights']:,} weights. "
        f"Whole file (MB = 10⁶ bytes): {sizes}; {result['float_bytes'] / 1e6:.3f} MB in float32.",
        f"{result['forwards']:,} forwards over {result['samples']:,} samples on "
        f"{result['device']}: about {clock(result['estimated_s'])}, "
        f"{result['memory_bytes'] / 1e6:,.0f} MB above the network, "
        f"{result['macs'] / 1e12:.3g}·10¹² multiply-accumulates, "
        f"{result['macs'] / result['naive_macs']:.0%} of running the whole network each time.",
        *_candidates(result["candidates"]),
        *float_lines(result, min(result["sizes"], key=lambda size: size["bytes"])),
        *_classes(result["classes"]),
        *result["warnings"],
        *_not_traced(result),
        *_grouping(result),
    ]
    return "\n".join(lines)


def _candidates(cost: dict[str, Any] | None) -> list[str]:
    """What rounding better than to nearest costs before anything is measured; made once."""
    if cost is None:
        return []
    return [
        f"Before it {cost['count']:,} candidates are made with {cost['images']:,} images: about "
        f"{clock(cost['estimated_s'])}, once."
    ]


def _classes(names: list[str]) -> list[str]:
    """The first few, so that a wrong order shows before anything is measured."""
    if not names:
        return []
    text = classes_text(names)
    return [f"{len(names):,} classes, {text}{'' if text.endswith('…') else '.'}"]


def _said_of_it(result: dict[str, Any]) -> list[str]:
    """How the float network did, what stays float, what could not be traced.

    What looked wrong about the labels was said when it was found.
    """
    labels = result["labels"]
    did = [] if labels is None else [labels_text(LabelCheck.from_json(labels))]
    return [
        *(f"The float network: {text}." for text in did),
        *_classes(result["classes"]),
        *weights_left_float(result),
        *_run_as_a_whole(result),
    ]


def _grouping(result: dict[str, Any]) -> list[str]:
    seconds = result["estimated_grouped_s"]
    if seconds > WORTHWHILE * result["estimated_s"]:
        return []
    return [f"With --group-bits, a layer's bit-widths as one batch: about {clock(seconds)}."]


def _run_as_a_whole(result: dict[str, Any]) -> list[str]:
    """Why the network, or a part of it, was never run in pieces."""
    if changing := result["details"].get("changing_buffers"):
        return [
            "Every forward changes buffers, which were put back each time, so the network was "
            f"always run as a whole: {changing}."
        ]
    return [] if "noise" in result["details"] else _not_traced(result)


def _not_traced(result: dict[str, Any]) -> list[str]:
    names = result["not_traced"]
    return [f"Cannot be traced, so it is always run as a whole: {names}."] if names else []


def _resumed(count: int) -> str:
    return f" ({count:,} of them from the stopped run)" if count else ""

"""LiteRT: a recipe for AI Edge Quantizer, weights only."""

from __future__ import annotations

import re
from typing import Any

from clado_core.exports.as_text import json_file
from clado_core.exports.capability import (
    KIND_NOT_KNOWN,
    Capability,
    ChosenLayer,
    Fate,
    each,
    keep,
    refuse,
)
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob
from clado_core.records.layers import LayerInfo

WEIGHT_ONLY_BITS = (4, 8)


def render(job: ExportJob, report: Capability, /) -> bytes:
    """One entry per layer and operation it may become; the scope is the layer's path."""
    scheme = job.configuration.matrix.scheme
    granularity = "CHANNELWISE" if scheme.granularity == "per-channel" else "TENSORWISE"
    return json_file(
        [
            _entry(layer, operation, bits, granularity)
            for layer, bits in report.with_bits
            for operation in _operations(layer)
        ]
    )


def scope(layer: LayerInfo, /) -> str:
    """Regular expression of the output tensor's name, the module's path with slashes."""
    return f"(^|/){re.escape(layer.name.replace('.', '/'))}(/|;|$)"


def _operations(layer: LayerInfo) -> list[str]:
    if layer.kind != "conv2d":
        return ["FULLY_CONNECTED"]
    depthwise = ["DEPTHWISE_CONV_2D"] if ChosenLayer(layer, 0).is_depthwise_like else []
    return ["CONV_2D", *depthwise]


def _entry(layer: LayerInfo, operation: str, bits: int, granularity: str) -> dict[str, Any]:
    return {
        "regex": scope(layer),
        "operation": operation,
        "algorithm_key": "min_max_uniform_quantize",
        "op_config": {
            "weight_tensor_config": {
                "num_bits": bits,
                "symmetric": True,
                "granularity": granularity,
                "dtype": "INT",
            },
            "compute_precision": "FLOAT",
            "explicit_dequantize": True,
            "skip_checks": False,
            "min_weight_elements": 0,
        },
    }


def fate(chosen: ChosenLayer, /) -> Fate:
    """4 and 8 bits; 8 alone for depthwise convolutions."""
    if chosen.is_packed_projection:
        return refuse("q, k and v of nn.MultiheadAttention have no operation of their own there")
    if chosen.layer.kind == "unknown":
        return KIND_NOT_KNOWN
    if chosen.is_depthwise_like and chosen.bits < 8:
        why = "a convolution with one input channel per group takes 8 bits alone"
        return refuse(why, stored="int8", bits=8)
    bits = next(b for b in WEIGHT_ONLY_BITS if b >= chosen.bits)
    if bits != chosen.bits:
        why = f"there are no float operations with weights of {chosen.bits} bits"
        return refuse(why, stored=f"int{bits}", bits=bits)
    return keep(chosen)


FORMAT = Format(
    name="litert",
    suffix=".litert.json",
    mime="application/json",
    keeps="A recipe for AI Edge Quantizer, weights only at 4 and 8 bits.",
    render=render,
    fates=each(fate),
    checked_with=("ai-edge-quantizer",),
    notes=(
        "The recipe is loaded and asked for every layer here; that a converter names its tensors "
        "after the modules' paths, as the recipe expects, is not checked: look at yours.",
        "AI Edge Quantizer takes scales from the largest magnitude, so accuracy differs from what "
        "was measured.",
    ),
)

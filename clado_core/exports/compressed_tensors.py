"""compressed-tensors: the ``quantization_config`` of Linear layers, as vLLM reads it."""

from __future__ import annotations

import re

from clado_core.exports.as_text import json_file
from clado_core.exports.capability import Capability, ChosenLayer, Fate, each, keep, refuse
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob


def render(job: ExportJob, report: Capability, /) -> bytes:
    """One group of layers per bit-width; layers left float32 are ignored by name."""
    scheme = job.configuration.matrix.scheme
    strategy = "channel" if scheme.granularity == "per-channel" else "tensor"
    groups = {
        f"w{bits}": {
            "targets": [_exactly(layer.name) for layer, b in report.with_bits if b == bits],
            "weights": {"num_bits": bits, "type": "int", "symmetric": True, "strategy": strategy},
        }
        for bits in sorted({bits for _, bits in report.with_bits})
    }
    return json_file(
        {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "ignore": [_exactly(name) for name in report.left_float],
            "config_groups": groups,
        }
    )


def _exactly(name: str) -> str:
    return f"re:^{re.escape(name)}$"


def fate(chosen: ChosenLayer, /) -> Fate:
    """Linear layers, at every bit-width."""
    if chosen.layer.kind != "linear":
        return refuse("compressed-tensors packs Linear layers alone")
    return keep(chosen)


FORMAT = Format(
    name="compressed-tensors",
    suffix=".compressed-tensors.json",
    mime="application/json",
    keeps="quantization_config of the Linear layers (pack-quantized), for compressed-tensors and "
    "programs that read it.",
    render=render,
    fates=each(fate),
    checked_with=("compressed-tensors",),
    notes=("Convolutions and nn.MultiheadAttention have no form there.",),
)

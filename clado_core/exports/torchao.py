"""torchao: an ``FqnToConfig`` as JSON, read by ``torchao.core.config.config_from_dict``.

torchao searches scales of its own (from the largest magnitude, for a convolution one per kernel
position) and stores int8 whatever the bit-width: a simulation in PyTorch, not a smaller file.
"""

from __future__ import annotations

from typing import Any

from clado_core.exports.as_text import json_file
from clado_core.exports.capability import (
    KIND_NOT_KNOWN,
    Capability,
    ChosenLayer,
    Fate,
    Handling,
    each,
    refuse,
)
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob


def render(job: ExportJob, report: Capability, /) -> bytes:
    """Module name → weight-only configuration; layers left float32 do not stand in it."""
    modules = {layer.name: _weight_only(bits) for layer, bits in report.with_bits}
    return json_file({"_type": "FqnToConfig", "_version": 1, "_data": {"fqn_to_config": modules}})


def _weight_only(bits: int) -> dict[str, Any]:
    return {
        "_type": "IntxWeightOnlyConfig",
        "_version": 2,
        "_data": {
            "weight_dtype": {"_type": "torch.dtype", "_data": f"int{bits}"},
            "granularity": {"_type": "PerAxis", "_version": 1, "_data": {"axis": 0}},
            "mapping_type": {"_type": "MappingType", "_data": "SYMMETRIC"},
        },
    }


def fate(chosen: ChosenLayer, /) -> Fate:
    """Linear and ordinary convolutions, at every bit-width."""
    if chosen.is_depthwise_like:
        return refuse("torchao 0.18 fails on convolutions with one input channel per group")
    if chosen.layer.kind == "attention":
        return refuse("torchao's integer tensors do not run inside nn.MultiheadAttention")
    if chosen.layer.kind == "unknown":
        return KIND_NOT_KNOWN
    return Fate(Handling.SIMULATED, "int8", chosen.bits)


FORMAT = Format(
    name="torchao",
    suffix=".torchao.json",
    mime="application/json",
    keeps="torchao's FqnToConfig, for quantize_(model, config_from_dict(...), filter_fn=None).",
    render=render,
    fates=each(fate),
    checked_with=("torchao",),
    notes=(
        "Simulated in PyTorch: torchao stores int8 whatever the bit-width, and chooses scales of "
        "its own, so accuracy differs from what was measured here.",
        "torchao ignores a name that the network does not have; these are the network's own.",
    ),
)

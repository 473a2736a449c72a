"""NVIDIA ModelOpt: the configuration of ``modelopt.torch.quantization.quantize``."""

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
    """The list form of 0.44 and later, in which later entries override earlier ones."""
    axis = 0 if job.configuration.matrix.scheme.granularity == "per-channel" else None
    quantizers: list[dict[str, Any]] = [{"quantizer_name": "*", "enable": False}]
    for layer, bits in report.with_bits:
        name = f"{layer.name}.weight_quantizer"
        quantizers.append({"quantizer_name": name, "cfg": {"num_bits": bits, "axis": axis}})
    return json_file({"quant_cfg": quantizers, "algorithm": "max"})


def fate(chosen: ChosenLayer, /) -> Fate:
    """Convolutions, depthwise too, and Linear."""
    if chosen.layer.kind == "attention":
        return refuse("ModelOpt 0.47 puts no quantizer in the way of nn.MultiheadAttention")
    if chosen.layer.kind == "unknown":
        return KIND_NOT_KNOWN
    return Fate(Handling.SIMULATED, "float32", chosen.bits)


FORMAT = Format(
    name="modelopt",
    suffix=".modelopt.json",
    mime="application/json",
    keeps="NVIDIA ModelOpt's quant_cfg, one weight quantizer per layer, for mtq.quantize.",
    render=render,
    fates=each(fate),
    checked_with=("nvidia-modelopt",),
    notes=(
        "Simulated in PyTorch. ModelOpt takes scales from the largest magnitude and leaves out the "
        "lowest level, so that 2 bits have three levels: accuracy differs from what was measured.",
    ),
)

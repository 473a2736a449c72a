"""AIMET: parameter encodings with the scales, for ``QuantizationSimModel.load_encodings``."""

from __future__ import annotations

from typing import Any

from clado_core.exports.as_text import json_file
from clado_core.exports.capability import Capability, ChosenLayer, Fate, Handling, each
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob
from clado_core.exports.network import PackedWeight
from clado_core.records.scheme import integer_range


def render(job: ExportJob, report: Capability, /) -> bytes:
    """One list of encodings per weight, one encoding per scale (aimet_torch's version 0.6.1)."""
    scheme = job.configuration.matrix.scheme
    weights = job.require_network().weights
    return json_file(
        {
            "version": "0.6.1",
            "activation_encodings": {},
            "param_encodings": {f"{n}.weight": _encodings(w) for n, w in weights.items()},
            "quantizer_args": {
                "per_channel_quantization": scheme.granularity == "per-channel",
                "is_symmetric": True,
                "dtype": "int",
            },
            "excluded_layers": [],
        }
    )


def _encodings(weight: PackedWeight) -> list[dict[str, Any]]:
    low, high = integer_range(weight.bits)
    return [
        {
            "bitwidth": weight.bits,
            "dtype": "int",
            "is_symmetric": "True",
            "min": scale * low,
            "max": scale * high,
            "scale": scale,
            "offset": low,
        }
        for scale in weight.scales.tolist()
    ]


def fate(chosen: ChosenLayer, /) -> Fate:
    """Every layer, the projections of attention too."""
    return Fate(Handling.SIMULATED, "float32", chosen.bits)


FORMAT = Format(
    name="aimet",
    suffix=".encodings",
    mime="application/json",
    keeps="AIMET's parameter encodings with the scales found here, for "
    "QuantizationSimModel.load_encodings.",
    render=render,
    fates=each(fate),
    needs_network=True,
    checked_with=("aimet-torch",),
    notes=(
        "Simulated in PyTorch with these scales; AIMET computes them again from the range, so a "
        "weight half way between two levels can fall to the other one.",
        "What a Qualcomm device runs depends on its QNN version; that is not checked here.",
    ),
)

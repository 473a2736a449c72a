"""What each layer is called elsewhere: every target renames."""

from __future__ import annotations

from clado_core.exports.as_csv import csv_bytes
from clado_core.exports.capability import Capability, ChosenLayer
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob
from clado_core.exports.onnx_qdq import quantized_name, scale_name
from clado_core.exports.onnx_weights import weight_name


def names(chosen: ChosenLayer, /) -> dict[str, str | int]:
    """One layer's names; ``row_start`` counts rows inside a packed attention parameter."""
    layer = chosen.layer
    float_name = weight_name(layer)
    return {
        "layer": layer.name,
        "bits": chosen.bits,
        "state_dict_entry": layer.parameter,
        "row_start": layer.row_start,
        "rows": layer.out_channels,
        "onnx_integers": quantized_name(float_name),
        "onnx_scales": scale_name(float_name),
        "onnx_weight": float_name,
        "aimet_encoding": f"{layer.name}.weight",
        "modelopt_quantizer": f"{layer.name}.weight_quantizer",
        "coreml_weight": layer.parameter.replace(".", "_"),
        "litert_scope": layer.name.replace(".", "/"),
    }


def render(job: ExportJob, report: Capability, /) -> bytes:
    """CSV with one row per layer; ``packed_byte`` is where its integers start in a packed file."""
    start, rows = 0, []
    for chosen in report.layers:
        rows.append(names(chosen) | {"packed_byte": start})
        start += chosen.layer.weight_bytes(chosen.bits)
    return csv_bytes(rows)


FORMAT = Format(
    name="name-map",
    suffix=".names.csv",
    mime="text/csv",
    keeps="What each layer is called in PyTorch, in the packed file, in ONNX and by other tools.",
    render=render,
    checked_with=("onnx", "coremltools"),
)

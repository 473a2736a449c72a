"""Model Explorer: bit-widths painted on the graph of the exported ONNX file."""

from __future__ import annotations

from clado_core.exports.as_text import json_file
from clado_core.exports.capability import Capability
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob
from clado_core.exports.onnx_weights import weight_name

COLOURS = ("#d7301f", "#fdcc8a", "#2b8cbe")
"""From few bits to many."""


def render(job: ExportJob, report: Capability, /) -> bytes:
    """Name of the dequantized weight in the ONNX file → bits."""
    last = len(COLOURS) - 1
    return json_file(
        {
            "main": {
                "name": "bits",
                "results": {
                    weight_name(chosen.layer): {"value": chosen.bits} for chosen in report.layers
                },
                "gradient": [
                    {"stop": i / last, "bgColor": colour} for i, colour in enumerate(COLOURS)
                ],
            }
        }
    )


FORMAT = Format(
    name="model-explorer",
    suffix=".node-data.json",
    mime="application/json",
    keeps="Node data for Google's Model Explorer: each weight's bits, painted on the ONNX file.",
    render=render,
    checked_with=("ai-edge-model-explorer",),
    notes=(
        "Open the file of the format onnx in Model Explorer and add this as node data; the keys "
        "are the tensors' names there. Drawing it is not checked here.",
    ),
)

"""QONNX: float weights behind ``IntQuant`` nodes, for FINN, hls4ml and other FPGA tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clado_core.exports.capability import FLOAT_BITS, Capability, ChosenLayer, Fate, Handling, each
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob
from clado_core.exports.network import PackedWeight
from clado_core.exports.onnx_digest import read_checked, run_told
from clado_core.exports.onnx_exporters import FIRST_OPSET
from clado_core.exports.onnx_file import OnnxTarget, onnx_file
from clado_core.exports.onnx_runtimes import QONNX_DOMAIN, qonnx_runtimes
from clado_core.exports.onnx_weights import WeightForm, weight_name
from clado_core.exports.receipt import LayerBytes, Receipt

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

SUFFIXES = VALUES, SCALE, ZERO, BITS = "_float", "_scale", "_zero", "_bits"
"""Of the inputs of a weight's node, in their order."""


def render(job: ExportJob, report: Capability, /) -> bytes:
    """The model with one ``IntQuant`` node per weight; its float values are already on the grid."""
    form = WeightForm(SUFFIXES, _quantizer)
    return onnx_file(job, OnnxTarget(form, FIRST_OPSET, qonnx_runtimes(), "qonnx"))


def _quantizer(part: PackedWeight, output: str) -> tuple[list[TensorProto], NodeProto]:
    from onnx import helper, numpy_helper

    scales = part.scales.reshape(-1, *[1] * (part.integers.ndim - 1)).astype(np.float32)
    values = {
        VALUES: part.dequantized,
        SCALE: scales,
        ZERO: np.zeros((), np.float32),
        BITS: np.array(part.bits, np.float32),
    }
    tensors = [numpy_helper.from_array(value, output + suffix) for suffix, value in values.items()]
    node = helper.make_node(
        "IntQuant",
        [tensor.name for tensor in tensors],
        [output],
        domain=QONNX_DOMAIN,
        name=part.layer.name,
        signed=1,
        narrow=0,
        rounding_mode="ROUND",
    )
    return tensors, node


def receipt(job: ExportJob, file: bytes, /) -> Receipt:
    """What each layer's float values take in the file, and how it ran."""
    model = read_checked(file)
    sizes = {tensor.name: len(tensor.raw_data) for tensor in model.graph.initializer}
    layers = []
    for name, part in job.require_network().weights.items():
        taken = sizes[weight_name(part.layer) + VALUES]
        promised = part.layer.weight_bytes(part.bits)
        layers.append(LayerBytes(name, part.bits, FLOAT_BITS, promised, taken))
    others = len(file) - sum(layer.file_bytes for layer in layers)
    parts = {"everything else, float32, and graph": others}
    return Receipt(tuple(layers), job.configuration.assignment.size_bytes, parts, *run_told(model))


def fate(chosen: ChosenLayer, /) -> Fate:
    """Every layer at every bit-width."""
    return Fate(Handling.SIMULATED, "float32", chosen.bits)


FORMAT = Format(
    name="qonnx",
    suffix=".qonnx.onnx",
    mime="application/octet-stream",
    keeps="The network as QONNX: IntQuant nodes that state any bit-width, on float weights.",
    render=render,
    fates=each(fate),
    needs_network=True,
    writes_with=("onnx",),
    checked_with=("onnx", "qonnx"),
    notes=("Weights are carried as float32, so the file is no smaller than the float network.",),
    receipt=receipt,
)

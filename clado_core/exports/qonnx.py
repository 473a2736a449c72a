"""QONNX: float weights behind ``IntQuant`` nodes, for FINN, hls4ml and other FPGA tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clado_core.exports.capability import Capability, ChosenLayer, Fate, Handling, each
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob
from clado_core.exports.network import PackedWeight
from clado_core.exports.onnx_digest import stamped
from clado_core.exports.onnx_graph import FIRST_OPSET, float_graph
from clado_core.exports.onnx_qdq import insert_weights

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

DOMAIN = "qonnx.custom_op.general"


def render(job: ExportJob, report: Capability, /) -> bytes:
    """The model with one ``IntQuant`` node per weight; its float values are already on the grid."""
    from onnx import helper

    network = job.require_network()
    model = float_graph(network, FIRST_OPSET)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    insert_weights(model, network.weights, _quantizer)
    return stamped(model, job)


def _quantizer(part: PackedWeight, output: str) -> tuple[list[TensorProto], NodeProto]:
    from onnx import helper, numpy_helper

    scales = part.scales.reshape(-1, *[1] * (part.integers.ndim - 1)).astype(np.float32)
    values = {
        f"{output}_float": part.dequantized,
        f"{output}_scale": scales,
        f"{output}_zero": np.zeros((), np.float32),
        f"{output}_bits": np.array(part.bits, np.float32),
    }
    node = helper.make_node(
        "IntQuant",
        list(values),
        [output],
        domain=DOMAIN,
        name=part.layer.name,
        signed=1,
        narrow=0,
        rounding_mode="ROUND",
    )
    return [numpy_helper.from_array(value, name) for name, value in values.items()], node


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
)

"""ONNX with quantized weights: INT2, INT4 or INT8 initializers behind ``DequantizeLinear``.

Each weight becomes an integer initializer, a scale initializer and a node that gives the float
weight back under its old name, so nothing behind it changes. Projections of one packed attention
parameter are dequantized apart and concatenated. 3 bits are kept in INT4 and 5 to 7 in INT8, with
the same values: ONNX has no type between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clado_core.exports.bit_packing import pack
from clado_core.exports.capability import Capability, ChosenLayer, Fate, Handling, each
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob
from clado_core.exports.network import PackedWeight
from clado_core.exports.onnx_digest import read_checked, run_told
from clado_core.exports.onnx_exporters import FIRST_OPSET
from clado_core.exports.onnx_file import OnnxTarget, onnx_file
from clado_core.exports.onnx_runtimes import onnx_runtimes
from clado_core.exports.onnx_weights import WeightForm, weight_name
from clado_core.exports.receipt import LayerBytes, Receipt

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

QUANTIZED, SCALE = "_quantized", "_scale"
"""Suffixes of a weight's initializers."""


class IntegerType(NamedTuple):
    """An ONNX integer type.

    Args:
        bits: It holds.
        name: Of the ``TensorProto`` type.
        opset: First whose ``DequantizeLinear`` takes it, or that the exporters write.
    """

    bits: int
    name: str
    opset: int


INTEGER_TYPES = (
    IntegerType(2, "INT2", 25),
    IntegerType(4, "INT4", 21),
    IntegerType(8, "INT8", FIRST_OPSET),
)


def integer_type(bits: int, /) -> IntegerType:
    """The smallest type that holds a bit-width."""
    return next(kind for kind in INTEGER_TYPES if kind.bits >= bits)


def render(job: ExportJob, report: Capability, /) -> bytes:
    """The model at the smallest opset that its bit-widths and operations need, run and checked."""
    kinds = [integer_type(weight.bits) for weight in job.require_network().weights.values()]
    opset = max(kind.opset for kind in kinds)
    form = WeightForm((QUANTIZED, SCALE), _dequantizer)
    return onnx_file(job, OnnxTarget(form, opset, onnx_runtimes(), "onnxruntime"))


def quantized_name(weight: str, /) -> str:
    """Initializer of the integers of a weight."""
    return weight + QUANTIZED


def scale_name(weight: str, /) -> str:
    """Initializer of the scales of a weight."""
    return weight + SCALE


def _dequantizer(part: PackedWeight, output: str) -> tuple[list[TensorProto], NodeProto]:
    from onnx import TensorProto, helper, numpy_helper

    kind = integer_type(part.bits)
    integers = helper.make_tensor(
        quantized_name(output),
        getattr(TensorProto, kind.name),
        part.integers.shape,
        pack(part.integers, kind.bits),
        raw=True,
    )
    per_channel = len(part.scales) > 1
    scales = part.scales if per_channel else part.scales.reshape(())
    tensors = [integers, numpy_helper.from_array(scales.astype(np.float32), scale_name(output))]
    inputs = [tensor.name for tensor in tensors]
    axis: dict[str, Any] = {"axis": 0} if per_channel else {}
    return tensors, helper.make_node("DequantizeLinear", inputs, [output], part.layer.name, **axis)


def receipt(job: ExportJob, file: bytes, /) -> Receipt:
    """What each layer's initializer takes in the file."""
    model = read_checked(file)
    sizes = {tensor.name: len(tensor.raw_data) for tensor in model.graph.initializer}
    layers, scales = [], 0
    for name, part in job.require_network().weights.items():
        taken = sizes.pop(quantized_name(weight_name(part.layer)))
        scales += sizes.pop(scale_name(weight_name(part.layer)))
        promised = part.layer.weight_bytes(part.bits)
        layers.append(LayerBytes(name, part.bits, integer_type(part.bits).bits, promised, taken))
    weights, values = sum(layer.file_bytes for layer in layers), sum(sizes.values())
    return Receipt(
        tuple(layers),
        job.configuration.assignment.size_bytes,
        {
            "scales": scales,
            "everything else, float32": values,
            "graph": len(file) - weights - scales - values,
        },
        *run_told(model),
    )


def fate(chosen: ChosenLayer, /) -> Fate:
    """2, 4 and 8 bits have a type; others are kept in the next wider one."""
    kind = integer_type(chosen.bits)
    if kind.bits == chosen.bits:
        return Fate(Handling.RUNS, kind.name, kind.bits)
    return Fate(Handling.WIDENED, kind.name, kind.bits, f"ONNX has no {chosen.bits}-bit type")


def notes_on(fates: tuple[Fate, ...], /) -> tuple[str, ...]:
    """The opset that a choice asks for."""
    newest = max((integer_type(fate.bits) for fate in fates), key=lambda kind: kind.opset)
    return (
        f"This choice needs opset {newest.opset}, for {newest.name}, or a newer one for the "
        "network itself.",
    )


FORMAT = Format(
    name="onnx",
    suffix=".onnx",
    mime="application/octet-stream",
    keeps="The network as ONNX with INT2, INT4 or INT8 weights behind DequantizeLinear, at the "
    "smallest opset that they need (25, 21, 18); runs in ONNX Runtime.",
    render=render,
    fates=each(fate),
    needs_network=True,
    writes_with=("onnx",),
    checked_with=("onnx", "onnxruntime"),
    notes=(
        "ONNX Runtime turns the layers of a transformer into MatMulNBits, which by default rounds "
        "activations to 8 bits (up to 0.05 in the logits of digits-vit); for the exact result open "
        'the session with add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1").',
        "INT2 needs opset 25: onnx 1.20 and a runtime of 2026; weights are dequantized as the "
        "network runs, so expect a smaller file, not a faster network.",
    ),
    notes_on=notes_on,
    receipt=receipt,
)

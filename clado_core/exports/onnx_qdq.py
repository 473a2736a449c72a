"""ONNX with quantized weights: INT2, INT4 or INT8 initializers behind ``DequantizeLinear``.

Each weight becomes an integer initializer, a scale initializer and a node that gives the float
weight back under its old name, so nothing behind it changes. Projections of one packed attention
parameter are dequantized apart and concatenated. 3 bits are kept in INT4 and 5 to 7 in INT8, with
the same values: ONNX has no type between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from clado_core.errors import InputError
from clado_core.exports.bit_packing import pack
from clado_core.exports.capability import Capability, ChosenLayer, Fate, Handling, each
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob
from clado_core.exports.network import PackedWeight
from clado_core.exports.onnx_digest import read_checked, stamped
from clado_core.exports.onnx_graph import float_graph
from clado_core.exports.receipt import LayerBytes, Receipt
from clado_core.records.layers import LayerInfo

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

MakeWeight: TypeAlias = Callable[[PackedWeight, str], "tuple[list[TensorProto], NodeProto]"]


class IntegerType(NamedTuple):
    """An ONNX integer type.

    Args:
        bits: It holds.
        name: Of the ``TensorProto`` type.
        opset: First whose ``DequantizeLinear`` takes it.
    """

    bits: int
    name: str
    opset: int


INTEGER_TYPES = (IntegerType(2, "INT2", 25), IntegerType(4, "INT4", 21), IntegerType(8, "INT8", 13))


def integer_type(bits: int, /) -> IntegerType:
    """The smallest type that holds a bit-width."""
    return next(kind for kind in INTEGER_TYPES if kind.bits >= bits)


def render(job: ExportJob, report: Capability, /) -> bytes:
    """The model at the smallest opset that its bit-widths and operations need."""
    network = job.require_network()
    kinds = [integer_type(weight.bits) for weight in network.weights.values()]
    model = float_graph(network, max(kind.opset for kind in kinds))
    insert_weights(model, network.weights, _dequantizer)
    return stamped(model, job)


def insert_weights(
    model: ModelProto, weights: Mapping[str, PackedWeight], make: MakeWeight, /
) -> None:
    """Replace every searched weight of a float graph, in place.

    Args:
        model: As ``float_graph`` gives it.
        weights: By layer name.
        make: A weight and its name → the initializers and the node that give it.
    """
    from onnx import helper

    by_parameter: dict[str, list[PackedWeight]] = {}
    for weight in weights.values():
        by_parameter.setdefault(weight.layer.parameter, []).append(weight)
    nodes: list[NodeProto] = []
    for parameter, parts in by_parameter.items():
        rows = detach_initializer(model, parameter)
        if sum(part.layer.out_channels for part in parts) != rows:
            raise InputError(f"Only some rows of '{parameter}' are searched; ONNX needs all.")
        outputs = [weight_name(part.layer) for part in parts]
        for part, output in zip(parts, outputs, strict=True):
            tensors, node = make(part, output)
            model.graph.initializer.extend(tensors)
            nodes.append(node)
        if outputs != [parameter]:
            nodes.append(helper.make_node("Concat", outputs, [parameter], parameter, axis=0))
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def quantized_name(weight: str, /) -> str:
    """Initializer of the integers of a weight."""
    return f"{weight}_quantized"


def scale_name(weight: str, /) -> str:
    """Initializer of the scales of a weight."""
    return f"{weight}_scale"


def weight_name(layer: LayerInfo, /) -> str:
    """The float weight's name in the graph: the parameter's, or that of a part of a packed one."""
    packed = layer.parameter.endswith("in_proj_weight")
    # A matrix that was measured elsewhere knows no parameters.
    return f"{layer.name}.weight" if packed or not layer.parameter else layer.parameter


def detach_initializer(model: ModelProto, name: str, /) -> int:
    """Take a float initializer (or an alias of an equal one) out; returns its number of rows."""
    graph = model.graph
    for i, tensor in enumerate(graph.initializer):
        if tensor.name == name:
            rows = int(tensor.dims[0])
            if not _is_aliased(model, name):
                del graph.initializer[i]
            else:
                tensor.name = f"{name}_float"
                for node in graph.node:
                    if node.op_type == "Identity" and list(node.input) == [name]:
                        node.input[0] = tensor.name
            return rows
    for i, node in enumerate(graph.node):
        if node.op_type == "Identity" and list(node.output) == [name]:
            source = next(t for t in graph.initializer if t.name == node.input[0])
            rows = int(source.dims[0])
            del graph.node[i]
            return rows
    raise InputError(f"The ONNX graph does not use the weight '{name}'.")


def _is_aliased(model: ModelProto, name: str) -> bool:
    return any(n.op_type == "Identity" and list(n.input) == [name] for n in model.graph.node)


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
    sizes = {tensor.name: len(tensor.raw_data) for tensor in read_checked(file).graph.initializer}
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
    "smallest opset that they need (25, 21, 13); runs in ONNX Runtime.",
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

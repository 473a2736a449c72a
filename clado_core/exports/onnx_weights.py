"""Put quantized weights in the place of a float ONNX graph's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from clado_core.errors import InputError
from clado_core.exports.network import PackedWeight
from clado_core.exports.onnx_exporters import NoGraphError
from clado_core.records.layers import LayerInfo

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

IN_FLOAT32 = "_float32"
"""Suffix of a weight that the graph holds in another type."""


class WeightForm(NamedTuple):
    """What stands for a float weight in a graph.

    Args:
        suffixes: Of its initializers' names, after the weight's.
        make: A weight and its name → the initializers, and the node that gives it in float32.
    """

    suffixes: tuple[str, ...]
    make: Callable[[PackedWeight, str], tuple[list[TensorProto], NodeProto]]


def weight_name(layer: LayerInfo, /) -> str:
    """The float weight's name in the graph: the parameter's, or that of a part of a packed one."""
    packed = layer.parameter.endswith("in_proj_weight")
    # A matrix that was measured elsewhere knows no parameters.
    return f"{layer.name}.weight" if packed or not layer.parameter else layer.parameter


def names_given(weights: Iterable[PackedWeight], form: WeightForm, /) -> set[str]:
    """Names that ``insert_weights`` gives, the parameters' own left out."""
    layers = [part.layer for part in weights]
    suffixes = ("", IN_FLOAT32, *form.suffixes)
    given = {weight_name(layer) + suffix for layer in layers for suffix in suffixes}
    return given - {layer.parameter for layer in layers}


def insert_weights(
    model: ModelProto, weights: Mapping[str, PackedWeight], form: WeightForm, /
) -> None:
    """Replace every searched weight of a float graph, in place.

    A graph in another type than float32 gets the float32 weight rounded to its own, which is what
    the measured network holds.

    Args:
        model: As ``made_ready`` gives it.
        weights: By layer name.
        form: What stands for a weight.

    Raises:
        InputError: The graph does not use a weight.
        NoGraphError: Only a part of a parameter is searched.
    """
    from onnx import TensorProto, helper

    nodes: list[NodeProto] = []
    for parameter, parts in _by_parameter(weights).items():
        float_weight = _detach(model, parameter)
        if sum(part.layer.out_channels for part in parts) != float_weight.dims[0]:
            raise NoGraphError(f"Only some rows of '{parameter}' are searched; ONNX needs all.")
        outputs = [weight_name(part.layer) for part in parts]
        for part, output in zip(parts, outputs, strict=True):
            tensors, node = form.make(part, output)
            model.graph.initializer.extend(tensors)
            nodes.append(node)
            if (kind := float_weight.data_type) != TensorProto.FLOAT:
                node.output[0] = output + IN_FLOAT32
                nodes.append(helper.make_node("Cast", list(node.output), [output], to=kind))
        if outputs != [parameter]:
            nodes.append(helper.make_node("Concat", outputs, [parameter], parameter, axis=0))
    for domain in {node.domain for node in nodes} - {""}:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def _by_parameter(weights: Mapping[str, PackedWeight]) -> dict[str, list[PackedWeight]]:
    found: dict[str, list[PackedWeight]] = {}
    for weight in weights.values():
        found.setdefault(weight.layer.parameter, []).append(weight)
    return found


def _detach(model: ModelProto, name: str) -> TensorProto:
    """Take a float initializer out."""
    for i, tensor in enumerate(model.graph.initializer):
        if tensor.name == name:
            return model.graph.initializer.pop(i)
    raise InputError(f"The ONNX graph does not use the weight '{name}'.")

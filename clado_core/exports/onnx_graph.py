"""A float ONNX graph made ready: its opset, its names, and nothing in it that running it lacks."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from clado_core.exports import onnx_exporters

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

IR_VERSIONS = {18: 8, 21: 10, 25: 13}
"""The IR version that came with an opset; those between keep the older one."""
INPUT, OUTPUT = "input", "output"
NAMED = ("Conv", "Gemm", "MatMul")
"""Operations whose nodes keep the names of their modules."""
SCOPES = "pkg.torch.onnx.name_scopes"
"""Under this key the newer exporter says which modules a node stands in."""


def made_ready(
    model: ModelProto, opset: int, /, *, own: Iterable[str], reserved: Iterable[str]
) -> ModelProto:
    """Convert to an opset, give an alias of an equal initializer its own values, and rename.

    Traces of source lines, shapes between nodes and the names of nodes without weights go, equal
    constants become one initializer, and values between nodes get short names: a small network's
    graph outweighs its weights.

    Args:
        model: As an exporter gives it; it is used up.
        opset: The smallest allowed; the graph's own operations may need a newer one.
        own: Initializers that keep their names, the network's parameters and buffers.
        reserved: Names that nothing else may have.
    """
    _strip(model.graph)  # a conversion would lose where nodes stood
    if opset > opset_of(model):
        from onnx import version_converter

        model = version_converter.convert_version(model, opset)
    model.ir_version = max(v for o, v in IR_VERSIONS.items() if o <= opset_of(model))
    del model.graph.value_info[:], model.metadata_props[:]
    _separate_aliases(model.graph)
    constants = _constants_to_initializers(model.graph)
    _rename(model.graph, constants, set(own), set(reserved))
    _name_batch(model.graph)
    return model


def opset_of(model: ModelProto, /) -> int:
    """Version of the default operator set."""
    return next(int(entry.version) for entry in model.opset_import if not entry.domain)


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """All nodes, those of branches and loops too."""
    for node in graph.node:
        yield node
        for inner in _inner(node):
            yield from _nodes(inner)


def _inner(node: NodeProto) -> list[GraphProto]:
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _separate_aliases(graph: GraphProto) -> None:
    """Equal parameters that an exporter made one become two again: each has bits of its own."""
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    results = {value.name for value in graph.output}
    for node in [node for node in graph.node if node.op_type == "Identity"]:
        source, alias = node.input[0], node.output[0]
        if source in initializers and alias not in results:
            copied = graph.initializer.add()
            copied.CopyFrom(initializers[source])
            copied.name = alias
            initializers[alias] = copied
            graph.node.remove(node)


def _constants_to_initializers(graph: GraphProto) -> dict[str, str]:
    """Make initializers of the constant nodes, equal ones once; returns name → equal one's name."""
    first: dict[bytes, str] = {}
    equal: dict[str, str] = {}
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        (value,) = node.attribute
        if value.name != "value":
            continue
        value.t.ClearField("name")
        name = first.setdefault(value.t.SerializeToString(deterministic=True), node.output[0])
        if name == node.output[0]:
            graph.initializer.add().CopyFrom(value.t)
            graph.initializer[-1].name = name
        else:
            equal[node.output[0]] = name
        graph.node.remove(node)
    return equal


def _strip(graph: GraphProto) -> None:
    for value in [*graph.input, *graph.output]:
        del value.metadata_props[:]
    used: set[str] = set()
    for node in _nodes(graph):
        node.ClearField("doc_string")
        name = _module_name(node) if node.op_type in NAMED else ""
        node.name = "" if name in used else name
        used.add(name)
        del node.metadata_props[:]


def _module_name(node: NodeProto) -> str:
    """ "/blocks/0/conv1/Conv": the module that a node stands in, whichever exporter wrote it."""
    scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), None)
    if scopes is None:
        return str(node.name)
    module = ast.literal_eval(scopes)[-2]
    return "/" + "/".join([*module.split("."), node.op_type] if module else [node.op_type])


def _rename(graph: GraphProto, equal: dict[str, str], own: set[str], reserved: set[str]) -> None:
    """Parameters keep their names unless others need them; all other names become short."""
    names = {
        "": "",
        onnx_exporters.INPUT: INPUT,
        onnx_exporters.OUTPUT: OUTPUT,
    }
    taken = reserved | {INPUT, OUTPUT}
    initializers = [tensor.name for tensor in graph.initializer]
    for name in initializers:
        if name in own and name not in taken:
            names[name] = name
            taken.add(name)
    for letter, found in (("c", initializers), ("v", _defined(graph))):
        numbered = (f"{letter}{i}" for i in itertools.count())
        short = (text for text in numbered if text not in taken)
        for name in found:
            if name not in names:
                names[name] = next(short)
    names |= {name: names[first] for name, first in equal.items()}
    _apply(graph, names)


def _defined(graph: GraphProto) -> Iterator[str]:
    """Names given to values by nodes, and inside branches and loops."""
    for node in graph.node:
        yield from node.output
        for inner in _inner(node):
            yield from (value.name for value in [*inner.input, *inner.initializer])
            yield from _defined(inner)


def _apply(graph: GraphProto, names: dict[str, str]) -> None:
    for value in [*graph.input, *graph.output, *graph.initializer, *graph.value_info]:
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]
        for inner in _inner(node):
            _apply(inner, names)


def _name_batch(graph: GraphProto) -> None:
    for value in [*graph.input, *graph.output]:
        first = value.type.tensor_type.shape.dim[:1]
        if first and not first[0].HasField("dim_value"):
            first[0].dim_param = "batch"

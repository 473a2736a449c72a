"""The float network as an ONNX graph whose initializers keep the names of the state dict.

PyTorch's TorchScript exporter is used: it starts at opset 13, where int8 weights need no more,
keeps q, k and v of ``nn.MultiheadAttention`` as the one parameter they are, and folds nothing when
told not to. Newer opsets are reached with ONNX's own version converter.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from clado_core.errors import InputError
from clado_core.exports.network import QuantizedNetwork
from clado_core.exports.optional import require

if TYPE_CHECKING:
    from onnx import ModelProto

FIRST_OPSET, LAST_OPSET = 13, 20
"""What the exporter writes."""
IR_VERSIONS = {13: 8, 21: 10, 25: 13}
"""The IR version that came with an opset; those between keep the older one."""
INPUT, OUTPUT = "input", "output"
NAMED = ("Conv", "Gemm", "MatMul")
"""Operations whose nodes keep the names of their modules."""
BATCH = 2
"""Samples of the traced input: 1 would be taken for a constant."""


def float_graph(network: QuantizedNetwork, opset: int, /) -> ModelProto:
    """Export the float network, batch size free.

    Args:
        network: Its module is run once.
        opset: The smallest allowed; the graph's own operations may need a newer one.

    Raises:
        InputError: The network has an operation that ONNX lacks, or onnx is not installed.
    """
    onnx = require("onnx", "onnx", "The ONNX export")
    model: ModelProto = onnx.load_from_string(_traced(network, opset))
    if opset > opset_of(model):
        from onnx import version_converter

        model = version_converter.convert_version(model, opset)
    model.ir_version = max(v for o, v in IR_VERSIONS.items() if o <= opset_of(model))
    _strip(model)
    return model


def opset_of(model: ModelProto, /) -> int:
    """Version of the default operator set."""
    return next(int(entry.version) for entry in model.opset_import if not entry.domain)


def _traced(network: QuantizedNetwork, opset: int) -> bytes:
    from torch.onnx.errors import OnnxExporterError, UnsupportedOperatorError

    problem: Exception | None = None
    # Nearest to a newer opset is the exporter's newest; else the oldest with every operation.
    start = LAST_OPSET if opset > LAST_OPSET else opset
    for version in range(start, LAST_OPSET + 1):
        try:
            return _trace(network, version)
        except UnsupportedOperatorError as error:
            problem = error
        except (OnnxExporterError, RuntimeError) as error:
            problem = error
            break
    said = str(problem).splitlines()[0]
    raise InputError(f"This network cannot be written as ONNX: {said}") from None


def _trace(network: QuantizedNetwork, opset: int) -> bytes:
    import torch

    from clado_core.networks.discovery import attention_fast_path_off

    if network.input_shape is None:
        raise InputError(
            "An ONNX file needs the shape of one input: give input_shape=(channels, height, width)."
        )
    parameter = next(network.module.parameters())
    example = torch.zeros(BATCH, *network.input_shape, dtype=parameter.dtype)
    file: Any = io.BytesIO()
    options: dict[str, Any] = {
        "dynamo": False,
        "opset_version": opset,
        "input_names": [INPUT],
        "output_names": [OUTPUT],
        "dynamic_axes": {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
        "do_constant_folding": False,
        # The network is in eval mode; to "preserve" it keeps batch norms apart from convolutions.
        "training": torch.onnx.TrainingMode.PRESERVE,
    }
    with (
        warnings.catch_warnings(),
        _without_standard_output(),
        attention_fast_path_off(),
        torch.no_grad(),
    ):
        warnings.simplefilter("ignore")
        torch.onnx.export(network.module, (example,), file, **options)
    data: bytes = file.getvalue()
    return data


@contextlib.contextmanager
def _without_standard_output() -> Iterator[None]:
    """PyTorch's C++ part prints the whole graph when it meets an operation it cannot write."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _strip(model: ModelProto) -> None:
    """Leave out what running it does not need; a small network's graph outweighs its weights.

    Traces of source lines, shapes between nodes and the names of nodes without weights go, equal
    constants become one initializer, and values between nodes get short names.
    """
    graph = model.graph
    del graph.value_info[:]
    renamed = _shared_constants(model)
    kept = {INPUT, OUTPUT, "", *(tensor.name for tensor in graph.initializer)}
    for node in graph.node:
        node.ClearField("doc_string")
        if node.op_type not in NAMED:
            node.ClearField("name")
        del node.metadata_props[:]
        for i, value in enumerate(node.input):
            node.input[i] = renamed.get(value, value)
        for i, value in enumerate(node.output):
            # An alias of an equal parameter keeps its name: a weight may have to take its place.
            if value not in kept and node.op_type != "Identity":
                renamed[value] = node.output[i] = f"v{len(renamed)}"


def _shared_constants(model: ModelProto) -> dict[str, str]:
    """Make initializers of the constant nodes, equal ones once; returns old name → new."""
    graph = model.graph
    shared: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        (value,) = node.attribute
        if value.name != "value":
            continue
        value.t.ClearField("name")
        key = value.t.SerializeToString(deterministic=True)
        if key not in shared:
            shared[key] = f"c{len(shared)}"
            graph.initializer.add().CopyFrom(value.t)
            graph.initializer[-1].name = shared[key]
        renamed[node.output[0]] = shared[key]
        graph.node.remove(node)
    return renamed

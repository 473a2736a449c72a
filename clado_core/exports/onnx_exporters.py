"""PyTorch's two ONNX exporters: the one on ``torch.export``, and the older one on TorchScript.

The first follows views that are changed in place, refuses a branch on values and says when a batch
size became a constant; the second silently records one run. The second is for operations that the
first lacks, and for where onnxscript is not installed.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from clado_core.errors import InputError
from clado_core.exports.optional import require

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor, nn
    from torch.export import ExportedProgram

FIRST_OPSET, LAST_OPSET = 18, 20
"""What both exporters write; newer ones are reached with ONNX's own version converter."""
INPUT, OUTPUT = "clado.input", "clado.output"
"""Names that no parameter has; the file's own are given when the graph is complete."""

Exporter: TypeAlias = Callable[["nn.Module", "Tensor", tuple[str, ...]], "ModelProto"]
"""(network, example batch, parameters that stay initializers of their names) → graph."""


class NoGraphError(InputError):
    """No exporter can write this network, and no other one is tried."""


def by_torch_export(module: nn.Module, example: Tensor, kept: tuple[str, ...], /) -> ModelProto:
    """Views, changes in place and sizes become part of the graph; batch size free.

    Raises:
        NoGraphError: The network is another one for other batch sizes.
        Exception: Whatever the exporter raises.
    """
    import torch

    program = _program(module, example)
    require("onnxscript", "onnxscript", "PyTorch's exporter")
    exported: Any = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=FIRST_OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        optimize=False,
        verbose=False,
    )
    return _folded(exported.model, kept)


def _program(module: nn.Module, example: Tensor) -> ExportedProgram:
    import torch

    batch: Any = {0: torch.export.Dim("batch")}
    first = next(iter(inspect.signature(module.forward).parameters.values()), None)
    if first is not None and first.kind is inspect.Parameter.VAR_POSITIONAL:
        batch = (batch,)
    problems: list[Exception] = []
    for strict in (False, True):  # the second reads the network's bytecode, .numpy() included
        try:
            return torch.export.export(module, (example,), dynamic_shapes=(batch,), strict=strict)
        except Exception as problem:
            problems.append(problem)
    if any("Constraints violated" in str(problem) for problem in problems):
        raise NoGraphError(
            "This network cannot be written as ONNX: what it computes depends on the number of "
            "samples in a batch, which a graph would hold as a constant."
        )
    raise problems[0]


def _folded(model: Any, kept: tuple[str, ...]) -> ModelProto:
    """Fold constants away: of a small network's graph they are the larger part.

    The kept parameters are made inputs meanwhile, so that nothing is folded into or out of them.
    """
    ir = require("onnx_ir", "onnxscript", "PyTorch's exporter")
    optimizer = require("onnxscript.optimizer", "onnxscript", "PyTorch's exporter")
    graph, held = model.graph, {}
    for name in kept:
        value = graph.initializers.pop(name)
        held[name] = (value, value.const_value)
        value.const_value = None
        graph.inputs.append(value)
    optimizer.optimize_ir(model, onnx_shape_inference=False)
    for name, (value, constant) in held.items():
        graph.inputs.remove(value)
        value.const_value = constant
        graph.initializers[name] = value
    folded: ModelProto = ir.serde.serialize_model(model)
    return folded


def by_tracing(module: nn.Module, example: Tensor, kept: tuple[str, ...], /) -> ModelProto:
    """One recorded run, batch size free where the exporter sees that it is used.

    Raises:
        NoGraphError: The network reads values that depend on its input.
        Exception: Whatever the exporter raises.
    """
    from onnx import load_from_string
    from torch.onnx.errors import UnsupportedOperatorError

    from clado_core.networks.data_reads import data_reads

    if places := data_reads(module, example):
        raise NoGraphError(
            f"This network cannot be written as ONNX: at {places[0]} it reads a value that depends "
            "on its input, as an if, a loop or .item() does, and a graph would hold the example's."
        )
    for opset in range(FIRST_OPSET, LAST_OPSET):  # the oldest with every operation
        try:
            return load_from_string(_trace(module, example, opset))
        except UnsupportedOperatorError:
            continue
    return load_from_string(_trace(module, example, LAST_OPSET))


def _trace(module: nn.Module, example: Tensor, opset: int) -> bytes:
    import torch

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
    torch.onnx.export(module, (example,), file, **options)
    data: bytes = file.getvalue()
    return data


EXPORTERS: tuple[Exporter, ...] = (by_torch_export, by_tracing)
"""In the order in which they are tried."""

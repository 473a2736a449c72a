"""Programs that run exported ONNX files here, where they are installed."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from clado_core.exports.onnx_agreement import Outputs
from clado_core.exports.onnx_graph import INPUT, OUTPUT

QONNX_DOMAIN = "qonnx.custom_op.general"
EXACT_MATMUL = ("session.qdq_matmulnbits_accuracy_level", "1")
"""Keeps ONNX Runtime from rounding activations to 8 bits where it fuses weights and products."""


class Runtime(NamedTuple):
    """A program that runs ONNX files.

    Args:
        name: As installed.
        version: Its version.
        open: A file → a function from one batch, shape (n, channels, height, width), to its
            outputs, shape (n, classes). Both raise whatever the program raises.
    """

    name: str
    version: str
    open: Callable[[bytes], Callable[[Outputs], Outputs]]


def onnx_runtimes() -> tuple[Runtime, ...]:
    """ONNX Runtime on one thread of the CPU, if it is installed."""
    found = _installed("onnxruntime")
    if found is None:
        return ()

    def open_file(file: bytes) -> Callable[[Outputs], Outputs]:
        options = found.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry(*EXACT_MATMUL)
        session = found.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return lambda x: np.asarray(session.run([OUTPUT], {INPUT: x})[0])

    return (Runtime("onnxruntime", found.__version__, open_file),)


def qonnx_runtimes() -> tuple[Runtime, ...]:
    """The executor of qonnx if that is installed, and ONNX's reference evaluator."""
    found = _installed("qonnx.core.onnx_exec")
    reference = _reference_evaluator()
    return (reference,) if found is None else (_qonnx(found), reference)


def _qonnx(execution: ModuleType) -> Runtime:
    wrapper = importlib.import_module("qonnx.core.modelwrapper").ModelWrapper
    infer = importlib.import_module("qonnx.transformation.infer_shapes").InferShapes

    def open_file(file: bytes) -> Callable[[Outputs], Outputs]:
        def run(x: Outputs) -> Outputs:
            model = wrapper(file)
            # Its inference of shapes starts from sizes, so the batch is no symbol here.
            classes = model.get_tensor_shape(OUTPUT)[1:]
            model.set_tensor_shape(INPUT, list(x.shape))
            model.set_tensor_shape(OUTPUT, [len(x), *classes])
            return np.asarray(execution.execute_onnx(model.transform(infer()), {INPUT: x})[OUTPUT])

        return run

    return Runtime("qonnx", importlib.metadata.version("qonnx"), open_file)


def _reference_evaluator() -> Runtime:
    import onnx
    from onnx.reference import ReferenceEvaluator

    def open_file(file: bytes) -> Callable[[Outputs], Outputs]:
        evaluator = ReferenceEvaluator(onnx.load_from_string(file), new_ops=[_int_quant()])
        return lambda x: np.asarray(evaluator.run([OUTPUT], {INPUT: x})[0])

    return Runtime("onnx's reference evaluator", onnx.__version__, open_file)


def _int_quant() -> type:
    """QONNX's ``IntQuant`` as the reference evaluator takes it; signed, rounding half to even."""
    from onnx.reference.op_run import OpRun

    class IntQuant(OpRun):  # type: ignore[misc]  # onnx has no types here
        op_domain = QONNX_DOMAIN

        def _run(
            self,
            x: Outputs,
            scale: Outputs,
            zero: Outputs,
            bits: Outputs,
            narrow: int = 0,
            rounding_mode: str = "ROUND",
            signed: int = 1,
        ) -> tuple[Any]:
            low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
            levels = np.round(np.clip(x / scale + zero, low, high))
            return (((levels - zero) * scale).astype(x.dtype),)

    return IntQuant


def _installed(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None

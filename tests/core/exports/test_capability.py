"""What targets say of a choice before anything is written, and that they keep their word."""

from __future__ import annotations

import numpy as np
import pytest

import clado_core as cc
from clado_core import exports
from clado_core.exports.capability import ChosenLayer, Handling
from clado_core.exports.onnx_qdq import integer_type
from tests.core.exports.choices import DIGITS, WIDE_MENU, job


def _layer(kind: str, shape: tuple[int, ...], parameter: str = "x.weight") -> cc.LayerInfo:
    return cc.LayerInfo("x", kind, shape, parameter=parameter)  # type: ignore[arg-type]


CONV = _layer("conv2d", (8, 4, 3, 3))
DEPTHWISE = _layer("conv2d", (8, 1, 3, 3))
LINEAR = _layer("linear", (8, 4))
PACKED = cc.LayerInfo("a.q_proj", "attention", (4, 4), parameter="a.in_proj_weight")
OUT = cc.LayerInfo("a.out_proj", "attention", (4, 4), parameter="a.out_proj.weight")
UNKNOWN = cc.LayerInfo("u", "unknown", (12,))


@pytest.mark.parametrize(
    ("target", "layer", "bits", "handling", "stored"),
    [
        ("onnx", CONV, 2, Handling.RUNS, "INT2"),
        ("onnx", CONV, 3, Handling.WIDENED, "INT4"),
        ("onnx", DEPTHWISE, 6, Handling.WIDENED, "INT8"),
        ("onnx", PACKED, 8, Handling.RUNS, "INT8"),
        ("torchao", CONV, 3, Handling.SIMULATED, "int8"),
        ("torchao", DEPTHWISE, 4, Handling.REFUSED, "float32"),
        ("torchao", OUT, 4, Handling.REFUSED, "float32"),
        ("modelopt", DEPTHWISE, 2, Handling.SIMULATED, "float32"),
        ("modelopt", PACKED, 2, Handling.REFUSED, "float32"),
        ("coreml", CONV, 6, Handling.RUNS, "palette of 6 bits"),
        ("coreml", CONV, 5, Handling.REFUSED, "palette of 6 bits"),
        ("aimet", PACKED, 3, Handling.SIMULATED, "float32"),
        ("compressed-tensors", LINEAR, 3, Handling.RUNS, "int3"),
        ("compressed-tensors", CONV, 3, Handling.REFUSED, "float32"),
        ("litert", LINEAR, 4, Handling.RUNS, "int4"),
        ("litert", LINEAR, 2, Handling.REFUSED, "int4"),
        ("litert", DEPTHWISE, 4, Handling.REFUSED, "int8"),
        ("litert", PACKED, 8, Handling.REFUSED, "float32"),
        *[
            (target, UNKNOWN, 4, Handling.REFUSED, "float32")
            for target in ("torchao", "modelopt", "compressed-tensors", "litert", "coreml")
        ],
    ],
)
def test_what_becomes_of_a_layer(
    target: str, layer: cc.LayerInfo, bits: int, handling: Handling, stored: str
) -> None:
    (fate,) = exports.FORMATS[target].fates((ChosenLayer(layer, bits),))
    assert (fate.handling, fate.stored) == (handling, stored)
    assert bool(fate.why) == (handling in (Handling.WIDENED, Handling.REFUSED))


def test_projections_of_one_parameter_share_a_palette() -> None:
    layers = [
        ChosenLayer(cc.LayerInfo(f"a.{p}", "attention", (4, 4), parameter="a.in_proj_weight"), bits)
        for p, bits in (("q_proj", 2), ("k_proj", 4), ("v_proj", 4))
    ]
    fates = exports.FORMATS["coreml"].fates(tuple(layers))
    assert [fate.handling.code for fate in fates] == ["refused", "runs", "runs"]
    assert {fate.bits for fate in fates} == {4}


@pytest.mark.parametrize("name", DIGITS)
@pytest.mark.parametrize(
    "target", ["torchao", "modelopt", "coreml", "compressed-tensors", "litert"]
)
def test_no_layer_is_dropped(target: str, name: str) -> None:
    format = exports.FORMATS[target]
    chosen = job(name, target, WIDE_MENU, upcast=True)
    report, text = format.capability(chosen), format.contents(chosen).decode()
    assert len(report.fates) == len(chosen.configuration.matrix.layers)
    assert len(report.with_bits) + len(report.left_float) == len(report.fates)
    for layer, _ in report.with_bits:
        own = layer.name.rpartition(".")[0] if "in_proj" in layer.parameter else layer.name
        spellings = {own, own.replace(".", "\\\\."), own.replace(".", "/")}
        assert any(spelling in text for spelling in spellings)
    refused = [fate for fate in report.fates if fate.handling is Handling.REFUSED]
    assert refused == []


def test_inputs_that_were_quantized_are_not_forgotten() -> None:
    layers = cc.LayerTable((CONV,))
    scheme = cc.QuantizationScheme(act_bits=8)
    matrix = cc.SensitivityMatrix("x", np.eye(1), layers, (4,), scheme=scheme)
    configuration = exports.Configuration(matrix, cc.Assignment(layers, (4,), scheme))
    report = exports.FORMATS["torchao"].capability(exports.ExportJob(configuration))
    assert any("inputs of 8 bits" in note for note in report.notes)


@pytest.mark.parametrize(
    ("bits", "name", "opset"),
    [(2, "INT2", 25), (3, "INT4", 21), (4, "INT4", 21), (5, "INT8", 18), (8, "INT8", 18)],
)
def test_the_smallest_integer_type_is_chosen(bits: int, name: str, opset: int) -> None:
    assert integer_type(bits)[1:] == (name, opset)

"""Every configuration is loaded by the library it is for: ``make test-export``."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from clado_core import exports
from clado_core.errors import InputError
from clado_core.exports.capability import Capability, ChosenLayer
from clado_core.exports.litert import scope
from clado_core.exports.name_map import names
from clado_core.exports.onnx_runtimes import EXACT_MATMUL
from clado_core.exports.onnx_weights import weight_name
from clado_core.networks.load import load_model
from tests.core.exports.choices import DIGITS, WIDE_MENU, choice, fake_quantized, job
from tests.core.exports.odd_networks import (
    IN_PLACE_ON_VIEWS,
    Clashing,
    LeNet,
    Norm,
    Padded,
    Small,
    Spread,
    Twins,
    built,
    job_of,
    largest_difference,
)

pytestmark = [pytest.mark.export_targets, pytest.mark.filterwarnings("ignore")]

each_network = pytest.mark.parametrize("name", DIGITS)
X = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def library(name: str) -> ModuleType:
    """A target's library; without it a visible skip, or a failure where all must be there."""
    if os.environ.get("REQUIRE_EXPORT_TARGETS"):
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"{name} is not installed: make test-export")


def exported(name: str, target: str, menu: tuple[int, ...] = WIDE_MENU) -> tuple[Any, Capability]:
    """The file's JSON, layers without a form widened, and what the report said of it."""
    format, chosen = exports.FORMATS[target], job(name, target, menu, upcast=True)
    return json.loads(format.contents(chosen)), format.capability(chosen)


@each_network
def test_torchao_quantizes_every_layer_to_its_bits(name: str) -> None:
    library("torchao")
    from torchao.core.config import config_from_dict
    from torchao.quantization import quantize_

    contents, report = exported(name, "torchao")
    model = load_model(name).module
    quantize_(model, config_from_dict(contents), filter_fn=None)
    assert report.with_bits
    for layer, bits in report.with_bits:
        weight: Any = model.get_submodule(layer.name).weight
        assert weight.target_dtype == getattr(torch, f"int{bits}")
    for layer in report.left_float:
        parameter = next(c.layer.parameter for c in report.layers if c.layer.name == layer)
        assert type(model.get_parameter(parameter)) is torch.nn.Parameter
    assert torch.isfinite(model(X)).all()


@each_network
def test_modelopt_gives_every_layer_a_quantizer_of_its_bits(name: str) -> None:
    library("modelopt")
    import modelopt.torch.quantization as mtq

    contents, report = exported(name, "modelopt")
    model = mtq.quantize(load_model(name).module, contents, lambda module: module(X))
    enabled = {
        quantizer.removesuffix(".weight_quantizer"): part.num_bits
        for quantizer, part in model.named_modules()
        if quantizer.endswith("quantizer") and getattr(part, "is_enabled", False)
    }
    assert enabled == {layer.name: bits for layer, bits in report.with_bits}
    assert torch.isfinite(model(X)).all()


@each_network
def test_coremltools_gives_every_layer_a_palette_of_its_bits(name: str) -> None:
    library("coremltools")
    from coremltools.optimize.torch.palettization import (
        PostTrainingPalettizer,
        PostTrainingPalettizerConfig,
    )

    contents, report = exported(name, "coreml")
    model = load_model(name).module
    config = PostTrainingPalettizerConfig.from_dict(contents)
    model = PostTrainingPalettizer(model, config).compress(num_kmeans_workers=1)
    packed: dict[str, set[int]] = {}
    for layer, bits in report.with_bits:
        packed.setdefault(layer.parameter, set()).add(bits)
        values = torch.unique(model.get_parameter(layer.parameter))
        assert len(values) <= 2**bits
        assert len(values) > 2 ** (bits - 1) or len(values) > 0.4 * layer.n_weights
    assert all(len(widths) == 1 for widths in packed.values())
    assert not report.left_float


def test_a_converted_core_ml_network_has_palettes_of_the_chosen_bits() -> None:
    coremltools: Any = library("coremltools")
    from coremltools.optimize.torch.palettization import (
        PostTrainingPalettizer,
        PostTrainingPalettizerConfig,
    )

    contents, report = exported("digits-resnet", "coreml")
    config = PostTrainingPalettizerConfig.from_dict(contents)
    palettizer = PostTrainingPalettizer(load_model("digits-resnet").module, config)
    with torch.no_grad():
        traced = torch.jit.trace(palettizer.compress(num_kmeans_workers=1).eval(), X)
    converted = coremltools.convert(
        traced,
        inputs=[coremltools.TensorType(shape=X.shape)],
        minimum_deployment_target=coremltools.target.iOS18,
        pass_pipeline=coremltools.PassPipeline.DEFAULT_PALETTIZATION,
        skip_model_load=True,
    )
    sizes = {
        operation.name: operation.lut.val.shape[-2]
        for operation in converted._mil_program.functions["main"].operations
        if operation.op_type == "constexpr_lut_to_dense"
    }
    assert len(sizes) == len(report.with_bits)
    for layer, bits in report.with_bits:
        prefix = names(ChosenLayer(layer, bits))["coreml_weight"]
        (size,) = (size for name, size in sizes.items() if name.startswith(f"{prefix}_"))
        assert size == 2**bits


@each_network
def test_aimet_loads_bits_and_scales_of_every_layer(name: str) -> None:
    library("aimet_torch")
    from aimet_torch.v2.quantsim import QuantizationSimModel

    format, chosen = exports.FORMATS["aimet"], job(name, "aimet", WIDE_MENU)
    simulation = QuantizationSimModel(load_model(name).module, dummy_input=X[:1])
    encodings = json.loads(format.contents(chosen))
    simulation.load_encodings(encodings, strict=True, partial=False, allow_overwrite=False)
    for layer, weight in chosen.require_network().weights.items():
        module = simulation.model.get_submodule(layer)
        quantizer = module.param_quantizers["weight"]
        assert quantizer.bitwidth == weight.bits
        scales = quantizer.get_encodings().scale.flatten().detach().numpy()
        np.testing.assert_allclose(scales, weight.scales, rtol=1e-5)
        loaded = quantizer(module.weight).dequantize().detach().numpy()
        off = np.abs(loaded - weight.dequantized) > 1e-6 * np.abs(weight.dequantized).max()
        assert off.mean() < 0.02  # weights half way between two levels


@each_network
def test_compressed_tensors_gives_every_linear_layer_its_bits(name: str) -> None:
    library("compressed_tensors")
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

    contents, report = exported(name, "compressed-tensors")
    model = load_model(name).module
    apply_quantization_config(model, QuantizationConfig.model_validate(contents))
    schemes = {
        layer: module.quantization_scheme.weights.num_bits
        for layer, module in model.named_modules()
        if getattr(module, "quantization_scheme", None) is not None
    }
    assert schemes == {layer.name: bits for layer, bits in report.with_bits}


@each_network
def test_qonnx_runs_to_the_same_outputs(name: str) -> None:
    library("qonnx")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    chosen = job(name, "qonnx", WIDE_MENU)
    configuration = chosen.configuration
    model = ModelWrapper(exports.FORMATS["qonnx"].contents(chosen))
    bits = {
        node.name: int(model.get_initializer(node.input[3]))
        for node in model.graph.node
        if node.op_type == "IntQuant"
    }
    assert bits == configuration.assignment.by_layer()
    model.set_tensor_shape("input", list(X.shape))
    model.set_tensor_shape("output", [len(X), 10])
    model = model.transform(InferShapes())
    got = execute_onnx(model, {"input": X.numpy()})["output"]
    wanted = fake_quantized(name, configuration)(X).numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-4)


KINDS: dict[str, Callable[[], torch.nn.Module]] = {
    "in place on a view": partial(Small, IN_PLACE_ON_VIEWS["late"]),
    "equal weights": Twins,
    "names in use": Clashing,
    "local response normalization": Norm,
    "view after a convolution": LeNet,
    "data parallel": lambda: torch.nn.DataParallel(Spread()),
    "padding same, dilated": partial(Padded, kernel_size=(3, 4), dilation=(2, 1)),
    "float16": lambda: Small().half(),
    "bfloat16": lambda: Small().bfloat16(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_runtime_and_qonnx_run_what_exporters_were_found_to_write_wrong(kind: str) -> None:
    library("onnxscript")
    runtime: Any = library("onnxruntime")
    library("qonnx")
    chosen, files = job_of(built(KINDS[kind])), {}
    for target, name in (("onnx", "onnxruntime"), ("qonnx", "qonnx")):
        format = exports.FORMATS[target]
        files[target] = format.contents(chosen)
        assert format.receipt is not None
        run = format.receipt(chosen, files[target]).run
        assert run is not None and run.runtime == name and run.batch_sizes == (1, 3)
        assert run.version == importlib.metadata.version(name)
    if kind == "bfloat16":  # numpy has none; what the file was held against is float32
        return
    options = runtime.SessionOptions()
    options.add_session_config_entry(*EXACT_MATMUL)
    session = runtime.InferenceSession(files["onnx"], options)
    off = largest_difference(chosen, lambda x: session.run(None, {"input": x})[0])
    assert off < (4e-3 if kind == "float16" else 1e-5)


@pytest.mark.parametrize("target", ["onnx", "qonnx"])
def test_a_file_that_computes_something_else_is_refused_by_its_difference(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library("onnxruntime"), library("qonnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    chosen = job_of(built(partial(Small, IN_PLACE_ON_VIEWS["chunk"])))
    with pytest.raises(
        InputError, match=rf"in {target[0]}\w+ [\d.]+ are off by up to 0\.\d+, with"
    ):
        exports.FORMATS[target].contents(chosen)


@each_network
def test_the_litert_recipe_has_every_layer_at_its_bits(name: str) -> None:
    library("ai_edge_quantizer")
    recipe_manager = importlib.import_module("ai_edge_quantizer.recipe_manager")
    qtyping = importlib.import_module("ai_edge_quantizer.qtyping")

    contents, report = exported(name, "litert")
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(contents)
    for layer, bits in report.with_bits:
        path = f"network/{layer.name.replace('.', '/')}/convolution"
        assert re.search(scope(layer), path)
        operations = [e["operation"] for e in contents if e["regex"] == scope(layer)]
        assert operations
        for operation in operations:
            kind = qtyping.TFLOperationName(operation)
            algorithm, found = manager.get_quantization_configs(kind, path)
            assert algorithm == "min_max_uniform_quantize"
            assert found.weight_tensor_config.num_bits == bits


def test_model_explorer_reads_the_bits_of_every_weight(tmp_path: Path) -> None:
    library("model_explorer")
    from model_explorer import node_data_builder

    configuration = choice(DIGITS[1], WIDE_MENU)
    contents = json.loads(
        exports.FORMATS["model-explorer"].contents(exports.ExportJob(configuration))
    )
    graph = contents["main"]
    own = node_data_builder.GraphNodeData(
        results={
            weight_name(layer): node_data_builder.NodeDataResult(value=bits)
            for layer, bits in zip(
                configuration.matrix.layers.layers, configuration.assignment.bits, strict=True
            )
        },
        gradient=[node_data_builder.GradientItem(**item) for item in graph["gradient"]],
    )
    file = tmp_path / "own.json"
    node_data_builder.ModelNodeData(graphsData={"main": own}).save_to_file(str(file))
    written = json.loads(file.read_text())["main"]
    assert written["results"] == graph["results"]
    assert written["gradient"] == graph["gradient"]

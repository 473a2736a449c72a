import csv
import io
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import clado_core as cc
from clado_core import exports
from clado_core.cli import main
from clado_core.data.sources import Samples
from clado_core.errors import InputError
from clado_core.exports.network import quantize_weights
from clado_core.exports.onnx_digest import read_checked
from clado_core.exports.onnx_graph import opset_of
from clado_core.exports.onnx_qdq import quantized_name
from clado_core.exports.onnx_runtimes import EXACT_MATMUL
from clado_core.exports.onnx_weights import weight_name
from clado_core.networks.builtin import ASSETS, BUILTIN_NETWORKS
from clado_core.networks.discovery import find_layers
from clado_core.networks.inference import make_batches, measuring, run_batch
from tests.core.exports.choices import DIGITS, N_INPUTS, WIDE_MENU, fake_quantized, held_out, job
from tests.core.exports.odd_networks import job_of

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

QDQ = exports.FORMATS["onnx"]


@cache
def exported(name: str, menu: tuple[int, ...]) -> tuple[exports.ExportJob, bytes]:
    """An export of a built-in network, and its file, written once for all tests."""
    chosen = job(name, "onnx", menu)
    return chosen, QDQ.contents(chosen)


def run(file: bytes, x: np.ndarray, *, exact: bool = True) -> np.ndarray:
    """Outputs of ONNX Runtime on one thread; shape (N, classes)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if exact:
        options.add_session_config_entry(*EXACT_MATMUL)
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": x})[0])


def outputs(module: nn.Module, samples: Samples) -> np.ndarray:
    """What PyTorch gives, in eval mode; shape (N, classes)."""
    with measuring(module):
        batches = make_batches(module, samples, N_INPUTS)
        return np.concatenate([np.asarray(run_batch(module, batch)) for batch in batches])


@pytest.mark.parametrize(
    ("name", "menu"),
    [
        *((name, menu) for name in DIGITS for menu in [(2, 4, 8), (4, 8), (8,)]),
        *((name, WIDE_MENU) for name in BUILTIN_NETWORKS),
        *(
            pytest.param(name, (2, 4, 8), marks=pytest.mark.slow)
            for name in BUILTIN_NETWORKS
            if name not in DIGITS
        ),
    ],
)
def test_onnx_runtime_gives_what_pytorch_gives(name: str, menu: tuple[int, ...]) -> None:
    (choice_job, file), samples = exported(name, menu), held_out(name)
    wanted = outputs(fake_quantized(name, choice_job.configuration), samples)
    got = run(file, samples.x.numpy())
    assert np.abs(got - wanted).max() < 1e-4
    np.testing.assert_array_equal(got.argmax(1), wanted.argmax(1))


@pytest.mark.parametrize(
    ("name", "menu", "opset"),
    [
        ("digits-resnet", (8,), 18),
        ("digits-resnet", (4, 8), 21),
        ("digits-resnet", (2, 4, 8), 25),
        ("digits-vit", (8,), 18),
        ("digits-vit", (3, 5), 21),
    ],
)
def test_the_opset_is_the_smallest_that_the_bits_need(
    name: str, menu: tuple[int, ...], opset: int
) -> None:
    chosen, file = exported(name, menu)
    assert opset_of(read_checked(file)) == opset
    assert f"opset {opset}," in QDQ.capability(chosen).notes[0]


def test_weights_take_the_bytes_of_their_type() -> None:
    wide, contents = exported("digits-vit", WIDE_MENU)
    assert QDQ.receipt is not None
    receipt = QDQ.receipt(wide, contents)
    assert receipt.file_bytes == len(contents)
    sizes = wide.configuration.matrix.layers.layers
    for row, layer in zip(receipt.layers, sizes, strict=True):
        assert row.stored_bits == {2: 2, 3: 4, 4: 4}.get(row.bits, 8)
        assert row.file_bytes == layer.weight_bytes(row.stored_bits)
    widened = [f for f in QDQ.capability(wide).fates if f.handling.code == "widened"]
    assert {fate.why for fate in widened} == {f"ONNX has no {b}-bit type" for b in (3, 5, 6, 7)}


def test_the_default_session_rounds_activations_of_a_transformer() -> None:
    """The reason for the note on ``session.qdq_matmulnbits_accuracy_level``."""
    (_, file), x = exported("digits-vit", (4, 8)), held_out("digits-vit").x.numpy()
    difference = np.abs(run(file, x, exact=False) - run(file, x)).max()
    assert 1e-3 < difference < 0.5
    assert any(EXACT_MATMUL[0] in note for note in QDQ.notes)


def test_the_command_says_how_the_file_ran(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = ASSETS / "digits-resnet.clado"
    layers = cc.load(artifact).layers.names
    chosen = tmp_path / "chosen.json"
    chosen.write_text(json.dumps(dict.fromkeys(layers, 8)))
    command = ["export", str(artifact), "--assignment", str(chosen), "--format", "onnx"]
    command += ["--out", str(tmp_path / "x.onnx")]
    assert main([*command, "--json"]) == 0
    receipt = json.loads(capsys.readouterr().out)["receipt"]
    run = receipt["run"]
    assert (run["runtime"], run["version"]) == ("onnxruntime", onnxruntime.__version__)
    assert run["batch_sizes"] == [1, 3] and 0 < run["largest_difference"] < run["tolerance"]
    assert main(command) == 0
    told = capsys.readouterr().out.splitlines()
    assert receipt["notes"] and told[-len(receipt["notes"]) :] == receipt["notes"]


def test_the_name_map_names_initializers_that_are_there() -> None:
    chosen, file = exported("digits-vit", (2, 4, 8))
    model = read_checked(file)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    table = exports.FORMATS["name-map"].contents(chosen).decode()
    packed = 0
    for row in csv.DictReader(io.StringIO(table)):
        assert initializers[row["onnx_integers"]].dims[0] == int(row["rows"])
        assert row["onnx_scales"] in initializers
        assert int(row["packed_byte"]) == packed
        packed += -(-int(np.prod(initializers[row["onnx_integers"]].dims)) * int(row["bits"]) // 8)


def test_changed_bytes_are_noticed() -> None:
    _, whole = exported("digits-resnet", (8,))
    assert read_checked(whole).graph.node
    for i in range(0, len(whole), 97):
        with pytest.raises(InputError):
            read_checked(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])


class _Twins(nn.Module):
    """Two layers with equal weights, which the exporter makes one initializer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.second.load_state_dict(self.first.state_dict())
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.second(self.first(x.flatten(1)).relu()))
        return out


def test_equal_weights_keep_bits_of_their_own() -> None:
    torch.manual_seed(0)
    module = _Twins().eval().requires_grad_(False)
    layers = find_layers(module, torch.zeros(1, 1, 2, 2))
    scheme = cc.QuantizationScheme("per-tensor")
    matrix = cc.SensitivityMatrix("twins", np.eye(6), layers, (2, 8), scheme=scheme)
    configuration = exports.Configuration(matrix, cc.Assignment(layers, (2, 8, 8), scheme))
    weights = quantize_weights(module, configuration)
    own = exports.ExportJob(configuration, exports.QuantizedNetwork(module, weights, (1, 2, 2)))
    model = read_checked(QDQ.contents(own))
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    names = [quantized_name(weight_name(layer)) for layer in layers.layers]
    wanted = [onnx.TensorProto.INT2, onnx.TensorProto.INT8, onnx.TensorProto.INT8]
    assert [kinds[name] for name in names] == wanted
    for layer in layers.layers:
        module.get_parameter(layer.parameter).data.copy_(
            torch.from_numpy(weights[layer.name].dequantized)
        )
    x = torch.randn(5, 1, 2, 2)
    np.testing.assert_allclose(run(QDQ.contents(own), x.numpy()), module(x).numpy(), atol=1e-5)


class _Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(torch.linalg.inv(x).flatten(1))
        return out


def test_an_operation_without_onnx_form_is_one_sentence(
    capfd: pytest.CaptureFixture[str],
) -> None:
    own = job_of(_Odd().eval().requires_grad_(False), (1, 2, 2))
    with pytest.raises(InputError, match=r"^This network cannot be written as ONNX: [^\n]+$"):
        QDQ.contents(own)
    assert capfd.readouterr() == ("", "")

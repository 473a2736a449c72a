import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn

import clado_core as cc
from clado_core import exports
from clado_core.allocation.methods import allocate
from clado_core.allocation.stored import load_frontier
from clado_core.errors import ArtifactCorruptError, ArtifactError
from clado_core.exports.bit_packing import pack, unpack
from clado_core.exports.network import quantize_weights
from clado_core.networks.builtin import ASSETS, BUILTIN_NETWORKS
from clado_core.networks.discovery import find_layers
from clado_core.networks.load import load_model
from clado_core.records.scheme import integer_range, joint_menu
from tests.core.exports.choices import DIGITS, SHIPPED, WIDE_MENU, choice, fake_quantized, job

PACKED = exports.FORMATS["safetensors"]


@given(st.integers(2, 8), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_packing_goes_back(bits: int, count: int, seed: int) -> None:
    low, high = integer_range(bits)
    rng = np.random.default_rng(seed)
    integers = rng.integers(low, high + 1, size=(count, 3)).astype(np.int8)
    packed = pack(integers, bits)
    assert len(packed) == -(-3 * count * bits // 8)
    np.testing.assert_array_equal(unpack(packed, bits, integers.shape), integers)


def test_four_and_two_bits_are_packed_lowest_first() -> None:
    assert pack(np.array([1, -2, 7], np.int8), 4) == bytes([0xE1, 0x07])
    assert pack(np.array([1, -2, -1, 0, 1], np.int8), 2) == bytes([0b00111001, 0b01])
    # Three bits run over the byte's border: 001, 110, 011 from the right.
    assert pack(np.array([1, -2, 3], np.int8), 3) == bytes([0b11110001, 0b0])


@pytest.mark.parametrize("name", BUILTIN_NETWORKS)
def test_a_packed_file_fills_the_network_bit_for_bit(name: str, tmp_path: Path) -> None:
    wide = job(name, "safetensors", WIDE_MENU)
    configuration, file = wide.configuration, tmp_path / "x.safetensors"
    receipt = exports.write(configuration, PACKED, file, network=wide.network)
    module = load_model(name, "none").module
    exports.load_packed(file, module)
    wanted = fake_quantized(name, configuration).state_dict()
    assert module.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[key]) for key, value in module.state_dict().items())
    assert receipt is not None
    assert file.stat().st_size == receipt.promised_bytes
    assert [row.bits for row in receipt.layers] == list(configuration.assignment.bits)
    assert all(row.file_bytes == row.promised_bytes for row in receipt.layers)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("avg_bits", [2.0, 2.5, 3.5, 5.0, 8.0])
def test_the_file_is_as_small_as_promised(name: str, avg_bits: float, tmp_path: Path) -> None:
    matrix = cc.load(ASSETS / f"{name}.clado")
    problem = cc.AllocationProblem(matrix, budget_bits=int(avg_bits * matrix.layers.total_weights))
    solution = allocate(problem, solver=cc.LocalSearchSolver())
    configuration = exports.Configuration(matrix, solution.assignment, solution)
    file = tmp_path / "x.safetensors"
    receipt = exports.write(configuration, PACKED, file)
    assert receipt is not None
    assert file.stat().st_size == receipt.file_bytes == solution.assignment.size_bytes


@pytest.mark.parametrize("name", SHIPPED)
def test_stored_frontiers_state_the_size_promised_today(name: str) -> None:
    stored = ASSETS / f"{name}.frontier.json"
    if not stored.is_file():
        pytest.skip(f"{name} has no stored frontier.")
    front = load_frontier(ASSETS / f"{name}.clado", cc.load(ASSETS / f"{name}.clado"))
    assert front is not None
    sizes = [point["size_bytes"] for point in json.loads(stored.read_text())["points"]]
    assert sizes == [point.assignment.size_bytes for point in front.points]


def test_any_reader_finds_the_choice_in_the_metadata(tmp_path: Path) -> None:
    configuration = choice("digits-vit", (2, 4, 8))
    exports.write(configuration, PACKED, tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", framework="np") as file:
        facts = json.loads(file.metadata()["clado"])
        assert set(file.keys()) == {"scales", "rest", "weights"}
    assert facts["layers"] == configuration.assignment.by_layer()
    assert facts["weights_sha256"] == configuration.matrix.provenance.weights_sha256


class _Tiny(nn.Module):
    """Grouped convolution, per-tensor scales, no bias, an integer buffer, a tied entry."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, groups=2, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)
        self.again = self.norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.norm(self.conv(x)).mean(dim=(2, 3)))
        return out


def _tiny_file(path: Path) -> _Tiny:
    module = _Tiny().eval().requires_grad_(False)
    layers = find_layers(module, torch.zeros(1, 2, 5, 5))
    scheme = cc.QuantizationScheme("per-tensor")
    matrix = cc.SensitivityMatrix("tiny", np.eye(4), layers, (3, 4), scheme=scheme)
    configuration = exports.Configuration(matrix, cc.Assignment(layers, (3, 4), scheme))
    weights = quantize_weights(module, configuration)
    network = exports.QuantizedNetwork(module, weights, (2, 5, 5))
    exports.write(configuration, PACKED, path, network=network)
    assert path.stat().st_size == configuration.assignment.size_bytes
    return module


def test_the_header_keeps_its_length_whatever_the_names(tmp_path: Path) -> None:
    module = nn.Sequential()
    module.add_module('größe "\\', nn.Conv2d(1, 2, 1))
    module.add_module("flat", nn.Flatten())
    layers = find_layers(module, torch.zeros(1, 1, 1, 1))
    scheme, menu = cc.QuantizationScheme(), joint_menu((4,), (8,))
    origin = cc.Provenance(model="/häuser/" * 20 + "net.py:factory", weights_sha256="0f" * 32)
    matrix = cc.SensitivityMatrix("x", np.eye(1), layers, menu, scheme=scheme, provenance=origin)
    assignment = cc.Assignment(layers, menu, scheme)
    configuration = exports.Configuration(matrix, assignment, artifact_sha256="ab" * 32)
    weights = quantize_weights(module, configuration)
    network = exports.QuantizedNetwork(module, weights, (1, 1, 1))
    file = tmp_path / "x.safetensors"
    exports.write(configuration, PACKED, file, network=network)
    assert file.stat().st_size == assignment.size_bytes
    facts = exports.read_packed(file).facts
    assert (facts["layers"], facts["inputs"]) == ({layers.names[0]: 4}, "8")
    assert facts["model"].endswith("net.py:factory")


def test_per_tensor_scales_and_shared_entries_go_back(tmp_path: Path) -> None:
    original, filled = _tiny_file(tmp_path / "x.safetensors"), _Tiny()
    filled.norm.running_mean.add_(1)
    exports.load_packed(tmp_path / "x.safetensors", filled)
    assert torch.equal(filled.norm.running_mean, original.norm.running_mean)
    assert filled.norm.num_batches_tracked.dtype == torch.int64
    assert len(torch.unique(filled.conv.weight)) <= 8


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    _tiny_file(file)
    whole = file.read_bytes()
    exports.read_packed(file)
    for i in range(len(whole)):
        file.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        with pytest.raises(ArtifactCorruptError):
            exports.read_packed(file)


@settings(max_examples=30)
@given(length=st.integers(0, 1500))
def test_a_torn_file_is_noticed(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    file = tmp_path_factory.mktemp("torn") / "x.safetensors"
    _tiny_file(file)
    file.write_bytes(file.read_bytes()[: min(length, file.stat().st_size - 1)])
    with pytest.raises(ArtifactCorruptError):
        exports.read_packed(file)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    exports.write(choice("digits-vit", (2, 4, 8)), PACKED, file)
    with pytest.raises(ArtifactError, match="another network"):
        exports.load_packed(file, load_model(DIGITS[0]).module)
    with pytest.raises(ArtifactError, match="Cannot read"):
        exports.load_packed(tmp_path / "missing.safetensors", load_model(DIGITS[0]).module)

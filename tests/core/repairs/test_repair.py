"""The network that is shipped: closer to the float one than rounding, in as many bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import clado_core as cc
from clado_core.cli import main
from clado_core.data.sources import Samples
from clado_core.errors import ArtifactError, InputError, MeasurementError
from clado_core.exports.repaired_file import read_repaired, repaired_network, write_repaired
from clado_core.networks.load import state_digest
from clado_core.quantization.weights import dequantize
from clado_core.records.names import NEAREST
from clado_core.repairs.candidates import Candidates
from clado_core.repairs.repair import MATCHED, REESTIMATED, halves, repair
from clado_core.repairs.repaired import Repaired, repaired_in
from tests.conftest import ROOT

RESNET, VIT = (ROOT / "assets" / f"{name}.clado" for name in ("digits-resnet", "digits-vit"))


@pytest.fixture(scope="module")
def resnet() -> tuple[cc.SensitivityMatrix, nn.Module]:
    return cc.load(RESNET), cc.load_model("digits-resnet").module.eval()


@pytest.fixture(scope="module")
def images() -> Samples:
    samples: Samples = cc.load_data("digits").sensitivity_set(256, seed=1)
    return samples


def _at(matrix: cc.SensitivityMatrix, avg_bits: float) -> cc.Assignment:
    budget = cc.bits_for_average(avg_bits, matrix.layers)
    return cc.allocate(cc.AllocationProblem(matrix, budget_bits=budget)).assignment


@pytest.fixture(scope="module")
def repaired(resnet: tuple[cc.SensitivityMatrix, nn.Module], images: Samples) -> Repaired:
    matrix, network = resnet
    return repair(network, matrix, _at(matrix, 2.5), *halves(images), rounding="gptq")


def test_every_step_is_judged_and_the_least_divergence_is_kept(repaired: Repaired) -> None:
    steps = {step.name: step for step in repaired.steps}
    assert list(steps) == [NEAREST, "gptq", MATCHED, REESTIMATED]
    assert steps["gptq"].divergence < steps[NEAREST].divergence / 5
    kept = min(steps.values(), key=lambda step: step.divergence)
    assert kept.kept and kept.name in (MATCHED, REESTIMATED)
    assert not steps[NEAREST].kept and steps["gptq"].kept
    assert all(step.seconds >= 0 for step in repaired.steps)


def test_bit_widths_grid_and_bytes_are_those_of_the_choice(
    repaired: Repaired, resnet: tuple[cc.SensitivityMatrix, nn.Module], tmp_path: Path
) -> None:
    matrix, network = resnet
    chosen = _at(matrix, 2.5)
    assert repaired.assignment == chosen
    for name, bits in chosen.by_layer().items():
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        integers = repaired.weights[name].integers
        assert integers.min() >= low and integers.max() <= high
    assert (
        write_repaired(tmp_path / "r.safetensors", matrix, network, repaired) == chosen.size_bytes
    )


def test_the_network_is_afterwards_as_it_was(
    repaired: Repaired, resnet: tuple[cc.SensitivityMatrix, nn.Module]
) -> None:
    matrix, network = resnet
    assert state_digest(network) == matrix.provenance.weights_sha256
    x = cc.load_data("digits").sensitivity_set(4, seed=3).x
    with torch.no_grad():
        before = network(x)
        with repaired_in(network, repaired):
            inside = network(x)
            for layer in matrix.layers.layers:
                weight = network.get_parameter(layer.parameter)
                assert torch.equal(weight, dequantize(repaired.weights[layer.name]))
        assert torch.equal(network(x), before) and not torch.equal(inside, before)
    assert state_digest(network) == matrix.provenance.weights_sha256


def test_all_layers_at_8_bits_leave_the_network_what_it_is(
    resnet: tuple[cc.SensitivityMatrix, nn.Module], images: Samples
) -> None:
    """Statistics of calibration images in place of the stored ones would cost 0.1 of loss."""
    matrix, network = resnet
    highest = cc.AllocationProblem(matrix).extremes()[1]
    found = repair(network, matrix, highest, *halves(images), rounding="gptq")
    assert {step.name: step.divergence for step in found.steps}[MATCHED] < 1e-3


def test_labels_change_nothing(
    repaired: Repaired, resnet: tuple[cc.SensitivityMatrix, nn.Module], images: Samples
) -> None:
    matrix, network = resnet
    wrong = Samples(images.x, (images.y + 1) % 10, images.name)
    again = repair(network, matrix, _at(matrix, 2.5), *halves(wrong), rounding="gptq")
    for name, weight in repaired.weights.items():
        assert torch.equal(again.weights[name].integers, weight.integers)
    assert [s.divergence for s in again.steps] == [s.divergence for s in repaired.steps]


def test_what_is_on_the_grid_already_stays_close_to_it(images: Samples) -> None:
    """A network whose weights are on the grid already needs no repair."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    with torch.no_grad():
        network[1].weight.copy_(torch.randint(-7, 8, (10, 64)) * 0.05)
        network[1].weight[:, 0] = 0.35
    scheme = cc.QuantizationScheme(range_rule="min-max")
    few = (images.x[:32], images.y[:32])
    matrix = cc.measure(network, few, bit_widths=(4,), scheme=scheme)
    found = cc.repair(matrix, cc.AllocationProblem(matrix).extremes()[0], network, images.x)
    least = min(found.steps, key=lambda step: step.divergence)
    assert least.kept and least.divergence < 1e-3


def test_attention_is_repaired_too_and_its_biases_are_read_back(
    images: Samples, tmp_path: Path
) -> None:
    matrix, network = cc.load(VIT), cc.load_model("digits-vit").module
    chosen = _at(matrix, 2.5)
    found = cc.repair(matrix, chosen, network, images, rounding="gptq")
    first, best = found.steps[0], min(found.steps, key=lambda step: step.divergence)
    assert best.divergence < first.divergence / 2
    assert set(found.weights) == set(matrix.layers.names)
    rows = [name.rpartition("[")[2] for name in found.state if "in_proj_bias" in name]
    assert len(set(rows)) == 3, "of q, k and v each"
    write_repaired(tmp_path / "r", matrix, network, found)
    again = read_repaired(tmp_path / "r", matrix, network)
    with torch.no_grad():
        with repaired_in(network, found):
            outputs = network(images.x[:16])
        with repaired_in(network, again):
            assert torch.equal(network(images.x[:16]), outputs)


def test_a_file_gives_the_same_network_again(
    repaired: Repaired, resnet: tuple[cc.SensitivityMatrix, nn.Module], tmp_path: Path
) -> None:
    matrix, network = resnet
    path = tmp_path / "repaired.safetensors"
    write_repaired(path, matrix, network, repaired)
    again = read_repaired(path, matrix, network)
    assert again.assignment == repaired.assignment
    x = cc.load_data("digits").sensitivity_set(16, seed=3).x
    with torch.no_grad():
        with repaired_in(network, repaired):
            first = network(x)
        with repaired_in(network, again):
            assert torch.equal(network(x), first)
        exported = repaired_network(network, again)
        swapped = {n: torch.from_numpy(w.dequantized) for n, w in exported.weights.items()}
        for layer in matrix.layers.layers:
            exported.module.get_parameter(layer.parameter).copy_(swapped[layer.name])
        assert torch.equal(exported.module(x), first)


def test_files_of_other_weights_or_choices_are_refused(
    repaired: Repaired, resnet: tuple[cc.SensitivityMatrix, nn.Module], tmp_path: Path
) -> None:
    matrix, network = resnet
    path = tmp_path / "repaired.safetensors"
    write_repaired(path, matrix, network, repaired)
    other = replace(matrix, provenance=replace(matrix.provenance, weights_sha256="0" * 64))
    with pytest.raises(ArtifactError, match="other weights"):
        read_repaired(path, other, network)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ArtifactError, match="complete"):
        read_repaired(path, matrix, network)
    one = Samples(torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64), "one")
    with pytest.raises(InputError, match="two images"):
        halves(one)


def test_candidates_are_made_once(
    resnet: tuple[cc.SensitivityMatrix, nn.Module], images: Samples
) -> None:
    matrix, network = resnet
    made = Candidates(network, matrix.layers, matrix.scheme, [images.x[:64]], rounding="gptq")
    layer = matrix.layers.layers[2]
    assert made.make(layer, 4) is made.make(layer, 4)
    assert made.make(layer, 2).weight.bits == 2
    assert any("running_mean" in name for name in made.make(layer, 2).state)


@pytest.fixture
def quick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[Path, Path]]:
    """A choice, and what the command makes of it."""
    chosen, out = tmp_path / "chosen.json", tmp_path / "repaired.safetensors"
    matrix = cc.load(RESNET)
    chosen.write_text(json.dumps(_at(matrix, 2.5).by_layer()))
    words = [
        "--assignment",
        str(chosen),
        "--out",
        str(out),
        "--rounding",
        "gptq",
        "--images",
        "128",
    ]
    assert main(["repair", str(RESNET), *words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["bytes"] == result["size_bytes_promised"] == out.stat().st_size
    assert result["steps"][0]["name"] == NEAREST
    yield chosen, out


def test_the_command_s_file_is_evaluated_and_exported(
    quick: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen, out = quick
    top1 = {}
    for option, file in (("--assignment", chosen), ("--repaired", out)):
        assert main(["evaluate", str(RESNET), option, str(file), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        top1[found["measured_as"]] = found["top1"]
    assert top1["repaired"] > 0.95 > 0.6 > top1["rounded"]
    packed = tmp_path / "packed.safetensors"
    words = ["--assignment", str(chosen), "--format", "safetensors", "--out", str(packed)]
    assert main(["export", str(RESNET), *words, "--repaired", str(out)]) == 0
    matrix, network = cc.load(RESNET), cc.load_model("digits-resnet").module
    first, second = (read_repaired(path, matrix, network) for path in (out, packed))
    for name, weight in first.weights.items():
        assert torch.equal(second.weights[name].integers, weight.integers)
    assert first.state.keys() == second.state.keys()
    words[3], words[5] = "json", str(tmp_path / "bits.json")
    assert main(["export", str(RESNET), *words, "--repaired", str(out)]) == 0
    assert "nothing of a repair is in it" in capsys.readouterr().out


def test_nothing_is_computed_for_a_folder_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--assignment", str(tmp_path / "none.json"), "--out", str(tmp_path / "no" / "r")]
    assert main(["repair", str(RESNET), *words]) == 2
    assert "must be a file in a folder" in capsys.readouterr().err


def test_an_onnx_file_of_a_repaired_network_computes_what_it_computes(
    repaired: Repaired, resnet: tuple[cc.SensitivityMatrix, nn.Module], tmp_path: Path
) -> None:
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    matrix, network = resnet
    path = tmp_path / "r.onnx"
    cc.export(matrix, repaired, "onnx", path, module=network, input_shape=(1, 8, 8))
    x = cc.load_data("digits").sensitivity_set(16, seed=3).x
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad(), repaired_in(network, repaired):
        assert np.abs(found - network(x).numpy()).max() < 1e-4


def test_repaired_choices_are_evaluated_from_python(
    repaired: Repaired, resnet: tuple[cc.SensitivityMatrix, nn.Module]
) -> None:
    _, network = resnet
    held_out = cc.load_data("digits").split("held-out")
    rounded = cc.evaluate(network, repaired.assignment, held_out)
    shipped = cc.evaluate(network, repaired, held_out)
    assert shipped.top1 > 0.95 > rounded.top1 and shipped.float_top1 == rounded.float_top1


def test_a_choice_that_is_not_the_repaired_one_is_refused(
    quick: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = quick
    other = tmp_path / "other.json"
    other.write_text(json.dumps(_at(cc.load(RESNET), 4).by_layer()))
    words = ["--assignment", str(other), "--format", "safetensors", "--out", str(tmp_path / "x")]
    assert main(["export", str(RESNET), *words, "--repaired", str(out)]) == 2
    assert "other bit-widths" in capsys.readouterr().err


class Odd(nn.Module):
    """A normalization called by name, state that is no tensor, a buffer that the forward fills and
    one that it changes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 10)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("table", None)

    def get_extra_state(self) -> object:
        return {"version": 2}

    def set_extra_state(self, state: object) -> None:
        pass

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.table is None:
            self.table = torch.ones(8)
        self.calls += 1
        x = torch.relu(self.norm(input=self.conv(x)))
        out: torch.Tensor = self.head(x.mean((2, 3)) * self.table) + 0.01 * self.calls
        return out


@pytest.fixture(scope="module")
def odd(images: Samples) -> tuple[cc.SensitivityMatrix, nn.Module]:
    torch.manual_seed(0)
    network = Odd().eval()
    few = (images.x[:48], images.y[:48])
    return cc.measure(network, few, bit_widths=(2, 4), estimator="logit-gram"), network


def test_odd_networks_are_repaired_and_read_back(
    odd: tuple[cc.SensitivityMatrix, nn.Module], images: Samples, tmp_path: Path
) -> None:
    matrix, network = odd
    assert network.table is None and float(network.calls) == 0
    lowest = cc.AllocationProblem(matrix).extremes()[0]
    first, second = (
        cc.repair(matrix, lowest, network, images.x[:96], rounding="gptq", batch_size=size)
        for size in (8, 48)
    )
    for a, b in zip(first.steps, second.steps, strict=True):
        assert a.divergence == pytest.approx(b.divergence, rel=1e-3, abs=1e-7)
    assert first.steps[-1].name == REESTIMATED
    write_repaired(tmp_path / "odd", matrix, network, first)
    again = read_repaired(tmp_path / "odd", matrix, network)
    with torch.no_grad(), repaired_in(network, first):
        shipped = network.conv.weight.clone()
    with torch.no_grad(), repaired_in(network, again):
        assert torch.equal(network.conv.weight, shipped)


def test_a_file_of_another_quantizer_is_refused(
    resnet: tuple[cc.SensitivityMatrix, nn.Module], repaired: Repaired, tmp_path: Path
) -> None:
    matrix, network = resnet
    write_repaired(tmp_path / "r", matrix, network, repaired)
    other = replace(matrix, scheme=cc.QuantizationScheme(granularity="per-tensor"))
    with pytest.raises(ArtifactError, match="per-tensor"):
        read_repaired(tmp_path / "r", other, network)


def test_what_cannot_be_judged_is_said(
    resnet: tuple[cc.SensitivityMatrix, nn.Module], images: Samples
) -> None:
    masked = nn.Sequential(resnet[1], Mask())
    inside = cc.measure(
        masked, (images.x[:32], images.y[:32] % 5), bit_widths=(4,), estimator="block"
    )
    with pytest.raises(MeasurementError, match="no number"):
        cc.repair(inside, cc.AllocationProblem(inside).extremes()[0], masked, images.x[:32])


class Mask(nn.Module):
    """Half of the classes cannot be."""

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        return scores.masked_fill(torch.arange(10) >= 5, float("-inf"))


def test_very_few_images_leave_the_normalizations_stored(
    resnet: tuple[cc.SensitivityMatrix, nn.Module], images: Samples
) -> None:
    matrix, network = resnet
    found = cc.repair(matrix, _at(matrix, 4), network, images.x[:2], rounding="nearest")
    assert REESTIMATED not in {step.name for step in found.steps}

"""Block-wise reconstruction: closer to the float network with the same images and bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import clado_core as cc
from clado_core.cli import main
from clado_core.data.sources import Samples
from clado_core.errors import MeasurementError
from clado_core.exports.repaired_file import read_repaired, write_repaired
from clado_core.networks.load import state_digest
from clado_core.records.scheme import integer_range
from clado_core.repairs.reconstruct import BEFORE, RECONSTRUCTED, _blocks, reconstruct
from clado_core.repairs.repair import halves, repair
from clado_core.repairs.repaired import Repaired, repaired_in
from tests.conftest import ROOT

ASSETS = ROOT / "assets"
NAMES = ("digits-resnet", "digits-vit")


@pytest.fixture(scope="module")
def parts() -> tuple[Samples, Samples]:
    return halves(cc.load_data("digits").sensitivity_set(512, seed=1))


def _chosen(matrix: cc.SensitivityMatrix, avg_bits: float) -> cc.Assignment:
    budget = cc.bits_for_average(avg_bits, matrix.layers)
    return cc.allocate(cc.AllocationProblem(matrix, budget_bits=budget)).assignment


@pytest.fixture(scope="module")
def starts(parts: tuple[Samples, Samples]) -> dict[str, Repaired]:
    """Convolutions with normalizations, and packed attention."""
    found = {}
    for name in NAMES:
        matrix, network = cc.load(ASSETS / f"{name}.clado"), cc.load_model(name).module
        found[name] = repair(network, matrix, _chosen(matrix, 2.25), *parts, rounding="gptq")
    return found


@pytest.fixture(scope="module")
def made(starts: dict[str, Repaired], parts: tuple[Samples, Samples]) -> dict[str, Repaired]:
    found = {}
    for name, start in starts.items():
        matrix, network = cc.load(ASSETS / f"{name}.clado"), cc.load_model(name).module
        found[name] = reconstruct(network, matrix, start, *parts)
        assert state_digest(network) == matrix.provenance.weights_sha256, "as it was"
        assert network.training is cc.load_model(name).module.training
    return found


@pytest.mark.parametrize("name", NAMES)
def test_it_comes_closer_in_as_many_bytes(
    name: str, starts: dict[str, Repaired], made: dict[str, Repaired], tmp_path: Path
) -> None:
    matrix, network = cc.load(ASSETS / f"{name}.clado"), cc.load_model(name).module
    before, after = starts[name], made[name]
    least = min(step.divergence for step in before.steps)
    assert after.steps[: len(before.steps)] == before.steps
    best = min(after.steps, key=lambda step: step.divergence)
    assert best.kept and best.name.startswith(RECONSTRUCTED) and best.divergence < 0.75 * least
    for layer, weight in after.weights.items():
        low, high = integer_range(before.weights[layer].bits)
        assert weight.bits == before.weights[layer].bits
        assert weight.integers.min() >= low and weight.integers.max() <= high
        assert weight.scales.shape == before.weights[layer].scales.shape
    size = write_repaired(tmp_path / "r", matrix, network, after)
    assert size == after.assignment.size_bytes
    again, x = read_repaired(tmp_path / "r", matrix, network), torch.rand(8, 1, 8, 8)
    with torch.no_grad():
        with repaired_in(network, after):
            outputs = network(x)
        with repaired_in(network, again):
            assert torch.equal(network(x), outputs)


def test_it_repeats_and_labels_change_nothing(
    starts: dict[str, Repaired], made: dict[str, Repaired], parts: tuple[Samples, Samples]
) -> None:
    name = "digits-vit"
    matrix, network = cc.load(ASSETS / f"{name}.clado"), cc.load_model(name).module
    wrong = [Samples(part.x, (part.y + 1) % 10, part.name) for part in parts]
    again = reconstruct(network, matrix, starts[name], *wrong)
    for layer, weight in made[name].weights.items():
        assert torch.equal(again.weights[layer].integers, weight.integers)
        assert torch.equal(again.weights[layer].scales, weight.scales)


class Odd(nn.Module):
    """Blocks of two layers: one plain, one called twice, one that reads two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Two() for _ in range(3))
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        plain, twice, pair = self.blocks
        x = plain(x.flatten(1)[:, :16].contiguous())
        scores: Tensor = self.head(pair(twice(twice(x)), x))
        return scores


class Two(nn.Module):
    """Changes its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        y: Tensor = self.second(self.first(x.mul_(0.9)).relu_())
        return y if other is None else y + other


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**16), bits=st.sampled_from((2, 3, 8)), batch_size=st.integers(5, 64))
def test_odd_blocks_are_left_as_they_are_and_nothing_gets_worse(seed, bits, batch_size):
    torch.manual_seed(seed)
    network = Odd().eval()
    x = torch.randn(96, 1, 4, 8)
    few = (x[:16], torch.arange(16) % 10)
    matrix = cc.measure(network, few, bit_widths=(bits,), estimator="logit-gram")
    assert _blocks(network, matrix.layers, x[:2]) == ["blocks.0"]
    chosen = cc.AllocationProblem(matrix).extremes()[0]
    samples = halves(Samples(x, torch.zeros(96, dtype=torch.int64), "random"))
    start = repair(network, matrix, chosen, *samples, rounding="gptq")
    found = reconstruct(network, matrix, start, *samples, batch_size=batch_size)
    least = [min(step.divergence for step in each.steps) for each in (start, found)]
    assert least[1] <= least[0]
    others = [name for name in start.weights if not name.startswith("blocks.0")]
    for name in others:
        assert torch.equal(start.weights[name].integers, found.weights[name].integers)


def test_blocks_without_gradients_are_said(parts: tuple[Samples, Samples]) -> None:
    class Closed(Two):
        def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
            with torch.no_grad():
                return super().forward(x, other)

    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Sequential(Closed()), Closed())
    network.append(nn.Linear(16, 10))
    few = (parts[0].x[:16], parts[0].y[:16])
    matrix = cc.measure(network.eval(), few, bit_widths=(3,), estimator="block")
    lowest = cc.AllocationProblem(matrix).extremes()[0]
    with pytest.raises(MeasurementError, match="no gradients"):
        cc.repair(matrix, lowest, network, parts[0], rounding="gptq", reconstruct=True)


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = ASSETS / "digits-resnet.clado"
    chosen = tmp_path / "chosen.json"
    chosen.write_text(json.dumps(_chosen(cc.load(artifact), 2.25).by_layer()))
    words = ["repair", str(artifact), "--assignment", str(chosen), "--images", "128", "--json"]
    words += ["--rounding", "gptq", "--reconstruct", "--out", str(tmp_path / "r.safetensors")]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    names = [step["name"] for step in result["steps"]]
    assert RECONSTRUCTED in names and BEFORE not in names
    assert result["bytes"] == result["size_bytes_promised"]

"""Fine-tuning: closer to the float network in as many bytes, and a stopped one continues."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import clado_core as cc
from clado_core.cli import main
from clado_core.cli.repair import add_arguments
from clado_core.data.sources import Samples
from clado_core.errors import InputError, MeasurementError
from clado_core.exports.repaired_file import read_repaired, write_repaired
from clado_core.networks.load import state_digest
from clado_core.repairs import finetune as module
from clado_core.repairs.finetune import BATCH, FINETUNED, Finetuning, finetune
from clado_core.repairs.repair import halves, repair
from clado_core.repairs.repaired import Repaired, repaired_in
from clado_core.repairs.straight_through import Learned
from tests.conftest import ROOT

ASSETS = ROOT / "assets"
EPOCHS = 4


@pytest.fixture(scope="module")
def parts() -> tuple[Samples, Samples, Samples]:
    """To calibrate with, to judge by, and to fine-tune on."""
    digits = cc.load_data("digits").sensitivity_set(1257, seed=1)
    few = replace(digits, x=digits.x[:512], y=digits.y[:512])
    rest = replace(digits, x=digits.x[512:], y=digits.y[512:])
    return (*halves(few), rest)


def _chosen(matrix: cc.SensitivityMatrix, avg_bits: float) -> cc.Assignment:
    budget = cc.bits_for_average(avg_bits, matrix.layers)
    return cc.allocate(cc.AllocationProblem(matrix, budget_bits=budget)).assignment


def _start(name: str, parts: tuple[Samples, Samples, Samples]) -> Repaired:
    matrix, network = cc.load(ASSETS / f"{name}.clado"), cc.load_model(name).module
    return repair(network, matrix, _chosen(matrix, 2.25), *parts[:2], rounding="gptq")


def _tuned(start: Repaired, parts: tuple[Samples, Samples, Samples], **plan: Any) -> Repaired:
    name = "digits-resnet" if len(start.assignment.layers) == 13 else "digits-vit"
    matrix, network = cc.load(ASSETS / f"{name}.clado"), cc.load_model(name).module
    return finetune(network, matrix, start, parts[1], Finetuning(EPOCHS, parts[2], **plan))


@pytest.fixture(scope="module")
def starts(parts: tuple[Samples, Samples, Samples]) -> dict[str, Repaired]:
    return {name: _start(name, parts) for name in ("digits-resnet", "digits-vit")}


@pytest.fixture(scope="module")
def tuned(
    starts: dict[str, Repaired], parts: tuple[Samples, Samples, Samples]
) -> dict[str, Repaired]:
    return {name: _tuned(start, parts) for name, start in starts.items()}


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_it_comes_closer_in_as_many_bytes(
    name: str, tuned: dict[str, Repaired], tmp_path: Path
) -> None:
    found = tuned[name]
    matrix, network = cc.load(ASSETS / f"{name}.clado"), cc.load_model(name).module
    before = [s.divergence for s in found.steps if not s.name.startswith(FINETUNED)]
    after = [s.divergence for s in found.steps if s.name.startswith(FINETUNED)]
    assert min(after) < 0.8 * min(before)
    assert [s for s in found.steps if s.kept and s.name.startswith(FINETUNED)]
    path = tmp_path / "r.safetensors"
    assert write_repaired(path, matrix, network, found) == found.assignment.size_bytes
    # The file carries all that was learned.
    x = cc.load_data("digits").split("held-out").x
    again = read_repaired(path, matrix, network)
    with torch.no_grad(), repaired_in(network, found):
        expected = network(x)
    with torch.no_grad(), repaired_in(network, again):
        assert torch.equal(network(x), expected)
    for layer, bits in found.assignment.by_layer().items():
        integers = found.weights[layer].integers
        assert integers.min() >= -(2 ** (bits - 1)) and integers.max() < 2 ** (bits - 1)
    assert any(k.endswith(("norm.weight", "bn.weight", "1.weight", ".bias")) for k in found.state)


def test_it_repeats_itself_and_reads_no_label(
    tuned: dict[str, Repaired], parts: tuple[Samples, Samples, Samples]
) -> None:
    poisoned = tuple(replace(part, y=(part.y + 1) % 10) for part in parts)
    again, first = _tuned(_start("digits-resnet", poisoned), poisoned), tuned["digits-resnet"]
    assert [s.divergence for s in again.steps] == [s.divergence for s in first.steps]
    for name, weight in first.weights.items():
        assert torch.equal(again.weights[name].integers, weight.integers)
        assert torch.equal(again.weights[name].scales, weight.scales)


def test_the_network_is_afterwards_as_it_was(parts: tuple[Samples, Samples, Samples]) -> None:
    matrix, network = cc.load(ASSETS / "digits-vit.clado"), cc.load_model("digits-vit").module
    network.requires_grad_(False)
    modes = [module.training for module in network.modules()]
    cc.repair(matrix, _chosen(matrix, 3), network, parts[2].x, rounding="nearest", finetune=1)
    assert state_digest(network) == matrix.provenance.weights_sha256
    assert modes == [module.training for module in network.modules()]
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())


def test_it_starts_from_what_was_repaired(tuned: dict[str, Repaired]) -> None:
    """Without a step nothing is another; with quantized attention too."""
    network = cc.load_model("digits-vit").module
    start = tuned["digits-vit"]
    learned = Learned(cc.load_model("digits-vit").module, start, network)
    for name, weight in learned.quantized().items():
        assert torch.equal(weight.integers, start.weights[name].integers)
        assert torch.allclose(weight.scales, start.weights[name].scales, rtol=1e-6)


def test_gradients_are_those_of_the_straight_through_estimator() -> None:
    """Against autograd through the layer itself: in range they are the layer's own."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 4, bias=False)).eval()
    x = torch.randn(32, 6)
    data = (torch.randn(32, 6, 1, 1), torch.zeros(32, dtype=torch.int64))
    matrix = cc.measure(nn.Sequential(nn.Flatten(), network), data, bit_widths=(4,))
    inside = nn.Sequential(nn.Flatten(), network)
    start = cc.repair(matrix, cc.AllocationProblem(matrix).extremes()[0], inside, data[0])
    learned = Learned(inside, start, nn.Sequential(nn.Flatten(), nn.Sequential(network[0])))
    made = learned.write()
    network(x).square().sum().backward()
    own = network[0].weight.grad.clone()
    learned.pull(made)
    (weight,), (log_scale,) = learned.weights, learned.log_scales
    scale = log_scale.exp().detach().reshape(-1, 1)
    levels = (weight / scale).detach()
    within = (levels > -8) & (levels < 7)
    assert torch.allclose(weight.grad, own * within, rtol=1e-5)
    rounded = levels.round().clamp(-8, 7)
    slope = torch.where(within, rounded - levels, rounded)
    assert torch.allclose(log_scale.grad, (own * slope * scale).sum(1), rtol=1e-4, atol=1e-5)
    assert network[0].weight.grad is None


def test_quantized_inputs_are_trained_through(parts: tuple[Samples, Samples, Samples]) -> None:
    """Gradients pass the rounding of inputs too, in convolutions and in attention."""
    for name in ("digits-resnet", "digits-vit"):
        network = cc.load_model(name).module
        few = (parts[0].x[:64], parts[0].y[:64])
        scheme = cc.QuantizationScheme(act_bits=4)
        matrix = cc.measure(network, few, bit_widths=(2, 4), scheme=scheme, estimator="logit-gram")
        lowest = cc.AllocationProblem(matrix).extremes()[0]
        start = repair(network, matrix, lowest, parts[0], parts[1], rounding="gptq")
        images = replace(parts[2], x=parts[2].x[:320], y=parts[2].y[:320])
        found = finetune(network, matrix, start, parts[1], Finetuning(3, images))
        best = min(found.steps, key=lambda step: step.divergence)
        assert best.name.startswith(FINETUNED) and best.kept
        before = [s.divergence for s in found.steps if not s.name.startswith(FINETUNED)]
        assert best.divergence < 0.9 * min(before)


class Stop(Exception):
    """Stands for the user's interrupt."""


def test_a_stopped_one_continues_wherever_it_was(
    starts: dict[str, Repaired],
    tuned: dict[str, Repaired],
    parts: tuple[Samples, Samples, Samples],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = starts["digits-resnet"]
    monkeypatch.setattr(module, "SAVE_S", 0.0)
    state = tmp_path / "r.partial"
    for stop in (7, 30):  # an epoch has 11

        def on_images(done: int, total: int, stop: int = stop) -> None:
            if done == stop * BATCH:
                raise Stop

        with pytest.raises(Stop):
            _tuned(start, parts, state=state, on_images=on_images)
    seen: list[int] = []
    again = _tuned(start, parts, state=state, on_images=lambda done, _: seen.append(done))
    assert seen[0] == 30 * BATCH and seen[1] == 31 * BATCH
    first = tuned["digits-resnet"]
    assert [s.divergence for s in again.steps] == [s.divergence for s in first.steps]
    with pytest.raises(InputError, match="other settings"):
        _tuned(start, parts, state=state, seed=5)


@pytest.fixture
def words(tmp_path: Path) -> Iterator[list[str]]:
    """A command, but for where it writes."""
    chosen = tmp_path / "chosen.json"
    matrix = cc.load(ASSETS / "digits-resnet.clado")
    chosen.write_text(json.dumps(_chosen(matrix, 2.25).by_layer()))
    yield [
        *("repair", str(ASSETS / "digits-resnet.clado"), "--assignment", str(chosen)),
        *("--rounding", "gptq", "--images", "128", "--finetune", "6", "--out"),
    ]


RUN = """
import sys
from clado_core.cli import main
from clado_core.repairs import finetune
finetune.SAVE_S = 0.0
sys.exit(main(sys.argv[1:]))
"""


def test_a_command_killed_at_some_moment_ends_with_the_same_file(
    words: list[str], tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    state = tmp_path / "killed.safetensors.partial"
    words = [words[0], "--finetune-images", "320", *words[1:]]
    assert main([*words, str(whole)]) == 0
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *words, str(killed)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not state.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and state.exists() and not killed.exists()
    assert main([*words, str(killed)]) == 0
    assert killed.read_bytes() == whole.read_bytes() and not state.exists()


def test_judges_are_not_trained_on(words: list[str]) -> None:
    import argparse

    from clado_core.cli.repair import _images

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    digits = cc.load_data("digits")
    for more, expected in (
        ([], len(digits.indices("train")) - 128),
        (["--finetune-images", "300"], 300),
    ):
        arguments = parser.parse_args([*words[1:], "x", *more])
        _, judges, images = _images(arguments, digits)
        assert len(images) == expected and len(judges) == 128
        same = (judges.x[:, None] == images.x[None]).flatten(2).all(2)
        apart = (judges.x[:, None] == digits.split("held-out").x[None]).flatten(2).all(2)
        assert not same.any() and not apart.any()


def test_mistakes_are_said_in_sentences(
    words: list[str],
    parts: tuple[Samples, Samples, Samples],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = str(tmp_path / "r")
    assert main([*words, out, "--finetune-images", "20"]) == 2
    assert "64 images or more, not 20" in capsys.readouterr().err
    rest = [w for w in words if w not in ("--finetune", "6")]
    assert main([*rest, out, "--finetune-images", "20"]) == 2
    assert "counts for --finetune" in capsys.readouterr().err
    (tmp_path / "r.partial").write_bytes(b"nothing")
    assert main([*words, out]) == 2
    assert "no stopped training" in capsys.readouterr().err
    with pytest.raises(InputError, match="1 epoch or more, not -1"):
        Finetuning(-1, parts[2])


class NoGradients(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            out: torch.Tensor = self.head(x.flatten(1))
            return out


class NoCopy(NoGradients):
    def __deepcopy__(self, memo: object) -> object:
        raise TypeError("this one is the only one")


@pytest.mark.parametrize(
    ("kind", "said", "error"),
    [
        (NoGradients, "cannot be fine-tuned", MeasurementError),
        (NoCopy, "cannot be copied.*only one", InputError),
    ],
)
def test_networks_that_cannot_learn_are_named(
    kind: type[nn.Module],
    said: str,
    error: type[Exception],
    parts: tuple[Samples, Samples, Samples],
) -> None:
    torch.manual_seed(0)
    network, few = kind().eval(), (parts[0].x[:32], parts[0].y[:32])
    matrix = cc.measure(network, few, bit_widths=(2, 4), estimator="logit-gram")
    lowest = cc.AllocationProblem(matrix).extremes()[0]
    with pytest.raises(error, match=said):
        cc.repair(matrix, lowest, network, parts[2].x, rounding="nearest", finetune=1)


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_an_onnx_file_computes_what_was_learned(
    name: str, tuned: dict[str, Repaired], tmp_path: Path
) -> None:
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    matrix, network = cc.load(ASSETS / f"{name}.clado"), cc.load_model(name).module
    path = tmp_path / "r.onnx"
    cc.export(matrix, tuned[name], "onnx", path, module=network, input_shape=(1, 8, 8))
    x = cc.load_data("digits").sensitivity_set(16, seed=3).x
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad(), repaired_in(network, tuned[name]):
        assert np.abs(found - network(x).numpy()).max() < 1e-4

"""Prefix reuse: any network gives the numbers of the naive loop, and costs what is forecast."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clado_core.data.sources import Samples
from clado_core.errors import InputError
from clado_core.networks.discovery import find_layers
from clado_core.networks.inference import make_batches, measuring
from clado_core.networks.load import load_model, state_digest
from clado_core.networks.placement import is_channels_last, place
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.records.scheme import QuantizationScheme
from clado_core.sensitivity import MeasurementSettings, measure
from clado_core.sensitivity.graph import INPUT, tensors, trace
from clado_core.sensitivity.plan import pairwise_plan
from clado_core.sensitivity.schedule import schedule, scheduled_cost
from clado_core.sensitivity.suffix import prepare_runner
from tests.core.networks import awkward

DEVICE_TOLERANCE = 1e-4
"""Mean losses on CPU and GPU, and in both memory formats, agree to this: sums are taken in another
order, in float32 without TF32."""


class Branches(nn.Module):
    """Residual, branch, in-place changes, a module called twice, layers defined out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.twice = nn.Conv2d(6, 6, 1)
        self.side = nn.Conv2d(6, 6, 1, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)

    def forward(self, x, scale=1.0, *, squeeze=False):
        x = self.relu(self.bn(self.first(x)))
        out = self.twice(self.relu(self.twice(x)))
        out += x
        left, right = self.second(out).chunk(2, dim=1)
        out = torch.cat([right, left], 1) * scale
        out = self.relu(out + self.side(x))
        return self.head(self.drop(out).mean((2, 3)))


class Functional(nn.Module):
    """A convolution through its weight alone, and a view that is changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.second = nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        x.mul_(0.5)
        x = F.conv2d(self.first(x), self.second.weight, self.second.bias)
        flat = x.flatten(1)
        x.relu_()
        return self.head(flat + 0 * self.second(torch.ones(1, 4, 3, 3)).mean())


class Asks(nn.Module):
    """Asks for values, which tracing cannot answer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > -1e9 else x


class Wrapped(nn.Module):
    """Its whole code asks for values."""

    def __init__(self) -> None:
        super().__init__()
        self.body = untraceable_part()

    def forward(self, x):
        return self.body(x) if float(x.sum()) > -1e9 else x


def untraceable_part() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), Asks(), nn.Flatten(), nn.Linear(64, 3)
    )


OPAQUE = ("inner.q",)


class OpaqueOwner(nn.Sequential):
    """A part that owns a shared layer, runs before the part that owned it first, and asks."""

    def forward(self, x):
        return super().forward(x) if float(x.sum()) > -1e9 else x


def shared_untraceable() -> nn.Module:
    """As ``SharedByParents``, where the part that runs first cannot be traced."""
    inner = awkward.SharedByParents()
    inner.q = OpaqueOwner(*inner.q)
    return awkward.Tail(inner)


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.Sequential(nn.Flatten(2), nn.Linear(36, 8), layer, nn.Flatten(), nn.Linear(8, 3))


NETWORKS = {
    "branches": (Branches, ()),
    "functional": (Functional, ()),
    "untraceable part": (untraceable_part, ("2",)),
    "untraceable": (Wrapped, ("",)),
    "transformer layer": (transformer, ()),
    "attention": (lambda: load_model("digits-vit").module, ()),
    "depthwise": (lambda: load_model("digits-resnet").module, ()),
    "shared": (lambda: awkward.Tail(awkward.SharedByParents()), ()),
    "shared, untraceable": (shared_untraceable, OPAQUE),
    "functional attention": (lambda: awkward.Tail(awkward.FunctionalAttention()), ()),
    "parts of a weight": (lambda: awkward.Tail(awkward.Parts()), ()),
}


def network(name: str) -> tuple[nn.Module, Samples]:
    """A network in training mode by mistake, and 20 samples."""
    torch.manual_seed(0)
    size = 8 if name in ("attention", "depthwise") else 6
    channels = 2 if isinstance(made := NETWORKS[name][0](), awkward.Tail) else 1
    x = torch.randn(20, channels, size, size)
    return made.train(), Samples(x, torch.arange(20) % 3, "random")


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("name", NETWORKS)
def test_same_numbers_as_running_the_whole_network(name):
    model, samples = network(name)
    before, inputs = state_digest(model), samples.x.clone()
    layers = find_layers(model, samples.x[:1].clone())
    own = set(vars(model))
    menu = (2, 4) if len(layers) < 10 else (2,)
    matrices = [
        measure(
            model, layers, samples, settings=MeasurementSettings(menu, batch_size=8, reuse=reuse)
        )
        for reuse in (True, False)
    ]
    assert np.array_equal(matrices[0].G, matrices[1].G)
    assert matrices[0].base_loss == matrices[1].base_loss
    assert state_digest(model) == before and set(vars(model)) == own
    assert torch.equal(samples.x, inputs), "the inputs must not be changed"
    opaque = ", ".join(NETWORKS[name][1]) or "the whole network"
    expected = opaque if NETWORKS[name][1] else None
    assert matrices[0].provenance.details.get("not_traced") == expected
    assert np.abs(matrices[0].G[~matrices[0].same_layer()]).max() > 0


@pytest.mark.parametrize(
    ("name", "ratio"), [("branches", 0.7), ("depthwise", 0.40), ("attention", 0.41)]
)
def test_forecast_is_what_is_run_and_a_third_of_the_naive_cost(name, ratio):
    model, samples = network(name)
    layers = find_layers(model, samples.x[:1])
    plan = pairwise_plan(len(layers), 2)
    with measuring(model), WeightSwap(model, layers, QuantizationScheme()) as swap:
        runner = prepare_runner(model, layers, samples.x, swap, n_bits=2, lowest_bits=2)
        executed = []
        for k, step in enumerate(runner.graph.steps):
            call = step.call
            object.__setattr__(
                step, "call", lambda v, k=k, call=call: executed.append(k) or call(v)
            )
        measured = [u for u, _ in runner.outputs(samples.x, plan, lambda unit: None)]
    assert sorted(measured) == sorted(plan)
    macs = int(runner.profile.macs[executed].sum())
    assert macs == scheduled_cost(plan, runner.starts, 2, runner.profile.macs)
    whole = len(plan) * int(runner.profile.macs.sum())
    assert macs < whole * (ratio)
    # The sum over layers of discovery, biases and normalization left out, is the same count.
    assert runner.profile.macs.sum() >= layers.macs.sum()


def test_little_memory_gives_the_same_numbers_for_more_work_and_too_little_is_refused():
    model, samples = network("depthwise")
    layers = find_layers(model, samples.x[:1])

    def settings(memory: int | None) -> MeasurementSettings:
        return MeasurementSettings((2, 4), batch_size=10, memory_bytes=memory)

    free = measure(model, layers, samples, settings=settings(None))
    weights = 6 * layers.total_weights
    with measuring(model), WeightSwap(model, layers, QuantizationScheme()) as swap:
        runner = prepare_runner(model, layers, samples.x, swap, n_bits=2, lowest_bits=2)
    working = runner.profile.working_bytes.max()
    tight = runner.within(working * 1.05)
    assert tight.bytes_per_sample <= working * 1.05 < runner.bytes_per_sample
    plan = pairwise_plan(len(layers), 2)
    costs = [scheduled_cost(plan, r.starts, 2, r.profile.macs) for r in (runner, tight)]
    assert costs[0] < costs[1] < len(plan) * runner.profile.macs.sum()
    bound = int(weights + 10 * working * 1.05)
    assert np.array_equal(measure(model, layers, samples, settings=settings(bound)).G, free.G)
    for memory in (weights // 2, int(weights + 5 * working)):
        with pytest.raises(InputError, match="raise the memory"):
            measure(model, layers, samples, settings=settings(memory))


def test_live_values_are_all_that_a_cut_needs():
    model, samples = network("branches")
    graph = trace(model.eval())
    with torch.no_grad():
        values = {INPUT: samples.x}
        for k, step in enumerate(graph.steps):
            kept = {v: values[v] for v in graph.live(k)}
            result = step.call(kept if k else values)
            values[k] = result
            assert all(v < k for v in kept)
    assert torch.equal(next(tensors(values[len(graph) - 1])), model(samples.x))


def test_schedule_by_hand():
    """Three layers with cuts at 0, 2 and 3 of five steps, one bit-width."""
    moves = list(schedule([(0, 2), (0, 1), (1,), ()], (0, 2, 3), 1, 5))
    assert [(m.kind, m.start, m.end, m.unit, m.source) for m in moves] == [
        ("measure", 0, 5, (), "base"),
        ("held", 0, 2, (0,), "base"),
        ("measure", 2, 5, (0, 1), "held"),
        ("held", 2, 3, (0,), "held"),
        ("measure", 3, 5, (0, 2), "held"),
        ("base", 0, 2, (), "base"),
        ("measure", 2, 5, (1,), "base"),
    ]
    assert scheduled_cost([(0, 2), (0, 1), (1,), ()], (0, 2, 3), 1, np.ones(5)) == 18


def test_channels_last_gives_the_same_losses_to_the_stated_tolerance():
    G, digests = [], []
    for last in (False, True):
        model, samples = network("depthwise")
        place(model, torch.device("cpu"), channels_last=last)
        assert is_channels_last(model) is last
        batch = make_batches(model, samples, 20)[0].x
        assert batch.is_contiguous(memory_format=torch.channels_last) or not last
        layers = find_layers(model, samples.x[:1])
        found = measure(model, layers, samples, settings=MeasurementSettings((2, 8), batch_size=8))
        G.append(found.G)
        digests.append(found.provenance.weights_sha256)
        assert is_channels_last(model) is last
    assert np.abs(G[0] - G[1]).max() < DEVICE_TOLERANCE and digests[0] == digests[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no CUDA device here.")
@pytest.mark.parametrize("name", ["depthwise", "attention"])
def test_cpu_and_gpu_give_the_same_losses_to_the_stated_tolerance(name):
    G = []
    for device in ("cpu", "cuda"):
        model, samples = network(name)
        place(model, torch.device(device))
        example = make_batches(model, samples, 1)[0].x
        layers = find_layers(model, example)
        found = measure(model, layers, samples, settings=MeasurementSettings((2, 8), batch_size=8))
        G.append(found.G)
    assert np.abs(G[0] - G[1]).max() < DEVICE_TOLERANCE


@pytest.mark.parametrize("name", ["branches", "depthwise", "attention", "transformer layer"])
def test_bit_widths_of_one_layer_as_one_batch(name):
    model, samples = network(name)
    layers = find_layers(model, samples.x[:1])
    found = []
    for grouped in (False, True):
        how = MeasurementSettings((2, 3, 4), batch_size=8, estimator="block", group_bits=grouped)
        found.append(measure(model, layers, samples, settings=how))
    assert np.abs(found[0].G - found[1].G).max() < 1e-6
    with measuring(model), WeightSwap(model, layers, QuantizationScheme()) as swap:
        runner = prepare_runner(
            model, layers, samples.x, swap, n_bits=3, lowest_bits=2, grouped=True
        )
        assert runner.grouped
        executed = []
        for k, step in enumerate(runner.graph.steps):
            call = step.call
            object.__setattr__(
                step, "call", lambda v, k=k, call=call: executed.append(k) or call(v)
            )
        plan = pairwise_plan(len(layers), 3)
        assert sorted(u for u, _ in runner.outputs(samples.x, plan, lambda _: None)) == sorted(plan)
        together, executed[:] = len(executed), []
        list(dataclasses.replace(runner, grouped=False).outputs(samples.x, plan, lambda _: None))
    assert together < 0.75 * len(executed), "the steps after a layer are run once for all bits"


class Mixes(nn.Module):
    """Subtracts the mean over its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(1, 2, 3), nn.Linear(2, 3)

    def forward(self, x):
        x = self.first(x).mean((2, 3))
        return self.head(x - x.mean(0))


def test_a_network_that_mixes_its_samples_is_not_grouped():
    torch.manual_seed(0)
    model = Mixes().eval()
    x = torch.randn(4, 1, 6, 6)
    layers = find_layers(model, x)
    with measuring(model), WeightSwap(model, layers, QuantizationScheme()) as swap:
        runner = prepare_runner(model, layers, x, swap, n_bits=2, lowest_bits=2, grouped=True)
    assert not runner.grouped and not runner.graph.is_whole


FAMILIES = {
    "resnet18": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_x_400mf": 64,
    "regnet_y_400mf": 64,
    "vit_b_32": 224,
    "swin_t": 64,
}
"""Torchvision's families → the smallest useful image."""


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_torchvision_is_cut_and_gives_its_own_outputs(name):
    model = load_model(f"torchvision:{name}", "none").module
    x = torch.randn(2, 3, FAMILIES[name], FAMILIES[name])
    layers = find_layers(model, x[:1])
    n = len(layers)
    units = [(), (0,), (2 * n - 1,), (0, 2 * n - 1), (n // 2 * 2, n // 2 * 2 + 3)]
    with measuring(model), WeightSwap(model, layers, QuantizationScheme()) as swap:
        runner = prepare_runner(model, layers, x, swap, n_bits=2, lowest_bits=2)
        assert not runner.graph.opaque and len(set(runner.starts)) > n / 2

        def place(unit):
            swap.apply({a // 2: (2, 4)[a % 2] for a in unit})

        for unit, outputs in runner.outputs(x, units, place):
            place(unit)
            assert torch.equal(outputs, model(x)), unit

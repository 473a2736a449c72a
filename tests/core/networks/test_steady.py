"""Networks that do not repeat themselves are refused; buffers that they change are put back."""

import itertools
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import clado_core as cc
from clado_core.data.sources import Samples
from clado_core.errors import InputError, MeasurementError
from clado_core.evaluation.evaluator import Evaluator
from clado_core.networks.inference import make_batches, measuring, run_batch
from clado_core.networks.load import state_digest
from clado_core.networks.steady import NOISE_STEPS, NOISE_TOLERANCE, difference
from clado_core.quantization.weights import fake_quantize
from clado_core.records.coverage import coverage
from clado_core.records.scheme import QuantizationScheme
from clado_core.sensitivity import MeasurementSettings, forecast, layers_of, measure


class Base(nn.Module):
    """Two layers; what stands between them is each test's own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 3)

    def between(self, x):
        return x

    def forward(self, x):
        return self.head(self.between(F.relu(self.conv(x))).mean((2, 3)))


class Dropout(Base):
    def between(self, x):
        return F.dropout(x, 0.5)


class Noise(Base):
    def between(self, x):
        return x + 1e-3 * torch.randn_like(x)


class AlwaysTraining(Base):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def between(self, x):
        return self.drop.train()(x)


class LastBatch(Base):
    """Remembers the batch before in a plain attribute."""

    seen = 0.0

    def between(self, x):
        x, self.seen = x + self.seen, x.mean()
        return x


class Listed(Base):
    """Remembers how many other images it has seen, in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.means = []

    def between(self, x):
        if not any(torch.equal(x, mean) for mean in self.means):
            self.means.append(x)
        return x * len(self.means)


class Counter(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def between(self, x):
        self.seen += 1
        return x * self.seen


class Average(Base):
    """An exponential moving average, started somewhere; kept in another tensor each time."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ema", torch.full((4,), 0.3), persistent=False)

    def between(self, x):
        self.ema = 0.9 * self.ema + 0.1 * x.mean((0, 2, 3))
        return x + self.ema[None, :, None, None]


class Hidden(Base):
    """Changed where no version counter sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((4,), 0.3))

    def between(self, x):
        self.scale.data.mul_(1.5)
        return x * self.scale[None, :, None, None]


class RunningStatistics(Base):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)

    def between(self, x):
        n = self.norm
        F.batch_norm(x, n.running_mean, n.running_var, training=True, momentum=0.1)
        return F.batch_norm(x, n.running_mean, n.running_var)


NOISY = (Dropout, Noise, AlwaysTraining, LastBatch, Listed)
CHANGING = {
    Counter: ("seen",),
    Average: ("ema",),
    Hidden: ("scale",),
    RunningStatistics: ("norm.running_mean", "norm.running_var"),
}


def made(kind: type[Base], n: int = 12) -> tuple[Base, Samples]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(), Samples(torch.randn(n, 1, 5, 5), torch.arange(n) % 3, "random")


def settings(**changes) -> MeasurementSettings:
    return MeasurementSettings((2, 4), batch_size=5, **changes)


@pytest.mark.parametrize("kind", NOISY)
def test_a_network_that_does_not_repeat_itself_is_refused_by_all_that_runs_it(kind):
    model, samples = made(kind)
    layers = layers_of(model, samples)
    assignment = cc.Assignment(layers, (4, 4), QuantizationScheme())
    matrix = cc.SensitivityMatrix("noisy", np.eye(4), layers, (2, 4))
    problem = cc.AllocationProblem(matrix)
    for run in (
        lambda model: measure(model, layers, samples, settings=settings()),
        lambda model: forecast(model, layers, samples, settings()),
        lambda model: Evaluator(model, matrix, samples).outcomes((4, 4)),
        lambda model: cc.measure(model, samples, bit_widths=(2, 4)),
        lambda model: cc.evaluate(model, assignment, samples),
        lambda model: cc.refine(problem, model, samples, k=1),
    ):
        with pytest.raises(MeasurementError, match=r"differ by up to .* times the largest"):
            run(made(kind)[0])


@pytest.mark.parametrize("kind", [Dropout, Noise])
def test_it_is_measured_where_that_is_asked_for_and_says_how_large_the_noise_is(kind, caplog):
    model, samples = made(kind)
    with caplog.at_level(logging.WARNING):
        matrix = cc.measure(model, samples, bit_widths=(2, 4), allow_noise=True)
    noise = matrix.provenance.details["noise"]
    assert 0 < noise < 2 and f"up to {noise:.2g} times the largest" in caplog.text
    assert (noise > 0.1) == (kind is Dropout), "by its size"
    assert coverage(matrix).noise == noise
    assert "every number measured holds that noise" in coverage(matrix).sentence
    found = cc.evaluate(
        model, cc.Assignment(matrix.layers, (4, 4), matrix.scheme), samples, allow_noise=True
    )
    assert found.noise > 0
    refined = cc.refine(cc.AllocationProblem(matrix), model, samples, k=1, allow_noise=True)
    assert refined.loss > 0


def test_one_batch_of_one_image_is_enough_to_find_it_out():
    for kind in NOISY:
        model, samples = made(kind, 1)
        with pytest.raises(MeasurementError, match="remembers earlier batches"):
            measure(model, layers_of(model, samples), samples, settings=settings())


def naive(model: Base, samples: Samples, bits: dict[str, int]) -> float:
    """Mean loss of a fresh copy for every batch."""
    total = 0.0
    for x, y in zip(samples.x.split(5), samples.y.split(5), strict=True):
        copy = type(model)().eval()
        copy.load_state_dict(model.state_dict())
        with torch.no_grad():
            for name, b in bits.items():
                weight = copy.get_parameter(f"{name}.weight")
                weight.copy_(fake_quantize(weight, b, QuantizationScheme()))
            total += F.cross_entropy(copy(x).double(), y, reduction="sum").item()
    return total / len(samples)


@pytest.mark.parametrize("kind", CHANGING)
def test_every_loss_is_of_the_buffers_that_the_network_came_with(kind):
    model, samples = made(kind)
    before = {name: value.clone() for name, value in model.named_buffers()}
    digest, same = state_digest(model), dict(model.named_buffers())
    matrix = cc.measure(model, samples, bit_widths=(2, 4), batch_size=5)
    assert matrix.provenance.weights_sha256 == digest == state_digest(model)
    assert all(model.get_buffer(name) is buffer for name, buffer in same.items())
    assert all(torch.equal(model.get_buffer(name), value) for name, value in before.items())
    assert matrix.provenance.details["changing_buffers"] == ", ".join(CHANGING[kind])
    base = naive(model, samples, {})
    assert matrix.base_loss == pytest.approx(base, abs=1e-9)
    alone = {
        (name, b): naive(model, samples, {name: b}) - base
        for name, b in itertools.product(("conv", "head"), (2, 4))
    }
    assert np.ravel(matrix.single_loss_increase) == pytest.approx(list(alone.values()), abs=1e-7)
    for (i, b), (j, c) in itertools.product(enumerate((2, 4)), repeat=2):
        together = naive(model, samples, {"conv": b, "head": c}) - base
        expected = together - alone["conv", b] - alone["head", c]
        assert matrix.G[i, 2 + j] == pytest.approx(expected, abs=1e-7)
    found = cc.evaluate(
        model, cc.Assignment(matrix.layers, (4, 2), matrix.scheme), samples, batch_size=5,
        matrix=matrix,
    )  # fmt: skip
    assert found.loss == pytest.approx(naive(model, samples, {"conv": 4, "head": 2}), abs=1e-9)
    assert state_digest(model) == digest


@pytest.mark.parametrize("estimator", ["logit-gram", "hvp"])
def test_derivatives_and_outputs_start_from_the_same_buffers_too(estimator):
    """A network with a constant in the buffer's place has the same matrix."""

    class Constant(Average):
        def between(self, x):
            return x + (0.9 * 0.3 + 0.1 * x.mean((0, 2, 3)))[None, :, None, None]

    how = {"bit_widths": (2, 4), "batch_size": 5, "estimator": estimator}
    found = [cc.measure(*made(kind), baselines=("mpqco",), **how) for kind in (Average, Constant)]
    np.testing.assert_allclose(found[0].G, found[1].G, rtol=1e-5, atol=1e-9)
    mpqco = [matrix.diagonals["mpqco"] for matrix in found]
    np.testing.assert_allclose(mpqco[0], mpqco[1], rtol=1e-5)


@pytest.mark.parametrize("kind", [Base, *CHANGING])
def test_finding_the_layers_changes_nothing(kind):
    model, samples = made(kind)
    digest = state_digest(model)
    cc.find_layers(model, samples.x[:1])
    assert state_digest(model) == digest


class Clamped(Base):
    def forward(self, x):
        self.conv.weight.data.clamp_(-0.1, 0.1)
        return super().forward(x)


class Renormalized(Base):
    """Its weights are the same values elsewhere, where swapped ones would not be seen."""

    def forward(self, x):
        self.conv.weight.data = torch.renorm(self.conv.weight.data, 2, 0, 1e6)
        return super().forward(x)


@pytest.mark.parametrize("kind", [Clamped, Renormalized])
def test_weights_that_a_forward_changes_are_refused_by_name(kind):
    model, samples = made(kind)
    with pytest.raises(InputError, match=r"changes its parameter 'conv\.weight'"):
        cc.measure(model, samples, bit_widths=(2, 4))


class Late(Base):
    """Becomes another network after many forwards."""

    calls = 0

    def between(self, x):
        self.calls += 1
        return x if self.calls < 30 else 2 * x


def test_a_network_that_becomes_another_one_on_the_way_is_noticed(tmp_path):
    model, samples = made(Late)
    layers = layers_of(model, samples)
    for _ in range(2):
        model.calls = 0
        with pytest.raises(MeasurementError, match="The network changed while it was measured"):
            measure(
                model, layers, samples, settings=settings(reuse=False), journal=tmp_path / "kept"
            )
        assert not (tmp_path / "kept").exists(), "or its losses would be taken for good ones"


class LateBuffer(Base):
    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("late", torch.ones(4))

    def between(self, x):
        self.calls += 1
        if self.calls == 30:
            self.late.mul_(2)
        return x


def test_a_buffer_that_changes_on_the_way_is_named_and_put_back():
    model, samples = made(LateBuffer)
    digest = state_digest(model)
    with pytest.raises(MeasurementError, match="its buffer 'late' is another"):
        measure(model, layers_of(model, samples), samples, settings=settings(reuse=False))
    assert state_digest(model) == digest


def test_a_failing_forward_leaves_buffers_as_they_were():
    class Failing(Counter):
        def between(self, x):
            if (x := super().between(x)).sum() > 0 and len(x) == 2:
                raise RuntimeError("two images are too few")
            return x

    model, samples = made(Failing)
    digest = state_digest(model)
    with pytest.raises(MeasurementError, match="two images are too few"):
        measure(model, layers_of(model, samples), samples, settings=settings())
    assert state_digest(model) == digest


def test_a_network_that_repeats_itself_keeps_its_buffers_and_its_speed():
    """No whole forwards where parts are enough; nothing is said of it."""
    model, samples = made(Base)
    matrix = cc.measure(model, samples, bit_widths=(2, 4))
    assert {"noise", "changing_buffers", "not_traced"}.isdisjoint(matrix.provenance.details)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_differences_as_of_other_orders_of_summing_are_no_noise(dtype):
    x = torch.linspace(-1, 4, 24, dtype=dtype).reshape(6, 4)
    step = max(NOISE_TOLERANCE, NOISE_STEPS * torch.finfo(dtype).eps)
    assert difference(x, x) == 0
    assert difference(x.double(), x.double() + 0.9e-5 * 4) == 0
    assert difference(x, (x.double() * (1 + 0.5 * step)).to(dtype)) == 0
    apart = difference(x, (x.double() * (1 + 8 * step)).to(dtype))
    assert apart == pytest.approx(8 * step, rel=0.2)


def test_what_is_not_finite_is_left_to_the_loss_unless_it_differs():
    nan = torch.full((2, 2), float("nan"))
    mixed = torch.tensor([[1.0, float("nan")], [float("inf"), 2.0]])
    assert difference(nan, nan) == difference(mixed, mixed) == 0
    assert difference(mixed, nan) == difference(torch.zeros(2, 2), torch.ones(2, 2)) == np.inf
    assert difference(torch.zeros(2, 2), torch.zeros(2, 2)) == 0


def test_without_batches_nothing_is_run():
    model, samples = made(Dropout)
    with measuring(model) as found:
        assert (found.noise, found.changing) == (0.0, ())
        run_batch(model, make_batches(model, samples, 5)[0])

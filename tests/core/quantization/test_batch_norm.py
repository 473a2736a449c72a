"""Which normalization follows a layer, and statistics estimated anew, against slow definitions."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clado_core.errors import InputError, MeasurementError
from clado_core.networks.discovery import find_layers, searchable_weights
from clado_core.networks.load import load_model, state_digest
from clado_core.quantization.batch_norm import (
    following_norms,
    norm_buffers,
    normalizing_by_batch,
    reestimate_batch_norm,
)
from clado_core.quantization.statistics import OutputStatistics


def follows(model: nn.Module, x: torch.Tensor) -> dict[str, str]:
    return following_norms(model, searchable_weights(model), x)


def test_normalizations_of_shipped_networks():
    x = torch.randn(2, 1, 8, 8)
    model = load_model("digits-resnet").module
    found = following_norms(model, find_layers(model, x[:1]).layers, x)
    blocks = {
        0: {"conv1": "bn1", "conv2": "bn2"},
        1: {"conv1": "bn1", "conv2": "bn2", "downsample.0": "downsample.1"},
        2: {"expand": "bn1", "depthwise": "bn2", "project": "bn3"},
        3: {"expand": "bn1", "depthwise": "bn2", "project": "bn3"},
    }
    pairs = {f"blocks.{k}.{a}": f"blocks.{k}.{b}" for k, p in blocks.items() for a, b in p.items()}
    assert found == {"stem.0": "stem.1"} | pairs
    transformer = load_model("digits-vit").module
    assert following_norms(transformer, find_layers(transformer, x[:1]).layers, x) == {}
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


class Wired(nn.Module):
    """Calls its modules as a function says."""

    def __init__(self, wires, **modules):
        super().__init__()
        self.wires = wires
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.wires(self, x)


def conv() -> nn.Conv2d:
    return nn.Conv2d(2, 2, 1)


def bn() -> nn.BatchNorm2d:
    return nn.BatchNorm2d(2)


def weight_alone(m, x):
    return m.b(F.conv2d(x, m.a.weight, m.a.bias))


WIRED = {
    "an activation in place": (lambda m, x: m.b(m.r(m.a(x))), {}),
    "something in between": (lambda m, x: m.b(m.a(x) + 1), {}),
    "nothing in between": (lambda m, x: m.b(m.i(m.a(x))), {"a": "b"}),
    "a shortcut around": (lambda m, x: m.b(y := m.a(x)) + y, {"a": "b"}),
    "called twice, both normalized": (lambda m, x: m.b(m.a(m.b(m.a(x)))), {"a": "b"}),
    "called twice, once normalized": (lambda m, x: m.a(m.b(m.a(x))), {}),
    "two normalizations": (lambda m, x: m.b(m.a(x)) + m.b2(m.a(x)), {}),
    "both read one output": (lambda m, x: m.b(y := m.a(x)) + m.b2(y), {}),
    "two layers": (lambda m, x: m.b(m.a(x)) + m.b(m.a2(x)), {}),
    "an input of its own": (lambda m, x: m.b(m.a(x)) + m.b(x), {}),
    "no statistics": (lambda m, x: m.n(m.a(x)), {}),
    "a weight without its module": (weight_alone, {"a": "b"}),
    "the input of the layer": (lambda m, x: m.b(x) + m.a(x), {}),
}


@pytest.mark.parametrize("name", WIRED)
def test_what_follows_directly(name):
    wires, expected = WIRED[name]
    parts = {"a": conv(), "a2": conv(), "b": bn(), "b2": bn()}
    parts |= {"r": nn.ReLU(inplace=True), "i": nn.Identity()}
    model = Wired(wires, **parts, n=nn.BatchNorm2d(2, track_running_stats=False))
    assert follows(model, torch.randn(1, 2, 3, 3)) == expected


def test_the_input_of_an_attention_is_not_its_output():
    class Normalized(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend = nn.MultiheadAttention(4, 1)
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x):
            return self.attend(x, x, x)[0] + self.norm(x)

    assert follows(Normalized(), torch.randn(3, 4)) == {}


class Net(nn.Module):
    """Two normalizations one after the other, one that is never reached, and dropout."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, bias=False)
        self.first = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)
        self.last = nn.BatchNorm1d(3, momentum=None)
        self.unused = nn.BatchNorm1d(3)
        self.fixed = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x):
        x = self.fixed(self.drop(F.relu(self.first(self.conv(x)))))
        return self.last(x.mean((2, 3)))


def network() -> Net:
    torch.manual_seed(0)
    model = Net()
    model(torch.randn(9, 2, 5, 5))  # statistics that are not the initial ones
    return model


def test_statistics_are_averages_over_batches_by_their_size():
    model = network()
    model.first.momentum, before = 0.3, state_digest(model)
    batches = [torch.randn(n, 2, 5, 5) for n in (6, 2, 3)]
    found = reestimate_batch_norm(model, batches)
    assert state_digest(model) == before and model.training and model.drop.training
    assert (model.first.momentum, model.last.momentum) == (0.3, None)
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert list(found) == [f"{n}.running_{s}" for n in ("first", "last") for s in ("mean", "var")]
    expected = {name: torch.zeros(3) for name in found}
    with torch.no_grad():
        for x in batches:
            y = model.conv(x)
            z = F.relu(F.batch_norm(y, None, None, *model.first.parameters(), training=True))
            z = F.batch_norm(z, None, None, training=True).mean((2, 3))
            for name, each in (("first", y), ("last", z)):
                axes = (0, 2, 3)[: each.ndim - 1]
                expected[f"{name}.running_mean"] += each.mean(axes) * len(x) / 11
                expected[f"{name}.running_var"] += each.var(axes) * len(x) / 11
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-6), name


@pytest.mark.parametrize("sizes", [(4, 1), (3, 4, 1), (1,), (2, 1, 3)])
def test_a_last_sample_alone_joins_the_batch_before(sizes):
    """One value per channel has no variance; where it stands first or in the middle it is said."""
    model, x = network(), torch.randn(sum(sizes), 2, 5, 5)
    if sizes in ((1,), (2, 1, 3)):
        with pytest.raises(MeasurementError, match="cannot run inputs of shape"):
            reestimate_batch_norm(model, x.split(sizes))
        return
    joined = [*sizes[:-2], sizes[-2] + 1]
    found, expected = (reestimate_batch_norm(model, x.split(s)) for s in (list(sizes), joined))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_normalization_used_twice_averages_over_both():
    torch.manual_seed(0)
    model = Wired(lambda m, x: m.b(x) + m.b(3 * x + 1), b=nn.BatchNorm2d(2))
    x = torch.randn(5, 2, 3, 3)
    found = reestimate_batch_norm(model, [x])
    expected = (x.mean((0, 2, 3)) + (3 * x + 1).mean((0, 2, 3))) / 2
    assert torch.allclose(found["b.running_mean"], expected, atol=1e-6)


def test_networks_without_normalization_and_normalizations_alone():
    assert reestimate_batch_norm(nn.Linear(2, 2), []) == {}
    alone = nn.BatchNorm1d(2)
    x = torch.randn(6, 2)
    found = reestimate_batch_norm(alone, [x])
    assert torch.allclose(found["running_mean"], x.mean(0), atol=1e-6)
    alone.load_state_dict(found, strict=False)
    assert torch.equal(alone.running_var, found["running_var"])


def test_what_stands_inside_a_normalization_stays_in_eval_mode():
    class WithDropout(nn.BatchNorm2d):
        def __init__(self):
            super().__init__(2)
            self.drop = nn.Dropout(0.9)

        def forward(self, x):
            return self.drop(super().forward(x))

    model, x = WithDropout(), torch.randn(4, 2, 3, 3)
    with normalizing_by_batch(model):
        found = model(x)
    assert torch.allclose(found, F.batch_norm(x, None, None, training=True))
    assert model.training and model.drop.training and model.num_batches_tracked == 0


def test_a_failure_leaves_the_network_as_it_was():
    model = network().eval()
    before = state_digest(model)
    with pytest.raises(MeasurementError, match="cannot run inputs of shape"):
        reestimate_batch_norm(
            model,
            [torch.randn(4, 2, 5, 5), torch.randn(4, 2, 2, 2), *[torch.randn(4, 2, 5, 5)] * 3],
        )
    with pytest.raises(InputError, match="no inputs"):
        reestimate_batch_norm(model, [])
    assert state_digest(model) == before and not model.training and model.first.momentum == 0.1
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_buffers_of_a_normalization():
    model = network()
    both = [
        OutputStatistics(torch.full((3,), m).double(), torch.ones(3).double() * v)
        for m, v in ((1.0, 2.0), (1.5, 8.0))
    ]
    found = norm_buffers(model, "first", *both)
    assert torch.allclose(found["first.running_var"], 4 * model.first.running_var)
    expected = 1.5 + 2 * (model.first.running_mean - 1)
    assert torch.allclose(found["first.running_mean"], expected)
    assert {value.dtype for value in found.values()} == {torch.float32}
    for name in ("conv", "fixed", "gone"):
        with pytest.raises(InputError, match=f"no batch normalization '{name}'"):
            norm_buffers(model, name, *both)

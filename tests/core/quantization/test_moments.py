"""Moments of layers' inputs, against columns written out one by one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from clado_core.errors import InputError, MeasurementError
from clado_core.networks.discovery import find_layers, searchable_weights
from clado_core.networks.load import load_model, state_digest
from clado_core.quantization import moments as moments_module
from clado_core.quantization.moments import InputMoments, collect_moments
from tests.core.small_networks import convolutional

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def agrees(found: InputMoments, columns: torch.Tensor) -> None:
    """Whether moments are those of columns, shape (groups, k, n)."""
    columns = columns.double()
    assert found.count == columns.shape[-1]
    assert torch.allclose(found.second, columns @ columns.mT, rtol=1e-5, atol=1e-4)
    assert torch.allclose(found.mean, columns.mean(-1), rtol=1e-5, atol=1e-5)


def slow_columns(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """What each output position reads, found by asking the convolution itself for the gradient."""
    x = x.double().requires_grad_()
    conv = conv.double()
    y = conv(x)
    rows = conv.out_channels // conv.groups
    columns = []
    for group in range(conv.groups):
        found = []
        for n in range(len(y)):
            for position in range(y[0, 0].numel()):
                value = y[n, group * rows].flatten()[position]
                (gradient,) = torch.autograd.grad(value, conv.weight, retain_graph=True)
                found.append(gradient[group * rows].flatten())
        columns.append(torch.stack(found, dim=1))
    return torch.stack(columns)


@st.composite
def convolutions(draw):
    """Arguments of convolutions of all kinds."""
    groups, same = draw(st.sampled_from((1, 1, 2, 4))), draw(st.booleans())
    return {
        "in_channels": 4,
        "out_channels": groups * draw(st.integers(1, 2)),
        "kernel_size": (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        "stride": 1 if same else (draw(st.integers(1, 3)), draw(st.integers(1, 2))),
        "padding": "same" if same else (draw(st.integers(0, 2)), draw(st.integers(0, 2))),
        "dilation": (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        "groups": groups,
        "padding_mode": draw(st.sampled_from(PADDING_MODES)),
    }


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@given(
    how=convolutions(),
    seed=st.integers(0, 2**16),
    n=st.integers(1, 3),
    channels_last=st.booleans(),
    block=st.sampled_from((1, 1 << 20)),
)
@settings(max_examples=40)
def test_every_kind_of_convolution(how, seed, n, channels_last, block):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(**how))
    x = torch.randn(n, 4, 6, 5)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    placed = x.contiguous(memory_format=layout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moments_module, "BLOCK_ELEMENTS", block)
        found = collect_moments(model, searchable_weights(model), [placed])["0"]
    assert torch.equal(x, placed)
    agrees(found, slow_columns(model[0], x))


def test_outputs_follow_from_moments_by_group():
    """Σ y² of a grouped convolution is its weight's quadratic form: the order of entries fits."""
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 4, 3, padding=1, groups=2, bias=False)
    x = torch.randn(3, 6, 5, 5)
    model = nn.Sequential(conv)
    found = collect_moments(model, searchable_weights(model), [x])["0"]
    rows = found.by_group(conv.weight)
    squares = ((rows @ found.second) * rows).sum(-1).flatten()
    expected = conv(x).detach().double().square().sum((0, 2, 3))
    assert torch.allclose(squares, expected, rtol=1e-5)
    assert repr(found) == "InputMoments(2 groups × 27, 75 columns)"


def test_batches_and_repeated_calls_add_up():
    """One module called twice in a forward; two batches of different sizes."""
    torch.manual_seed(0)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x):
            return self.linear(self.linear(x))

    model = Twice()
    batches = [torch.randn(4, 2, 3), torch.randn(1, 2, 3)]
    found = collect_moments(model, searchable_weights(model), batches)["linear"]
    x = torch.cat(batches).reshape(-1, 3)
    with torch.no_grad():
        agrees(found, torch.cat([x, model.linear(x)]).T[None])


class Attention(nn.Module):
    """Queries of 8 from keys of ``kdim`` and values of ``vdim``; tokens last or first."""

    def __init__(self, kdim, vdim, batch_first):
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, kdim=kdim, vdim=vdim, batch_first=batch_first)

    def forward(self, x):
        q, k, v = x[..., :8], x[..., 8 : 8 + self.attend.kdim], x[..., -self.attend.vdim :]
        return self.attend(q, key=k, value=v)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kdim, vdim", [(8, 8), (4, 6)])
def test_projections_of_attention(kdim, vdim, batch_first):
    torch.manual_seed(0)
    model = Attention(kdim, vdim, batch_first).eval()
    x = torch.randn(5, 3, 8 + kdim + vdim)
    weights = searchable_weights(model)
    expected, _ = model(x)
    found = collect_moments(model, weights, [x])
    assert list(found) == [f"attend.{n}_proj" for n in ("q", "k", "v", "out")]
    parts = x.split((8, kdim, vdim), dim=-1)
    for moments, part in zip(found.values(), parts, strict=False):
        agrees(moments, part.reshape(-1, part.shape[-1]).T[None])
    with torch.no_grad():  # the output projection undone
        attend = model.attend
        mixed = torch.linalg.solve(attend.out_proj.weight, (expected - attend.out_proj.bias).mT)
        agrees(found["attend.out_proj"], mixed.mT.reshape(-1, 8).T[None])


@pytest.mark.parametrize("fused", [True, False])
def test_a_fused_transformer_layer_is_seen(fused):
    """Its fast path calls no submodule; the setting is put back."""
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.randn(3, 4, 8)
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fused)
    try:
        found = collect_moments(model, searchable_weights(model), [x])
        assert torch.backends.mha.get_fastpath_enabled() == fused
    finally:
        torch.backends.mha.set_fastpath_enabled(was)
    assert len(found) == 6 and {m.count for m in found.values()} == {12}
    agrees(found["self_attn.k_proj"], x.reshape(-1, 8).T[None])


def test_one_pass_over_a_whole_network_leaves_it_as_it_was():
    model = load_model("digits-vit").module
    x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    layers, before = find_layers(model, x[:1]), state_digest(model)
    model.train()
    passes = []
    handle = model.register_forward_hook(lambda *_: passes.append(1))
    found = collect_moments(model, layers.layers, x.split(4))
    handle.remove()
    assert len(passes) == 2 and model.training and state_digest(model) == before
    assert tuple(found) == layers.names
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
    some = collect_moments(model, layers.layers[3:5], [x])
    assert tuple(some) == layers.names[3:5]
    for name, moments in some.items():
        assert torch.allclose(moments.second, found[name].second, rtol=1e-4, atol=1e-4)


def test_dropout_is_off_and_a_networks_own_changes_do_not_reach_the_caller():
    model, _, samples = convolutional()
    model.insert(0, nn.ReLU(inplace=True))
    model = nn.Sequential(model)  # names are "0.1" and so on
    x = samples.x.clone()
    table = find_layers(model, x[:1].clone())
    once, again = (collect_moments(model, table.layers, [x]) for _ in range(2))
    assert torch.equal(x, samples.x)
    assert all(torch.equal(once[n].second, again[n].second) for n in once)
    with torch.no_grad():
        inputs = model[0][:6].eval()(samples.x.clone())
        agrees(once["0.7"], inputs.flatten(1).T[None])


class Functional(nn.Module):
    """A weight used by a function, one computed from its parameter, and padding of its own."""

    def __init__(self):
        super().__init__()
        self.first = Standardized(2, 3, 3, stride=2)
        self.head = nn.Linear(12, 2)

    def forward(self, x):
        return F.linear(self.first(x).flatten(1), self.head.weight)


class Standardized(nn.Conv2d):
    def forward(self, x):
        weight = self.weight / self.weight.norm()
        return F.conv2d(F.pad(x, (0, 1, 0, 1)), weight, self.bias, self.stride)


def test_weights_are_found_where_they_are_used():
    torch.manual_seed(0)
    model, x = Functional(), torch.randn(5, 2, 4, 4)
    found = collect_moments(model, searchable_weights(model), [x])
    agrees(
        found["first"],
        F.unfold(F.pad(x, (0, 1, 0, 1)), 3, stride=2).transpose(0, 1).flatten(1)[None],
    )
    with torch.no_grad():
        agrees(found["head"], model.first(x).flatten(1).T[None])


def test_types_of_the_network():
    """float64 stays exact; half-precision inputs are multiplied in float32."""
    torch.manual_seed(0)
    x = torch.randn(50, 4, dtype=torch.float64) + 1e4
    linear = nn.Sequential(nn.Linear(4, 2).double())
    found = collect_moments(linear, searchable_weights(linear), [x])["0"]
    assert torch.allclose(found.second[0], x.T @ x, rtol=1e-15)
    expected = torch.cov(x.T, correction=0)
    assert torch.allclose(found.covariance[0], expected, atol=1e-6)
    half = nn.Sequential(nn.Linear(4, 2).bfloat16())
    x = torch.randn(300, 4).bfloat16()
    found = collect_moments(half, searchable_weights(half), [x])["0"]
    assert torch.allclose(found.second[0], x.double().T @ x.double(), rtol=1e-5, atol=1e-4)


def test_what_cannot_be_taken_moments_of_is_said():
    model, layers, samples = convolutional()
    weights, x = layers.layers, samples.x
    with pytest.raises(InputError, match="no inputs"):
        collect_moments(model, weights, [])
    with pytest.raises(MeasurementError, match="cannot run inputs of shape"):
        collect_moments(model, weights, [x[:, :, :1]])
    for bad in (float("nan"), float("inf"), 1e30):
        with pytest.raises(MeasurementError, match="inputs of '0'") as caught:
            collect_moments(model, weights, [torch.full_like(x, bad)])
        assert caught.value.layer == "0"
    assert not any(module._forward_pre_hooks for module in model.modules())
    unused = nn.ModuleDict({"used": nn.Linear(2, 2), "other": nn.Linear(2, 2)})
    unused.forward = unused["used"].forward
    with pytest.raises(InputError, match=r"inputs of other are not known"):
        collect_moments(unused, searchable_weights(unused), [torch.ones(1, 2)])
    with pytest.raises(InputError, match=r"no parameter '6\.weight'"):
        collect_moments(model[:4], weights, [x])


def test_moments_check_themselves():
    good = InputMoments(torch.eye(3).double()[None], torch.zeros(1, 3).double(), 4)
    assert good.groups == 1 and good.width == 3
    with pytest.raises(InputError, match="expected"):
        InputMoments(good.second, torch.zeros(1, 2).double(), 4)
    with pytest.raises(InputError, match="float64"):
        InputMoments(good.second.float(), good.mean, 4)
    with pytest.raises(InputError, match="no column"):
        InputMoments(good.second, good.mean, 0)
    with pytest.raises(InputError, match="NaN"):
        InputMoments(good.second * float("nan"), good.mean, 4)
    with pytest.raises(InputError, match="its own layer"):
        good.by_group(torch.zeros(2, 4))
    with pytest.raises(InputError, match="its own layer"):
        InputMoments(good.second.expand(2, 3, 3), good.mean.expand(2, 3), 4).by_group(
            torch.zeros(3, 3)
        )


def test_an_image_without_a_batch_axis():
    """A network may run its images one by one."""
    torch.manual_seed(0)

    class OneByOne(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 2)

        def forward(self, x):
            return torch.stack([self.conv(image) for image in x])

    model, x = OneByOne(), torch.randn(4, 2, 3, 3)
    found = collect_moments(model, searchable_weights(model), [x])["conv"]
    agrees(found, F.unfold(x, 2).transpose(0, 1).flatten(1)[None])

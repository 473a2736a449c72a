"""What stands beside weights, by name, and parts of it that belong to one layer each."""

import pytest
import torch
from torch import nn

from clado_core.errors import InputError
from clado_core.networks.discovery import searchable_weights
from clado_core.networks.state_digest import state_digest
from clado_core.quantization.network_state import bias_name, state_views, using_state


@pytest.mark.parametrize("width", [8, 4])
def test_biases_of_attention(width):
    """Packed, or a weight for each of q, k and v, which share one bias either way."""
    model = nn.ModuleDict({"attend": nn.MultiheadAttention(8, 2, kdim=width, vdim=width)})
    bias = model["attend"].in_proj_bias.data
    bias.copy_(torch.arange(24.0))
    model["attend"].out_proj.bias.data.fill_(7)
    names = [bias_name(model, each) for each in searchable_weights(model)]
    assert names[1] == "attend.in_proj_bias[8:16]" and names[3] == "attend.out_proj.bias"
    views = state_views(model, names)
    assert [view[0] for view in views.values()] == [0, 8, 16, 7]
    views[names[1]].zero_()
    assert not bias[8:16].any() and bias[16] == 16, "a view"


def test_biases_of_other_layers():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Linear(2, 3, bias=False), nn.Linear(3, 1))
    found = [bias_name(model, each) for each in searchable_weights(model)]
    assert found == ["0.bias", None, "2.bias"]
    single = nn.Linear(2, 2)
    assert bias_name(single, *searchable_weights(single)) == "bias"
    free = nn.MultiheadAttention(4, 2, bias=False)
    assert [bias_name(free, each) for each in searchable_weights(free)] == [None] * 4


def test_values_are_written_and_put_back():
    model = nn.Sequential(nn.MultiheadAttention(4, 2), nn.BatchNorm1d(4))
    before, mean = state_digest(model), torch.full((4,), 5.0)
    state = {"1.running_mean": mean, "0.in_proj_bias[4:8]": mean, "0.in_proj_bias[8:12]": 2 * mean}
    with pytest.raises(KeyError), using_state(model, state):
        assert torch.equal(model[1].running_mean, mean)
        assert model[0].in_proj_bias.tolist() == [0] * 4 + [5] * 4 + [10] * 4
        raise KeyError
    assert state_digest(model) == before


def test_names_that_the_network_does_not_have():
    model, mean = nn.Sequential(nn.BatchNorm1d(4)), torch.ones(4)
    for name, value, sentence in (
        ("0.mean", mean, r"no '0\.mean'"),
        ("gone.running_mean", mean, r"no 'gone\.running_mean'"),
        ("0.bias[2:6]", mean, r"no '0\.bias\[2:6\]'"),
        ("0.bias[2:2]", mean[:0], r"no '0\.bias\[2:2\]'"),
        ("0.num_batches_tracked[0:1]", mean[:1], "no '0.num_batches_tracked"),
        ("0.running_mean", mean[:2], r"has shape \(4,\), not \(2,\)"),
    ):
        with pytest.raises(InputError, match=sentence), using_state(model, {name: value}):
            pass


def test_a_name_may_look_like_rows():
    odd = nn.ModuleDict({"layer[0:1]": nn.Linear(2, 2)})
    assert bias_name(odd, *searchable_weights(odd)) == "layer[0:1].bias"
    assert state_views(odd, ["layer[0:1].bias"])["layer[0:1].bias"].shape == (2,)

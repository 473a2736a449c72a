"""Weights and biases of layers as parts of a network's parameters."""

import pytest
import torch
from torch import nn

from clado_core.errors import InputError
from clado_core.networks.discovery import searchable_weights
from clado_core.quantization.weight_swap import bias_slice, weight_slice


@pytest.mark.parametrize("width", [8, 4])
def test_weights_and_biases_of_attention(width):
    """Packed, or a weight for each of q, k and v, which share one bias either way."""
    model = nn.ModuleDict({"attend": nn.MultiheadAttention(8, 2, kdim=width, vdim=width)})
    bias = model["attend"].in_proj_bias.data
    bias.copy_(torch.arange(24.0))
    model["attend"].out_proj.bias.data.fill_(7)
    q, k, v, out = searchable_weights(model)
    assert [bias_slice(model, each)[0] for each in (q, k, v, out)] == [0, 8, 16, 7]
    bias_slice(model, k).zero_()
    assert not bias[8:16].any() and bias[16] == 16, "a view"
    expected = model["attend"].in_proj_weight
    expected = model["attend"].v_proj_weight if expected is None else expected[16:]
    assert torch.equal(weight_slice(model, v), expected)
    with pytest.raises(InputError, match="has weight shape"):
        weight_slice(nn.ModuleDict({"attend": nn.MultiheadAttention(4, 2)}), out)
    with pytest.raises(InputError, match="no parameter"):
        weight_slice(nn.Linear(1, 1), out)


def test_biases_of_other_layers():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Linear(2, 3, bias=False), nn.Linear(3, 1))
    found = [bias_slice(model, each) for each in searchable_weights(model)]
    assert torch.equal(found[0], model[0].bias) and found[1] is None and found[2].shape == (1,)
    single = nn.Linear(2, 2)
    assert torch.equal(bias_slice(single, *searchable_weights(single)), single.bias)
    free = nn.MultiheadAttention(4, 2, bias=False)
    assert [bias_slice(free, each) for each in searchable_weights(free)] == [None] * 4

"""Weights of layers as parts of a network's parameters."""

import pytest
import torch
from torch import nn

from clado_core.errors import InputError
from clado_core.networks.discovery import searchable_weights
from clado_core.quantization.weight_swap import weight_slice


@pytest.mark.parametrize("width", [8, 4])
def test_weights_of_attention(width):
    """Packed, or a weight for each of q, k and v."""
    model = nn.ModuleDict({"attend": nn.MultiheadAttention(8, 2, kdim=width, vdim=width)})
    *_, v, out = searchable_weights(model)
    expected = model["attend"].in_proj_weight
    expected = model["attend"].v_proj_weight if expected is None else expected[16:]
    assert torch.equal(weight_slice(model, v), expected)
    with pytest.raises(InputError, match="has weight shape"):
        weight_slice(nn.ModuleDict({"attend": nn.MultiheadAttention(4, 2)}), out)
    with pytest.raises(InputError, match="no parameter"):
        weight_slice(nn.Linear(1, 1), out)

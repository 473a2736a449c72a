"""The digest sees every value, of what is no tensor too, and nothing but values."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import clado_core as cc
from clado_core.errors import InputError
from clado_core.networks.load import load_state, state_digest


class Extra(nn.Module):
    """A network that keeps something beside its tensors."""

    def __init__(self, value: object) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.fc = nn.Linear(4, 3)
        self.value = value

    def get_extra_state(self) -> object:
        return self.value

    def set_extra_state(self, state: object) -> None:
        self.value = state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1))


VALUES = (
    None, True, 1, 1.5, "a", b"a", {"step": 3}, {"step": 4}, [1, 2], [[1], 2], (), {},
    io.BytesIO(b"abc"), io.BytesIO(b"abd"), {"t": torch.zeros(2)}, {"t": torch.ones(2)},
    torch.float32,
)  # fmt: skip


def test_every_value_gives_a_digest_of_its_own():
    digests = [state_digest(Extra(value)) for value in VALUES]
    assert len(set(digests)) == len(VALUES)
    assert digests == [state_digest(Extra(value)) for value in VALUES]


@pytest.mark.parametrize("value", [None, {"step": 3}, io.BytesIO(b"abc")])
def test_such_a_network_is_measured_stored_and_filled_again(tmp_path: Path, value):
    data = torch.randn(8, 1, 2, 2), torch.arange(8) % 3
    network = Extra(value)
    matrix = cc.measure(network, data, bit_widths=(4, 8))
    assert matrix.provenance.weights_sha256 == state_digest(network)
    chosen = cc.Assignment(matrix.layers, (4,), matrix.scheme)
    cc.export(matrix, chosen, "safetensors", tmp_path / "o.safetensors", module=network)
    from clado_core.exports import load_packed

    fresh = Extra(value)
    load_packed(tmp_path / "o.safetensors", fresh)
    assert not torch.equal(fresh.fc.weight, network.fc.weight)
    load_state(fresh, {"fc.weight": torch.ones(3, 4), "fc.bias": torch.zeros(3)}, "w")
    assert fresh.value == value and (fresh.fc.weight == 1).all()


def test_what_has_no_values_is_one_sentence():
    with pytest.raises(InputError, match="'_extra_state' is of type object"):
        state_digest(Extra(object()))


def test_a_network_that_is_quantized_already_is_one_sentence():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = torch.ao.quantization.quantize_dynamic(Extra(None), {nn.Linear})
    with pytest.raises(InputError, match="no layer to quantize"):
        cc.measure(quantized, (torch.randn(8, 1, 2, 2), torch.arange(8) % 3))

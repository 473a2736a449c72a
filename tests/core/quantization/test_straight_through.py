"""Rounding that gradients pass: the values of rounding, and the published derivatives."""

import pytest
import torch

from clado_core.quantization.input_ranges import fake_quantize_input
from clado_core.quantization.straight_through import fake_quantize_straight, round_straight
from clado_core.quantization.weights import dequantize, round_to_levels


def test_rounding_keeps_gradients():
    x = torch.tensor([-1.5, -0.2, 0.5, 1.5, 2.5, 3e6 + 0.5], requires_grad=True)
    y = round_straight(x)
    y.sum().backward()
    assert torch.equal(y, torch.round(x)) and torch.equal(x.grad, torch.ones(6))
    endless = torch.tensor([float("inf")])
    assert torch.equal(round_straight(endless), endless)


@pytest.mark.parametrize("scales", [(0.1,), (0.1, 0.03, 0.5)])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_are_those_that_are_shipped(bits, scales):
    weight = torch.randn(3, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    scales = torch.tensor(scales)
    made = fake_quantize_straight(weight.requires_grad_(), scales, bits)
    assert torch.equal(made, dequantize(round_to_levels(weight, scales, bits)))


def test_derivatives_are_those_of_learned_step_sizes():
    """Levels −2 … 1: two weights within, one below, one above."""
    weight = torch.tensor([[0.3, -0.9, -1.6, 2.0]], requires_grad=True)
    scale = torch.tensor([0.5], requires_grad=True)
    made = fake_quantize_straight(weight, scale, 2)
    assert torch.allclose(made, torch.tensor([[0.5, -1.0, -1.0, 0.5]]))
    made.backward(torch.tensor([[1.0, 10.0, 100.0, 1000.0]]))
    assert torch.equal(weight.grad, torch.tensor([[1.0, 10.0, 0.0, 0.0]]))
    expected = (1 - 0.6) + 10 * (-2 + 1.8) + 100 * -2 + 1000 * 1
    assert scale.grad.item() == pytest.approx(expected)


def test_rounded_inputs_pass_gradients_within_their_range():
    x = torch.linspace(-2.1, 4.1, 13, requires_grad=True)
    y = fake_quantize_input(x, -1.0, 2.0, 3)
    y.sum().backward()
    assert torch.equal(y, fake_quantize_input(x.detach(), -1.0, 2.0, 3))
    # Levels are 3/7 apart and 0 is one of them, so that the range is −6/7 to 15/7.
    within = (x > -6 / 7) & (x < 15 / 7)
    assert torch.equal(x.grad, within.float())

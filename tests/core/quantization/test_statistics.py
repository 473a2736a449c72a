"""Statistics of outputs from moments of inputs, against outputs that are run."""

import pytest
import torch
from torch import nn

from clado_core.data.sources import load_data
from clado_core.errors import InputError
from clado_core.networks.discovery import find_layers, searchable_weights
from clado_core.networks.inference import cross_entropy, measuring
from clado_core.networks.load import load_model
from clado_core.quantization.batch_norm import following_norms, norm_buffers, using_state
from clado_core.quantization.gptq import gptq
from clado_core.quantization.moments import InputMoments, collect_moments
from clado_core.quantization.network_state import bias_name, state_views
from clado_core.quantization.statistics import (
    OutputStatistics,
    bias_correction,
    matched_statistics,
    output_statistics,
)
from clado_core.quantization.weight_swap import weight_slice
from clado_core.quantization.weights import dequantize, quantize, search_scales
from clado_core.records.scheme import QuantizationScheme

LAYERS = {
    "plain": lambda: nn.Conv2d(4, 6, 3, padding=1, stride=2),
    "grouped": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4, bias=False),
    "linear": lambda: nn.Linear(5, 6),
}


@pytest.fixture(params=LAYERS)
def layer(request) -> tuple[nn.Module, torch.Tensor, InputMoments]:
    """A float64 layer, its inputs with a mean far from zero, and their moments."""
    torch.manual_seed(0)
    model = nn.Sequential(LAYERS[request.param]()).double()
    x = torch.randn(7, 4, 6, 5, dtype=torch.float64) + 2
    return model[0], x, collect_moments(model, searchable_weights(model), [x])["0"]


def outputs(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Shape (samples and positions, out_channels)."""
    with torch.no_grad():
        y = module(x)
    return (y if isinstance(module, nn.Linear) else y.movedim(1, -1)).flatten(0, -2)


def test_mean_and_variance_are_those_of_the_output(layer):
    module, x, moments = layer
    found, y = output_statistics(module.weight, moments, bias=module.bias), outputs(module, x)
    assert torch.allclose(found.mean, y.mean(0), rtol=1e-10)
    assert torch.allclose(found.variance, y.var(0, correction=0), rtol=1e-8)


def test_a_corrected_bias_gives_the_output_its_mean_back(layer):
    module, x, moments = layer
    expected = outputs(module, x).mean(0)
    rounded = quantize(module.weight, 2, QuantizationScheme("per-tensor"))
    correction = bias_correction(module.weight, rounded, moments)
    with torch.no_grad():
        module.weight.copy_(dequantize(rounded))
        found = outputs(module, x).mean(0)
        assert (found - expected).abs().max() > 0.05
        assert torch.allclose(found + correction, expected, atol=1e-12)
    statistics = output_statistics(rounded, moments, bias=module.bias)
    assert torch.allclose(statistics.mean + correction, expected, atol=1e-12)


def test_statistics_of_another_layer_are_refused(layer):
    _, _, moments = layer
    with pytest.raises(InputError, match="its own layer"):
        output_statistics(torch.zeros(8, 1000), moments)


def statistics(mean: list[float], variance: list[float]) -> OutputStatistics:
    return OutputStatistics(torch.tensor(mean).double(), torch.tensor(variance).double())


def test_matched_statistics_normalize_as_before():
    """(y − mean)/deviation has, with the new statistics, the moments that it had with the old."""
    stored = statistics([1.0, -2.0, 0.5, 3.0], [4.0, 1.0, 2.0, 1.0])
    before = statistics([1.5, -2.0, 0.1, 3.5], [3.0, 1.2, 2.5, 0.0])
    after = statistics([1.1, -4.0, 0.0, 3.5], [6.0, 0.3, 0.0, 0.0])
    found = matched_statistics(stored, before, after)
    for k in range(2):
        deviation = found.variance[k].sqrt()
        assert (after.mean[k] - found.mean[k]) / deviation == pytest.approx(
            float((before.mean[k] - stored.mean[k]) / stored.variance[k].sqrt())
        )
        assert after.variance[k] / deviation**2 == pytest.approx(
            float(before.variance[k] / stored.variance[k])
        )
    # A channel that has become constant is normalized to 0, one that always was stays as it is.
    assert (found.mean[2], found.variance[2]) == (0.0, 0.0)
    assert (found.mean[3], found.variance[3]) == (3.0, 1.0)
    same = matched_statistics(stored, before, before)
    assert torch.equal(same.mean, stored.mean) and torch.equal(same.variance, stored.variance)


def repaired_loss_increases(scheme: QuantizationScheme, bits: int) -> dict[str, float]:
    """Of digits-resnet with every layer quantized: as rounded, matched, and taken as they are."""
    model, source = load_model("digits-resnet").module, load_data("digits")
    x, test = source.split("train").x[:512], source.split("held-out")
    layers = find_layers(model, x[:1])
    moments = collect_moments(model, layers.layers, x.split(128))
    norms = following_norms(model, layers.layers, x[:1])

    def loss() -> float:
        with measuring(model):
            outputs = model(test.x)
            return float(cross_entropy(outputs, test.y, outputs)) / len(test)

    matched, absolute, float_loss = {}, {}, loss()
    for layer in layers.layers:
        weight, mine = weight_slice(model, layer), moments[layer.name]
        rounded = gptq(weight, mine, search_scales(weight, bits, scheme), bits)
        if (norm := norms.get(layer.name)) is not None:
            name = bias_name(model, layer)
            bias = None if name is None else state_views(model, [name])[name]
            both = [output_statistics(w, mine, bias=bias) for w in (weight, rounded)]
            matched |= norm_buffers(model, norm, *both)
            absolute[f"{norm}.running_mean"] = both[1].mean
            absolute[f"{norm}.running_var"] = both[1].variance
        weight.copy_(dequantize(rounded))
    assert len(norms) == 12, "all but the classifier"
    found = {"rounded": loss() - float_loss}
    for name, buffers in (("matched", matched), ("absolute", absolute)):
        with using_state(model, buffers):
            found[name] = loss() - float_loss
    return found


@pytest.mark.parametrize("granularity", ["per-tensor", "per-channel"])
def test_matched_statistics_compose(granularity):
    """At 8 bits everywhere the float network's loss of 0.065 within 0.001; at 2 a repair.

    Statistics of the calibration images as they are shift even the network at 8 bits.
    """
    scheme = QuantizationScheme(granularity)
    eight, two = (repaired_loss_increases(scheme, bits) for bits in (8, 2))
    assert abs(eight["matched"]) < 0.001 and eight["absolute"] > 0.05
    assert two["matched"] < 0.35 * two["rounded"] and two["matched"] < 0.5 * two["absolute"]

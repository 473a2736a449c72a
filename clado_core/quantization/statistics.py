"""What quantizing a weight does to the statistics of its layer's output, without running it.

All of it follows from the moments of the inputs: the mean of Wx + b is W·E[x] + b, and its
variance in each channel is the diagonal of W Cov[x] Wᵀ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float64
from torch import Tensor

from clado_core.quantization.moments import InputMoments
from clado_core.quantization.weights import QuantizedWeight, dequantize

ByChannel: TypeAlias = Float64[Tensor, "out_channels"]


@dataclass(frozen=True, slots=True, eq=False)
class OutputStatistics:
    """Mean and (population) variance of a layer's output, over samples and positions.

    Args:
        mean: Shape (out_channels,), float64.
        variance: Likewise, 0 or more.
    """

    mean: ByChannel
    variance: ByChannel


def output_statistics(
    weight: Tensor | QuantizedWeight, moments: InputMoments, /, *, bias: Tensor | None = None
) -> OutputStatistics:
    """Mean W·E[x] + b and variance diag(W Cov[x] Wᵀ) of each output channel.

    Args:
        weight: Shape (out_channels, ...), or the integers and scales that stand for it.
        moments: Of the inputs of its layer.
        bias: Shape (out_channels,); 0 where None.

    Raises:
        InputError: The moments are another layer's.
    """
    rows = moments.by_group(_values(weight))
    mean = (rows @ moments.mean[:, :, None]).flatten()
    variance = ((rows @ moments.covariance) * rows).sum(-1).flatten()
    added = 0.0 if bias is None else bias.detach().to(mean)
    return OutputStatistics(mean + added, variance.clamp_min(0.0))


def bias_correction(weight: Tensor, rounded: QuantizedWeight, moments: InputMoments, /) -> Tensor:
    """E[Wx] − E[Ŵx]: what added to the bias gives the output its mean back.

    For layers without a normalization after them; it adds nothing to one that follows and is
    re-estimated. Source: Nagel et al., 2019.

    Args:
        weight: Shape (out_channels, ...).
        rounded: What stands for it.
        moments: Of the inputs of its layer.

    Returns:
        Shape (out_channels,), float64.
    """
    change = moments.by_group(weight) - moments.by_group(dequantize(rounded))
    return (change @ moments.mean[:, :, None]).flatten()


def matched_statistics(
    stored: OutputStatistics, before: OutputStatistics, after: OutputStatistics, /
) -> OutputStatistics:
    """Stored running statistics, changed by what quantizing changed and by nothing else.

    Stored statistics come from other images (as a rule augmented ones), so those of calibration
    images cannot take their place. What is given instead makes the normalized output of the
    quantized layer have, on the calibration images, the mean and variance that it has with the
    float layer: with r² = var(after)/var(before), the variance is stored·r² and the mean is
    mean(after) + r·(stored − mean(before)). Where quantizing changes nothing, nothing changes.

    Args:
        stored: Of the normalization that follows the layer.
        before: Of the layer's output with its float weight, its bias included.
        after: With its quantized weight, on the same inputs, likewise.
    """
    ratio = torch.where(before.variance > 0, after.variance / before.variance, 1.0)
    offset = stored.mean.to(ratio) - before.mean
    return OutputStatistics(after.mean + ratio.sqrt() * offset, stored.variance.to(ratio) * ratio)


def _values(weight: Tensor | QuantizedWeight) -> Tensor:
    return dequantize(weight) if isinstance(weight, QuantizedWeight) else weight

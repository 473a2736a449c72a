"""The network behind a configuration, with the integers and scales that the choice gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clado_core.errors import InputError
from clado_core.exports.configuration import Configuration
from clado_core.records.layers import LayerInfo

if TYPE_CHECKING:
    from torch import nn

    from clado_core.networks.load import LoadedModel
    from clado_core.quantization.weights import QuantizedWeight


@dataclass(frozen=True, slots=True, eq=False)
class PackedWeight:
    """One layer's weight as integers; w ≈ scale·integer.

    Args:
        layer: Whose weight.
        bits: Its bit-width, which the integers keep within.
        integers: Weight's shape, int8.
        scales: Shape (out_channels,) or (1,), float32.
        groups: Of a grouped convolution, else 1.
    """

    layer: LayerInfo
    bits: int
    integers: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    groups: int = 1

    @property
    def dequantized(self) -> npt.NDArray[np.float32]:
        """The float32 weight that the integers stand for, weight's shape."""
        scales = self.scales.reshape(-1, *[1] * (self.integers.ndim - 1))
        return self.integers.astype(np.float32) * scales


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedNetwork:
    """A float network and its searched weights as integers.

    Args:
        module: The float network; it is not changed.
        weights: Layer name → its weight, in network order.
        input_shape: Channels, height and width of one input; None where nobody said.
    """

    module: nn.Module
    weights: Mapping[str, PackedWeight]
    input_shape: tuple[int, int, int] | None


def load_network(
    configuration: Configuration,
    /,
    *,
    model: str | None = None,
    weights: str | None = None,
    repaired: str | Path | None = None,
) -> QuantizedNetwork:
    """Load the measured network and quantize it as the configuration says. Imports torch.

    Args:
        configuration: Its artifact names the network and the digest of its weights.
        model: Where the artifact does not name the network, or it moved.
        weights: A checkpoint, where it was not measured with the default ones.
        repaired: A packed file whose integers and statistics are taken instead of rounded ones.

    Raises:
        InputError: The artifact does not name a network, or it cannot be loaded.
        ArtifactError: The weights are not those that were measured.
    """
    matrix = configuration.matrix
    spec = model or matrix.provenance.model
    if spec is None:
        raise InputError(
            f"The weights of '{matrix.name}' are needed, and its artifact names no network: "
            "give the model."
        )
    from clado_core.networks.measured import load_measured

    loaded = load_measured(matrix, model=spec, weights=weights)
    shape = loaded.input_shape or _shape_of_data(configuration, loaded)
    if repaired is None:
        packed = quantize_weights(loaded.module, configuration)
        return QuantizedNetwork(loaded.module, packed, shape)
    from clado_core.exports.repaired_file import read_repaired, repaired_network

    found = read_repaired(repaired, matrix, loaded.module)
    if found.assignment.bits != configuration.assignment.bits:
        raise InputError(f"{repaired} was repaired for other bit-widths than this choice has.")
    return repaired_network(loaded.module, found, input_shape=shape)


def quantize_weights(module: nn.Module, configuration: Configuration, /) -> dict[str, PackedWeight]:
    """The searched weights as integers and scales, in network order."""
    from clado_core.quantization.weight_swap import WeightSwap

    matrix = configuration.matrix
    swap = WeightSwap(module, matrix.layers, matrix.scheme)
    pairs = enumerate(zip(matrix.layers.layers, configuration.assignment.bits, strict=True))
    return {
        layer.name: packed_weight(module, layer, swap.quantized(i, bits))
        for i, (layer, bits) in pairs
    }


def packed_weight(module: nn.Module, layer: LayerInfo, quantized: QuantizedWeight) -> PackedWeight:
    """A layer's weight off its device, with what exports need to know of the layer's module."""
    from torch import nn

    owner = module.get_submodule(layer.parameter.rpartition(".")[0])
    return PackedWeight(
        layer,
        quantized.bits,
        quantized.integers.cpu().numpy(),
        quantized.scales.cpu().numpy(),
        owner.groups if isinstance(owner, nn.Conv2d) else 1,
    )


def _shape_of_data(configuration: Configuration, model: LoadedModel) -> tuple[int, int, int]:
    origin = configuration.matrix.provenance
    if origin.data is None:
        raise InputError(
            f"The shape of the inputs of '{configuration.matrix.name}' is not known: its artifact "
            "names no data."
        )
    from clado_core.networks.measured import open_data

    source = open_data(model, origin.data)
    channels, height, width = source.samples(source.indices("all")[:1]).x.shape[1:]
    return int(channels), int(height), int(width)

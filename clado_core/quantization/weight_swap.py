"""Quantize layers of a network in place, their inputs too where asked, and undo it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from clado_core.errors import InputError, MeasurementError
from clado_core.quantization.candidate import Candidate, CandidateTable
from clado_core.quantization.inputs import InputQuantizer
from clado_core.quantization.network_state import entry_of, state_views
from clado_core.quantization.weights import QuantizedWeight, dequantize, quantize
from clado_core.records.layers import LayerInfo, LayerTable
from clado_core.records.scheme import QuantizationScheme, weight_bits


class WeightSwap:
    """Holds the original weights of a network's searched layers and swaps quantized ones in.

    The network is never copied: only the slices of its parameters that change are written. As a
    context manager it puts every original back at the end, whatever happened.

    Args:
        model: Its parameters are written in place.
        layers: The searched layers; they must be this network's.
        scheme: The quantizer.
        inputs: Quantizes the inputs of the same layers; None where they stay float.
        candidates: What a layer is at a bit-width, with the statistics and biases that go with it;
            rounded to nearest, and nothing else, where None.

    Raises:
        InputError: A layer's parameter is missing or has another shape, or candidates are of
            another network.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: LayerTable,
        scheme: QuantizationScheme,
        /,
        *,
        inputs: InputQuantizer | None = None,
        candidates: CandidateTable | None = None,
    ) -> None:
        self.inputs = inputs
        self._layers = layers
        self._scheme = scheme
        self._slices = [weight_slice(model, layer) for layer in layers.layers]
        self._originals = [part.clone() for part in self._slices]
        self._made: dict[tuple[int, int], Candidate] = {}
        self._current: dict[int, int] = {}
        self._candidates = candidates
        names = () if candidates is None else candidates.state_names
        self._state = state_views(model, names)
        self._before = {name: value.clone() for name, value in self._state.items()}

    @property
    def n_layers(self) -> int:
        """Number of searched layers."""
        return len(self._slices)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.apply({})

    def apply(self, bits: Mapping[int, int], /) -> None:
        """Make exactly these layers quantized and all others original.

        Args:
            bits: Position of a layer → its bit-width or joint choice; only differences are
                written.
        """
        if self.inputs is not None:
            self.inputs.apply_choices(bits, self._scheme)
        for i in [i for i in self._current if i not in bits]:
            self._slices[i].copy_(self._originals[i])
            for name in self._candidate(i, self._current[i]).state:
                self._state[name].copy_(self._before[name])
            del self._current[i]
        for i, b in bits.items():
            if self._current.get(i) != b:
                self._current[i] = b
                made = self._candidate(i, b)
                self._slices[i].copy_(dequantize(made.weight))
                for name, value in made.state.items():
                    self._state[name].copy_(value)

    def beside(self, layer: str, /) -> tuple[str, ...]:
        """Names of the parameters and buffers that change with a layer's weight."""
        if self._candidates is None:
            return ()
        return tuple(map(entry_of, self._candidates.names_of(layer)))

    def change(self, layer: int, bits: int, /) -> Tensor:
        """Q(w) − w of a layer, in the weight's shape and type."""
        original = self._originals[layer]
        return dequantize(self.quantized(layer, bits)).to(original) - original

    def quantized(self, layer: int, bits: int, /) -> QuantizedWeight:
        """A layer's weight as integers and scales; made once per bit-width and kept.

        Raises:
            MeasurementError: The weight holds NaN or infinite values.
        """
        return self._candidate(layer, bits).weight

    def _candidate(self, layer: int, bits: int) -> Candidate:
        bits, name = weight_bits(bits), self._layers.names[layer]
        if self._candidates is not None:
            return self._candidates.of(name, bits)
        if (layer, bits) not in self._made:
            try:
                rounded = quantize(self._originals[layer], bits, self._scheme)
            except InputError as problem:
                raise MeasurementError(f"'{name}': {problem}", layer=name, bits=bits) from None
            self._made[layer, bits] = Candidate(rounded, {})
        return self._made[layer, bits]


def weight_slice(model: nn.Module, layer: LayerInfo, /) -> Tensor:
    """A layer's weight as a view: writing to it changes the network.

    Raises:
        InputError: The parameter is missing or has another shape.
    """
    try:
        parameter = model.get_parameter(layer.parameter)
    except AttributeError:
        raise InputError(
            f"The network has no parameter '{layer.parameter}' for the layer '{layer.name}'; give "
            "the network that was measured."
        ) from None
    part = parameter.data[layer.row_start : layer.row_start + layer.out_channels]
    if part.shape != torch.Size(layer.shape):
        raise InputError(
            f"The layer '{layer.name}' has weight shape {tuple(part.shape)}, expected "
            f"{layer.shape}; give the network that was measured."
        )
    return part

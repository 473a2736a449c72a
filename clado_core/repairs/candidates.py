"""Integers of single layers, and the statistics that go with them, each made on its own."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from clado_core.quantization.adaround import adaround
from clado_core.quantization.batch_norm import following_norms, norm_buffers
from clado_core.quantization.candidate import Candidate
from clado_core.quantization.descent import descend
from clado_core.quantization.gptq import gptq
from clado_core.quantization.moments import InputMoments, collect_moments
from clado_core.quantization.network_state import bias_name, state_views
from clado_core.quantization.statistics import bias_correction, output_statistics
from clado_core.quantization.weight_swap import weight_slice
from clado_core.quantization.weights import QuantizedWeight, round_to_levels, search_scales
from clado_core.records.layers import LayerInfo, LayerTable
from clado_core.records.names import GPTQ, NEAREST, Rounding
from clado_core.records.scheme import QuantizationScheme
from clado_core.repairs.candidate_file import CandidateFile


class _Seen(NamedTuple):
    """Moments of each layer's inputs, and the normalization that follows it."""

    moments: dict[str, InputMoments]
    norms: dict[str, str]


class Candidates:
    """Makes candidates of a network's layers from one pass over calibration images.

    The scales are those of rounding to nearest, so the bytes are too. Each candidate depends on
    its layer and on the float network's inputs to it alone.

    Args:
        model: The float network, on its device.
        layers: Its searched layers.
        scheme: The quantizer.
        inputs: Calibration images, batch by batch, on the device.
        rounding: "nearest", "gptq" (error compensation, then descent) or "adaround" (learned from
            there).
        kept: Holds candidates that were made before, and keeps new ones; nothing is run where it
            holds all that are asked for.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: LayerTable,
        scheme: QuantizationScheme,
        inputs: Iterable[Tensor],
        /,
        *,
        rounding: Rounding = "adaround",
        kept: CandidateFile | None = None,
    ) -> None:
        self._model, self._scheme, self._rounding = model, scheme, rounding
        self._layers, self._inputs, self._kept = layers, inputs, kept
        self._made: dict[tuple[str, int], Candidate] = {} if kept is None else kept.read()

    @torch.no_grad()
    def make(self, layer: LayerInfo, bits: int, /) -> Candidate:
        """A layer at a bit-width (2 to 8); made once and kept."""
        key = layer.name, bits
        if key not in self._made:
            weight, moments = weight_slice(self._model, layer).clone(), self._seen.moments
            rounded = round_weight(
                weight, moments[layer.name], bits, self._scheme, rounding=self._rounding
            )
            made = Candidate(rounded, self._state(layer, weight, rounded))
            if self._kept is not None:
                self._kept.append(key, made)
            self._made[key] = made
        return self._made[key]

    def is_made(self, layer: LayerInfo, bits: int, /) -> bool:
        """Whether a candidate need not be made any more."""
        return (layer.name, bits) in self._made

    @cached_property
    def _seen(self) -> _Seen:
        """What the images show; they are run when the first candidate is made."""
        batches = list(self._inputs)
        return _Seen(
            collect_moments(self._model, self._layers.layers, batches),
            following_norms(self._model, self._layers.layers, batches[0][:1]),
        )

    def _state(
        self, layer: LayerInfo, weight: Tensor, rounded: QuantizedWeight
    ) -> dict[str, Tensor]:
        """Matched statistics where a normalization follows; else the bias that keeps the mean."""
        moments, name = self._seen.moments[layer.name], bias_name(self._model, layer)
        bias = None if name is None else state_views(self._model, [name])[name]
        norm = self._seen.norms.get(layer.name)
        if norm is not None:
            before = output_statistics(weight, moments, bias=bias)
            after = output_statistics(rounded, moments, bias=bias)
            return norm_buffers(self._model, norm, before, after)
        if name is None or bias is None:
            return {}
        return {name: bias + bias_correction(weight, rounded, moments).to(bias)}


def round_weight(
    weight: Tensor,
    moments: InputMoments,
    bits: int,
    scheme: QuantizationScheme,
    /,
    *,
    rounding: Rounding,
) -> QuantizedWeight:
    """A weight as integers; the scales are the scheme's, whatever the rounding.

    Args:
        weight: Shape (out_channels, ...).
        moments: Of the inputs of its layer.
        bits: 2 to 8.
        scheme: Granularity and range rule.
        rounding: As of ``Candidates``.
    """
    scales = search_scales(weight, bits, scheme)
    if rounding == NEAREST:
        return round_to_levels(weight, scales, bits)
    start = gptq(weight, moments, scales, bits)
    return descend(weight, start, moments) if rounding == GPTQ else adaround(weight, start, moments)

"""The losses to measure, as a list of work units in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from clado_core.records.layers import LayerTable

Unit: TypeAlias = tuple[int, ...]
"""Candidates quantized together, ascending; candidate a = layer·M + position in the menu."""


def single_plan(n_layers: int, n_bits: int, /) -> tuple[Unit, ...]:
    """The reference and each candidate alone: 1 + M·I losses."""
    return ((), *((a,) for a in range(n_layers * n_bits)))


def pairwise_plan(n_layers: int, n_bits: int, /) -> tuple[Unit, ...]:
    """Every loss the pairwise estimator needs: the reference, each candidate, each pair.

    Counts 1 + M·I + M²·I(I−1)/2. Pairs are ordered by their first candidate, then the second.

    Args:
        n_layers: I.
        n_bits: M, size of the menu.
    """
    return (*single_plan(n_layers, n_bits), *_pairs(n_layers * n_bits, n_bits))


def block_plan(layers: LayerTable, n_bits: int, /) -> tuple[Unit, ...]:
    """As ``pairwise_plan``, but only pairs of layers that stand in one block."""
    block = [layer.block or layer.name for layer in layers.layers]
    pairs = _pairs(len(layers) * n_bits, n_bits)
    inside = (u for u in pairs if block[u[0] // n_bits] == block[u[1] // n_bits])
    return (*single_plan(len(layers), n_bits), *inside)


def forward_count(n_layers: int, n_bits: int, /) -> int:
    """1 + M·I + M²·I(I−1)/2, without making the plan."""
    return 1 + n_bits * n_layers + n_bits**2 * n_layers * (n_layers - 1) // 2


def _pairs(n: int, n_bits: int) -> Iterator[Unit]:
    for a in range(n):
        next_layer = (a // n_bits + 1) * n_bits
        for b in range(next_layer, n):
            yield (a, b)

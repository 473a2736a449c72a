"""The losses to measure, as a list of work units in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

Unit: TypeAlias = tuple[int, ...]
"""Candidates quantized together, ascending; candidate a = layer·M + position in the menu."""


def pairwise_plan(n_layers: int, n_bits: int, /) -> tuple[Unit, ...]:
    """Every loss the pairwise estimator needs: the reference, each candidate, each pair.

    Counts 1 + M·I + M²·I(I−1)/2. Pairs are ordered by their first candidate, then the second, so
    that the first stays in place over a run of units.

    Args:
        n_layers: I.
        n_bits: M, size of the menu.
    """
    n = n_layers * n_bits
    return ((), *((a,) for a in range(n)), *_pairs(n, n_bits))


def forward_count(n_layers: int, n_bits: int, /) -> int:
    """1 + M·I + M²·I(I−1)/2, without making the plan."""
    return 1 + n_bits * n_layers + n_bits**2 * n_layers * (n_layers - 1) // 2


def _pairs(n: int, n_bits: int) -> Iterator[Unit]:
    for a in range(n):
        next_layer = (a // n_bits + 1) * n_bits
        for b in range(next_layer, n):
            yield (a, b)

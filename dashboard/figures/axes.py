"""A signed logarithmic axis: losses span decades and, with noise, fall below zero."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dashboard.theme import number

DECADES = 3.0
"""Decades below the largest magnitude that are drawn logarithmically; the rest is linear."""


@dataclass(frozen=True, slots=True)
class SignedLog:
    """y ↦ asinh(y/unit)/ln 10, about log10(2y/unit) far from zero and linear near it.

    Args:
        unit: Where linear turns into logarithmic; positive.
        largest: Largest magnitude on the axis.
    """

    unit: float
    largest: float

    def of(self, values: npt.ArrayLike, /) -> npt.NDArray[np.float64]:
        """Transformed values, same shape."""
        return np.arcsinh(np.asarray(values, dtype=np.float64) / self.unit) / math.log(10)

    def ticks(self, lowest: float, highest: float, /) -> tuple[list[float], list[str]]:
        """Positions and labels at zero and at powers of ten within [lowest, highest]."""
        first = math.ceil(math.log10(self.unit))
        last = math.floor(math.log10(max(self.largest, self.unit)) + 1e-9)
        powers = [10.0**k for k in range(first, last + 1)]
        values = [v for v in (*(-p for p in reversed(powers)), 0.0, *powers)]
        kept = [v for v in values if lowest <= v <= highest]
        return [float(v) for v in self.of(kept)], [_label(v) for v in kept]


def signed_log(values: Iterable[float] | Sequence[float], /) -> SignedLog:
    """The axis for these values."""
    finite = [abs(v) for v in values if math.isfinite(v)]
    largest = max(finite, default=1.0) or 1.0
    return SignedLog(unit=largest / 10**DECADES, largest=largest)


def _label(value: float) -> str:
    if value == 0:
        return "0"
    return number(value, 1) if abs(value) < 1e5 else f"10^{round(math.log10(abs(value)))}"

"""Average bits, file size and compression: three ways to read the same budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from clado_core import Assignment, SensitivityMatrix
from clado_core.solution import fixed_bytes
from dashboard.theme import MEGABYTE

FLOAT_BITS = 32


class Metric(Enum):
    """What the budget is read in; the value is the label of the control."""

    AVG_BITS = "Avg bits"
    MEGABYTES = "MB"
    COMPRESSION = "× smaller"


AXIS_TITLES = {
    Metric.AVG_BITS: "Average bits per searched weight",
    Metric.MEGABYTES: "File size (MB, 10⁶ bytes)",
    Metric.COMPRESSION: "Times smaller than float32 (whole file)",
}


@dataclass(frozen=True, slots=True)
class SizeScale:
    """Converts average bits per searched weight to the metrics of one network.

    Args:
        total_weights: Searched weights.
        constant_bytes: Scales, biases and everything else that no bit-width changes.
        float_bytes: The file with every weight as float32 and no scales.
        metric: What ``of`` converts to.
    """

    total_weights: int
    constant_bytes: int
    float_bytes: int
    metric: Metric

    def of(self, avg_bits: float, /) -> float:
        """The metric at an average bit-width (packing rounds each layer up by under a byte)."""
        size_bytes = self.total_weights * avg_bits / 8 + self.constant_bytes
        if self.metric is Metric.AVG_BITS:
            return avg_bits
        return self.of_bytes(size_bytes)

    def of_assignment(self, assignment: Assignment, /) -> float:
        """The metric of an assignment, exact."""
        if self.metric is Metric.AVG_BITS:
            return assignment.avg_bits
        return self.of_bytes(assignment.size_bytes)

    def of_bytes(self, size_bytes: float, /) -> float:
        """MB or compression of a file size."""
        if self.metric is Metric.COMPRESSION:
            return self.float_bytes / size_bytes
        return size_bytes / MEGABYTE

    @property
    def axis_title(self) -> str:
        """Axis title with its unit."""
        return AXIS_TITLES[self.metric]


def size_scale(matrix: SensitivityMatrix, metric: Metric, /) -> SizeScale:
    """The scale of one network."""
    layers = matrix.layers
    return SizeScale(
        total_weights=layers.total_weights,
        constant_bytes=fixed_bytes(layers, matrix.scheme),
        float_bytes=layers.total_weights * FLOAT_BITS // 8 + layers.other_bytes,
        metric=metric,
    )


def budget_bits(matrix: SensitivityMatrix, avg_bits: float, /) -> int:
    """The budget in bits for an average; whole averages lose nothing to rounding."""
    return math.floor(matrix.layers.total_weights * avg_bits + 1e-6)


def round_up(avg_bits: float, /) -> float:
    """Four decimals, upwards, so that the assignment with this average still fits."""
    return math.ceil(avg_bits * 1e4 - 1e-9) / 1e4

"""Average bits, file size, compression, bit operations: ways to read the same budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from clado_core import Assignment, SensitivityMatrix, bits_for_average
from dashboard.theme import MEGABYTE

GIGA = 10**9


class Metric(Enum):
    """What the budget is read in; the value is the label of the control."""

    AVG_BITS = "Avg bits"
    MEGABYTES = "MB"
    COMPRESSION = "× smaller"
    BOPS = "BOPs"


AXIS_TITLES = {
    Metric.AVG_BITS: "Average bits per searched weight",
    Metric.MEGABYTES: "File size (MB, 10⁶ bytes)",
    Metric.COMPRESSION: "Times smaller than float32 (whole file)",
    Metric.BOPS: "Bit operations per sample (10⁹)",
}


@dataclass(frozen=True, slots=True)
class SizeScale:
    """Converts average bits per searched weight to the metrics of one network.

    Args:
        float_bytes: The file with every weight as float32 and no scales.
        bit_widths: The menu.
        metric: What sizes are converted to.
    """

    float_bytes: int
    bit_widths: tuple[int, ...]
    metric: Metric

    def of_assignment(self, assignment: Assignment, /) -> float:
        """The metric of an assignment, exact."""
        if self.metric is Metric.AVG_BITS:
            return assignment.avg_bits
        if self.metric is Metric.BOPS:
            return assignment.bops / GIGA
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
    return SizeScale(
        float_bytes=matrix.layers.float_bytes,
        bit_widths=matrix.bit_widths,
        metric=metric,
    )


def metrics_of(matrix: SensitivityMatrix, /) -> tuple[Metric, ...]:
    """The metrics a network can be read in: BOPs need the multiply-accumulates of every layer."""
    known = bool(matrix.layers.macs.all())
    return tuple(m for m in Metric if known or m is not Metric.BOPS)


def budget_bits(matrix: SensitivityMatrix, avg_bits: float, /) -> int:
    """The budget in bits for an average, as the command line counts it."""
    return bits_for_average(avg_bits, matrix.layers)


def round_up(avg_bits: float, /) -> float:
    """Four decimals, upwards, so that the assignment with this average still fits."""
    return math.ceil(avg_bits * 1e4 - 1e-9) / 1e4

"""Measure the cross-layer sensitivity matrix of a network."""

from clado_core.sensitivity.run import measure as measure
from clado_core.sensitivity.run import seconds_per_forward as seconds_per_forward
from clado_core.sensitivity.settings import MeasurementSettings as MeasurementSettings

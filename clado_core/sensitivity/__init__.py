"""Measure the cross-layer sensitivity matrix of a network."""

from clado_core.sensitivity.forecast import Forecast as Forecast
from clado_core.sensitivity.forecast import forecast as forecast
from clado_core.sensitivity.measure import measure as measure
from clado_core.sensitivity.ray_engine import RayEngine as RayEngine
from clado_core.sensitivity.settings import MeasurementSettings as MeasurementSettings
from clado_core.sensitivity.stored import class_count as class_count
from clado_core.sensitivity.stored import layers_of as layers_of
from clado_core.sensitivity.stored import measure_into as measure_into
from clado_core.sensitivity.stored import measured_before as measured_before

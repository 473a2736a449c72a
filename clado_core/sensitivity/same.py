"""What makes two measurements the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clado_core.data.sources import Samples
from clado_core.records.calibration import Calibration
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import NEAREST
from clado_core.records.scheme import BitWidths, QuantizationScheme, bits_to_json
from clado_core.sensitivity.settings import MeasurementSettings


def description(matrix: SensitivityMatrix, /) -> dict[str, Any]:
    """How a matrix was measured, as far as it says; plain values by name."""
    about = matrix.provenance
    values = _described(
        *(matrix.layers, matrix.bit_widths, matrix.scheme, matrix.diagonals),
        estimator=about.estimator,
        loss=about.loss,
        n_samples=about.n_samples,
        seed=about.seed,
        split=about.split,
        data_sha256=about.data_sha256,
        **_calibrated(about.calibration),
    )
    return {name: value for name, value in values.items() if value is not None}


def asked_for(
    layers: LayerTable,
    samples: Samples,
    settings: MeasurementSettings,
    seed: int,
    calibration: Calibration | None,
    /,
) -> dict[str, Any]:
    """The same of a measurement that is asked for."""
    return _described(
        *(layers, settings.bit_widths, settings.scheme, settings.baselines),
        estimator=settings.estimator,
        loss=settings.loss,
        n_samples=len(samples),
        seed=seed,
        split=samples.split,
        data_sha256=samples.digest,
        **_calibrated(calibration),
    )


def _calibrated(calibration: Calibration | None) -> dict[str, Any]:
    return {"rounding": NEAREST} if calibration is None else calibration.to_json()


def _described(
    layers: LayerTable,
    bit_widths: BitWidths,
    scheme: QuantizationScheme,
    baselines: Iterable[str],
    **about: Any,
) -> dict[str, Any]:
    return {
        **about,
        "bit_widths": [bits_to_json(b) for b in bit_widths],
        "granularity": scheme.granularity,
        "range_rule": scheme.range_rule,
        "act_bits": scheme.act_bits or "none",
        "layers": list(layers.names),
        "baselines": sorted(baselines),
    }

"""What makes two measurements the same, and where they differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from clado_core.data.sources import Samples
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.scheme import BitWidths, QuantizationScheme, bits_to_json
from clado_core.sensitivity.settings import MeasurementSettings

LONGEST = 40


def difference(
    found: Mapping[str, Any], wanted: Mapping[str, Any], /
) -> tuple[str, str, str] | None:
    """Where two descriptions of a measurement differ: a name and both values, for people.

    Args:
        found: What was measured, plain values by name.
        wanted: What is asked for.

    Returns:
        Of several the first in the order of what is wanted, digests last, as they differ wherever
        anything else does; None where they agree.
    """
    for name in sorted(dict.fromkeys([*wanted, *found]), key=lambda name: "sha256" in name):
        if found.get(name) != wanted.get(name):
            return name, _short(found.get(name)), _short(wanted.get(name))
    return None


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
    )
    return {name: value for name, value in values.items() if value is not None}


def asked_for(
    layers: LayerTable, samples: Samples, settings: MeasurementSettings, seed: int, /
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
    )


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


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."

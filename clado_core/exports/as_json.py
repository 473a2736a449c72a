"""The neutral configuration file, schema ``clado-mpq/1``."""

from __future__ import annotations

import json
from typing import Any

from clado_core._version import __version__
from clado_core.exports.capability import Capability
from clado_core.exports.configuration import Configuration
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob
from clado_core.files.assignment_file import DIGEST, configuration_digest
from clado_core.records.float_parts import parts_to_json
from clado_core.records.scheme import QuantizationScheme, bits_to_json
from clado_core.records.sizes import container_bytes

SCHEMA = "clado-mpq/1"


def render(job: ExportJob, report: Capability, /) -> bytes:
    """The whole configuration as indented JSON, in a fixed key order."""
    return (json.dumps(document(job.configuration), indent=2) + "\n").encode()


def document(configuration: Configuration, /) -> dict[str, Any]:
    """The same as plain values; sizes in bytes, losses as predicted increases.

    Its last key is a digest of the others, so that a changed file is noticed when it is read.
    """
    values = _values(configuration)
    return {**values, DIGEST: configuration_digest(values)}


def _values(configuration: Configuration) -> dict[str, Any]:
    matrix, bits = configuration.matrix, configuration.assignment.bits
    origin = matrix.provenance
    return {
        "schema": SCHEMA,
        "model": {
            "name": matrix.name,
            "source": origin.model,
            "state_dict_sha256": origin.weights_sha256,
        },
        "quantizer": _quantizer(matrix.scheme),
        "layers": configuration.layer_rows(),
        "unquantized_bytes": matrix.layers.other_bytes,
        "unquantized": parts_to_json(
            matrix.layers.float_parts, configuration.assignment.size_bytes
        ),
        "rules": dict(configuration.rules),
        "header_bytes": container_bytes(matrix.layers),
        "totals": _totals(configuration),
        "prediction": {
            "predicted_loss_increase": matrix.predicted_loss_increase(bits),
            "diagonal_only": matrix.diagonal_only().predicted_loss_increase(bits),
        },
        "solver": _solver_facts(configuration),
        "sensitivity": {
            "sha256": configuration.artifact_sha256 or None,
            "bits": [bits_to_json(b) for b in matrix.bit_widths],
            **origin.to_json(),
        },
        "tool": {"name": "clado-explorer", "version": __version__},
    }


def _quantizer(scheme: QuantizationScheme) -> dict[str, Any]:
    return {
        "scheme": "symmetric",
        "granularity": scheme.granularity,
        "axis": 0 if scheme.granularity == "per-channel" else None,
        "rounding": "nearest_even",
        "range": scheme.range_rule,
        "narrow_range": False,
        "activation_bits": scheme.act_bits,
    }


def _totals(configuration: Configuration) -> dict[str, Any]:
    assignment = configuration.assignment
    return {
        "bytes": assignment.size_bytes,
        "size_bits": assignment.size_bits,
        "avg_weight_bits": assignment.avg_bits,
        "bops": assignment.bops,
        "fp32_bytes": assignment.layers.float_bytes,
        "budgets": dict(configuration.budgets),
    }


def _solver_facts(configuration: Configuration) -> dict[str, Any] | None:
    solution = configuration.solution
    if solution is None:
        return None
    found = solution.to_json()
    keys = ("method", "solver", "status", "objective", "bound", "gap", "runtime_s")
    return {key: found[key] for key in keys}


FORMAT = Format(
    name="json",
    suffix=".json",
    mime="application/json",
    keeps="Bits per layer with sizes, budget, prediction, solver status and provenance "
    "(schema clado-mpq/1); this program reads it back.",
    render=render,
    checked_with=("clado_core",),
)

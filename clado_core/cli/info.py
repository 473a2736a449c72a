"""Show what an artifact holds: provenance, shapes, and checks of the numbers.

Example:
  python -m clado_core info assets/digits-resnet.clado
"""

from __future__ import annotations

import argparse
from typing import Any

from clado_core.cli.network_text import (
    classes_text,
    float_facts,
    float_lines,
    labels_text,
    sizes_at,
)
from clado_core.files.artifact import artifact_digest, load
from clado_core.records.coverage import coverage
from clado_core.records.diagnostics import diagnose
from clado_core.records.label_check import LabelCheck
from clado_core.records.provenance import OPTIONAL
from clado_core.records.scheme import bits_to_json

NOT_RECORDED = "not recorded"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("artifact", metavar="ARTIFACT", help="a .clado file")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Load (which checks the file whole) and describe."""
    matrix = load(arguments.artifact)
    return {
        "name": matrix.name,
        "sha256": artifact_digest(arguments.artifact),
        "n_layers": matrix.n_layers,
        "bits": [bits_to_json(b) for b in matrix.bit_widths],
        "n_weights": matrix.layers.total_weights,
        "base_loss": matrix.base_loss,
        "quantizer": {
            "granularity": matrix.scheme.granularity,
            "range_rule": matrix.scheme.range_rule,
            "act_bits": matrix.scheme.act_bits,
        },
        "provenance": matrix.provenance.to_json(),
        "coverage": coverage(matrix).to_json(),
        "baselines": sorted(matrix.diagonals),
        "checks": diagnose(matrix).to_json(),
        "warnings": list(matrix.provenance.labels.warnings) if matrix.provenance.labels else [],
        **float_facts(matrix.layers),
        "sizes": sizes_at(matrix.layers, matrix.bit_widths, matrix.scheme),
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "shape": list(layer.shape),
                "n_weights": layer.n_weights,
                "macs": layer.macs,
                "block": layer.block,
            }
            for layer in matrix.layers.layers
        ],
    }


def show(result: dict[str, Any]) -> str:
    """A short report and one line per layer."""
    checks, about = result["checks"], result["provenance"]
    along = ", ".join(result["baselines"])
    facts = {
        "sha256": result["sha256"],
        "base loss": result["base_loss"],
        "quantizer": f"{result['quantizer']['granularity']}, {result['quantizer']['range_rule']}",
        **{k: v for k, v in about.items() if v is not None and k not in OPTIONAL},
        "versions": ", ".join(f"{k} {v}" for k, v in about["versions"].items()),
        "classes": _classes(about),
        "float network": _labels(about),
        "measured": result["coverage"]["sentence"],
        **({"baselines": f"{along}, estimates from derivatives"} if along else {}),
        "eigenvalues": f"{checks['smallest_eigenvalue']:.4g} to "
        f"{checks['largest_eigenvalue']:.4g}, {checks['negative_eigenvalues']} negative",
        "cross terms": f"{checks['cross_layer_share']:.1%} of the absolute sum of G",
    }
    lines = [
        f"{result['name']}: {result['n_layers']} layers × {result['bits']} bits, "
        f"{result['n_weights']:,} searched weights",
        *(f"  {key:<15} {value}" for key, value in facts.items()),
    ]
    lines += [
        f"  non-monotone: {name} is worse at {high} bits than at {low}"
        for name, low, high in checks["non_monotone"]
    ]
    lines += [f"  {sentence}" for sentence in result["warnings"]]
    lines += [
        f"  {layer['name']:<40} {layer['kind']:<10} {'×'.join(map(str, layer['shape'])):<16}"
        f"{layer['n_weights']:>12,} weights"
        for layer in result["layers"]
    ]
    lines += float_lines(result, min(result["sizes"], key=lambda size: size["bytes"]))
    return "\n".join(lines)


def _classes(about: dict[str, Any]) -> str:
    names = about.get("classes")
    return NOT_RECORDED if names is None else f"{len(names):,}, {classes_text(names)}"


def _labels(about: dict[str, Any]) -> str:
    labels = about.get("labels")
    return NOT_RECORDED if labels is None else labels_text(LabelCheck.from_json(labels))

"""List the built-in networks and the measured artifacts.

Example:
  python -m clado_core models
  python -m clado_core models --artifacts my-artifacts
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clado_core.errors import ArtifactError, InputError
from clado_core.files.artifact import SUFFIX, load
from clado_core.networks.builtin import ASSETS, BUILTIN_NETWORKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``models``."""
    parser.add_argument(
        "--artifacts", type=Path, default=ASSETS, help="folder to look in (default: assets)"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Collect both lists; a damaged artifact is listed with what is wrong with it."""
    if not arguments.artifacts.is_dir():
        raise InputError(f"There is no folder {arguments.artifacts} to look for artifacts in.")
    models = [
        {
            "name": network.name,
            "title": network.title,
            "data": network.data,
            "weights": (ASSETS / f"{network.name}.safetensors").is_file(),
        }
        for network in BUILTIN_NETWORKS.values()
    ]
    artifacts = [_describe(path) for path in sorted(arguments.artifacts.glob(f"*{SUFFIX}"))]
    return {"models": models, "artifacts": artifacts}


def show(result: dict[str, Any]) -> str:
    """Both lists as text."""
    lines = ["Built-in networks"]
    width = max(len(model["name"]) for model in result["models"])
    for model in result["models"]:
        missing = "" if model["weights"] else "  (weights missing: train it first)"
        lines.append(f"  {model['name']:<{width}} {model['title']}{missing}")
    lines.append("Also: torchvision:NAME, path/to/file.py:factory")
    lines.append("Artifacts")
    for artifact in result["artifacts"]:
        if "problem" in artifact:
            lines.append(f"  {artifact['path']}: {artifact['problem']}")
        else:
            bits = ",".join(map(str, artifact["bit_widths"]))
            lines.append(f"  {artifact['path']}: {artifact['n_layers']} layers at {bits} bits")
    if not result["artifacts"]:
        lines.append("  none yet: python -m clado_core measure digits-resnet --out NAME.clado")
    return "\n".join(lines)


def _describe(path: Path) -> dict[str, Any]:
    try:
        matrix = load(path)
    except ArtifactError as problem:
        return {"path": str(path), "problem": str(problem)}
    return {
        "path": str(path),
        "name": matrix.name,
        "model": matrix.provenance.model,
        "estimator": matrix.provenance.estimator,
        "n_layers": matrix.n_layers,
        "n_weights": matrix.layers.total_weights,
        "bit_widths": list(matrix.bit_widths),
    }

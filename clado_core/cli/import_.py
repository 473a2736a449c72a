"""Make an artifact from a sensitivity matrix that was measured elsewhere.

The .npz holds G (n×n float64, layer-major, bit-minor, x'Gx = 2 × loss increase), layer_names (L),
n_weights (L), bits (B) and, if known, base_loss.

Example:
  python -m clado_core import matrix.npz --out resnet20.clado
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clado_core.files.artifact import save_matrix
from clado_core.files.npz_import import matrix_from_npz


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("matrix", metavar="MATRIX.npz", help="arrays measured elsewhere")
    parser.add_argument("--out", required=True, metavar="FILE", help="artifact to write (.clado)")
    parser.add_argument("--name", help="short name of the network (default: the file's)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read, check, store."""
    source = Path(arguments.matrix)
    matrix = matrix_from_npz(source, name=arguments.name or source.stem)
    digest = save_matrix(matrix, arguments.out)
    return {
        "artifact": str(arguments.out),
        "sha256": digest,
        "name": matrix.name,
        "layers": matrix.n_layers,
        "bits": list(matrix.bit_widths),
        "n_weights": matrix.layers.total_weights,
    }


def show(result: dict[str, Any]) -> str:
    """One line."""
    return (
        f"{result['artifact']}: {result['layers']} layers × {result['bits']} bits, "
        f"{result['n_weights']:,} weights."
    )

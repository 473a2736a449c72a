"""Prepare an artifact for fast proofs: a convexification per budget region, kept beside it.

Takes seconds for tens of layers and minutes for hundreds; a stopped run continues, and what is
there already is used. Solving works without it too, but every proof then starts with this work.

Example:
  python -m clado_core certify my.clado
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from clado_core.allocation.stored import load_shifts, save_shifts, shifts_path
from clado_core.cli.progress import ProgressLine
from clado_core.files.artifact import load
from clado_core.solvers.shifts import DEFAULT_SIZES, ConvexifyingShifts, compute_shifts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("artifact", metavar="ARTIFACT", help="a .clado file")
    parser.add_argument(
        "--sizes",
        type=int,
        default=DEFAULT_SIZES,
        metavar="N",
        help=f"sizes to convexify at (default: {DEFAULT_SIZES}); between them it is interpolated",
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Continue or make the certificate; every solved size is stored at once."""
    matrix = load(arguments.artifact)
    start = time.perf_counter()
    with ProgressLine(f"Certificate of {matrix.name}", "sizes") as line:

        def keep(shifts: ConvexifyingShifts, total: int) -> None:
            save_shifts(shifts, arguments.artifact)
            line.update(min(len(shifts.sizes_bits), total), total)

        shifts = compute_shifts(
            matrix,
            n_sizes=arguments.sizes,
            known=load_shifts(arguments.artifact),
            on_progress=keep,
        )
    return {
        "certificate": str(shifts_path(arguments.artifact)),
        "sizes_bits": shifts.sizes_bits.tolist(),
        "runtime_s": time.perf_counter() - start,
    }


def show(result: dict[str, Any]) -> str:
    """One line."""
    return (
        f"{result['certificate']}: convexified at {len(result['sizes_bits'])} sizes "
        f"({result['runtime_s']:.1f} s)."
    )

"""What was measured for some choices, from files beside the artifact.

``NAME.evidence.json`` is what ``python -m clado_core evidence`` writes; it counts only where it
names this artifact's digest. ``NAME.measured.json`` is anybody's: ``{"points": [...]}``, each with
the layer → bits mapping ``assignment`` and what ``python -m clado_core evaluate --json`` prints:
``top1``, ``ci95``, ``n``, ``loss``, ``float_loss``, ``float_top1``; optionally ``method``.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from clado_core import AllocationProblem, Assignment, SensitivityMatrix
from clado_core.errors import CladoError
from clado_core.records.assignment import assignment_from_mapping
from dashboard.known import caches
from dashboard.known.catalogue import Artifact

EVIDENCE, EVIDENCE_SCHEMA = ".evidence.json", "clado-evidence"
SUFFIX = ".measured.json"
CLADO = "clado"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measured:
    """One choice that was run.

    Args:
        assignment: The bit-widths.
        top1: Share of samples classified correctly.
        ci95: Its 95 % interval.
        n: Samples.
        loss_increase: Measured loss less that of the float network, or NaN.
        sensitivity_loss: Measured loss on the sensitivity set, or NaN.
        float_top1: As ``top1``, of the float network.
        method: Who chose the bit-widths: "clado", "diagonal", ..., or "" where nobody says.
    """

    assignment: Assignment
    top1: float
    ci95: tuple[float, float]
    n: int
    loss_increase: float
    sensitivity_loss: float
    float_top1: float
    method: str

    @property
    def ours(self) -> bool:
        """Whether the measured matrix chose it, as far as is said."""
        return self.method in (CLADO, "")


def measured(artifact: Artifact, /) -> tuple[Measured, ...]:
    """What was measured for a network, in order of size; empty where nothing was."""
    found: list[Measured] = []
    for suffix in (EVIDENCE, SUFFIX):
        file = Path(artifact.path).with_suffix(suffix)
        if file.is_file():
            found += _read(artifact, suffix, file.stat().st_mtime_ns)
    return tuple(sorted(found, key=lambda run: run.assignment.size_bits))


@st.cache_resource(max_entries=64, show_spinner=False)
def _read(artifact: Artifact, suffix: str, mtime_ns: int) -> tuple[Measured, ...]:
    matrix = caches.matrix(artifact)
    file = Path(artifact.path).with_suffix(suffix)
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if suffix == EVIDENCE:
            return _evidence(matrix, artifact.digest, values)
        return tuple(_point(matrix, point) for point in values["points"])
    except (CladoError, OSError, ValueError, TypeError, KeyError) as problem:
        _log.warning("%s is ignored: %s", file.name, problem)
        return ()


def _evidence(
    matrix: SensitivityMatrix, digest: str, values: dict[str, Any]
) -> tuple[Measured, ...]:
    if values["schema"] != EVIDENCE_SCHEMA or values["digests"]["matrix"] != digest:
        raise ValueError("it belongs to another measurement")
    problem, shared = AllocationProblem(matrix), {k: values[k] for k in SHARED}
    return tuple(
        _measured(
            problem.assignment(tuple(map(int, outcome["choice"]["bits"]))),
            outcome | shared | {"method": outcome["choice"]["method"]},
        )
        for outcome in values["outcomes"]
    )


SHARED = ("n", "float_top1", "float_loss")
"""What evidence says once for all its outcomes."""


def _point(matrix: SensitivityMatrix, values: dict[str, Any]) -> Measured:
    chosen = assignment_from_mapping(matrix.layers, matrix.scheme, values["assignment"])
    return _measured(chosen, values)


def _measured(assignment: Assignment, values: dict[str, Any]) -> Measured:
    low, high = values["ci95"]
    top1 = float(values["top1"])
    if not 0 <= top1 <= 1:
        raise ValueError(f"top1 is {top1}, not a share")
    return Measured(
        assignment=assignment,
        top1=top1,
        ci95=(float(low), float(high)),
        n=int(values["n"]),
        loss_increase=float(values.get("loss", math.nan))
        - float(values.get("float_loss", math.nan)),
        sensitivity_loss=float(values.get("sensitivity_loss", math.nan)),
        float_top1=float(values["float_top1"]),
        method=str(values.get("method", "")),
    )

"""Accuracies that were measured for some choices: ``NAME.measured.json`` beside the artifact.

The file is ``{"points": [...]}``, each point with the layer → bits mapping ``assignment`` and what
``python -m clado_core evaluate --json`` prints: ``top1``, ``ci95``, ``n``, ``loss``,
``float_loss``, ``float_top1``.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from clado_core import Assignment, SensitivityMatrix
from clado_core.errors import CladoError
from clado_core.solution import assignment_from_mapping
from dashboard import artifacts
from dashboard.artifacts import Artifact

SUFFIX = ".measured.json"

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
        float_top1: As ``top1``, of the float network.
        method: Who chose the bit-widths, or "".
    """

    assignment: Assignment
    top1: float
    ci95: tuple[float, float]
    n: int
    loss_increase: float
    float_top1: float
    method: str


@st.cache_resource(max_entries=64, show_spinner=False)
def _read(path: str, digest: str, mtime_ns: int) -> tuple[Measured, ...]:
    matrix = artifacts.matrix(Artifact("", path, digest))
    file = Path(path).with_suffix(SUFFIX)
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return tuple(_point(matrix, point) for point in values["points"])
    except (CladoError, OSError, ValueError, TypeError, KeyError) as problem:
        _log.warning("%s is ignored: %s", file.name, problem)
        return ()


def measured(artifact: Artifact, /) -> tuple[Measured, ...]:
    """What was measured for a network, in order of size; empty where nothing was."""
    file = Path(artifact.path).with_suffix(SUFFIX)
    if not file.is_file():
        return ()
    return _read(artifact.path, artifact.digest, file.stat().st_mtime_ns)


def _point(matrix: SensitivityMatrix, values: dict[str, Any]) -> Measured:
    low, high = values["ci95"]
    top1 = float(values["top1"])
    if not 0 <= top1 <= 1:
        raise ValueError(f"top1 is {top1}, not a share")
    loss = float(values.get("loss", math.nan)) - float(values.get("float_loss", math.nan))
    return Measured(
        assignment=assignment_from_mapping(matrix.layers, matrix.scheme, values["assignment"]),
        top1=top1,
        ci95=(float(low), float(high)),
        n=int(values["n"]),
        loss_increase=loss,
        float_top1=float(values["float_top1"]),
        method=str(values.get("method", "")),
    )

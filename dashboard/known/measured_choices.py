"""What was measured for some choices, from files beside the artifact.

- ``NAME.evidence.json`` is what ``python -m clado_core evidence`` writes; it counts only where it
  names this artifact's digest.
- ``NAME.outcomes.jsonl`` grows while ``python -m clado_core evaluate`` runs choices.
- ``NAME.measured.json`` is anybody's: ``{"points": [...]}``, each with the layer → bits mapping
  ``assignment`` and what ``evaluate --json`` prints: ``top1``, ``ci95``, ``n``, ``loss``,
  ``float_loss``, ``float_top1``; optionally ``measured_as``, ``method``, ``data`` and ``split``.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import streamlit as st

from clado_core import AllocationProblem, Assignment, SensitivityMatrix
from clado_core.errors import CladoError
from clado_core.files.outcomes import SUFFIX as OUTCOMES
from clado_core.files.outcomes import read_outcomes
from clado_core.records.assignment import assignment_from_mapping
from clado_core.records.measured_choice import MeasuredChoice
from clado_core.records.names import CLADO, MEASURED_AS, REPAIRED, ROUNDED, MeasuredAs
from clado_core.records.scheme import BitWidths
from dashboard.known import caches
from dashboard.known.catalogue import Artifact

EVIDENCE, EVIDENCE_SCHEMA = ".evidence.json", "clado-evidence"
SUFFIX = ".measured.json"
HELD_OUT = "held-out"

Version: TypeAlias = tuple[tuple[str, int], ...]
"""(suffix, time of the last change) of each file that is there."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Images:
    """What something was run on.

    Args:
        digest: Of inputs and labels, or "" where nobody says.
        split: Such as "held-out".
        data: Name of the data set, or "".
    """

    digest: str = ""
    split: str = HELD_OUT
    data: str = ""

    @property
    def key(self) -> str:
        """Equal for the same images."""
        return self.digest or f"{self.split} {self.data}"

    def counted(self, n: int, /) -> str:
        """In words: "539 held-out images of digits"."""
        return f"{n:,} {self.split} images{f' of {self.data}' if self.data else ''}"


@dataclass(frozen=True, slots=True)
class Measured:
    """One choice that was run.

    Args:
        assignment: The bit-widths.
        measured_as: "rounded" to nearest and nothing else, or "repaired".
        top1: Share of images classified correctly.
        ci95: Its 95 % interval.
        n: Images.
        loss_increase: Measured loss less that of the float network, or NaN.
        sensitivity_loss: Measured loss on the sensitivity set, or NaN.
        float_top1: As ``top1``, of the float network.
        method: Who chose the bit-widths: "clado", "diagonal", ..., or "" where nobody says.
        images: Which they are.
    """

    assignment: Assignment
    measured_as: MeasuredAs
    top1: float
    ci95: tuple[float, float]
    n: int
    loss_increase: float
    sensitivity_loss: float
    float_top1: float
    method: str
    images: Images

    @property
    def ours(self) -> bool:
        """Whether the measured matrix chose it, as far as is said."""
        return self.method in (CLADO, "")


def measured(artifact: Artifact, /) -> tuple[Measured, ...]:
    """What was measured for a network on one set of images, in order of size.

    Several sets are never mixed: held-out images come before others, and then the set on which
    most was run.
    """
    return _measured(artifact, version(artifact))


def measured_of(artifact: Artifact, bits: BitWidths, /) -> dict[MeasuredAs, Measured]:
    """What was measured of one choice, rounded and repaired, on the images of ``measured``."""
    return {run.measured_as: run for run in measured(artifact) if run.assignment.bits == bits}


def version(artifact: Artifact, /) -> Version:
    """Changes whenever something more was measured."""
    files = ((suffix, Path(artifact.path).with_suffix(suffix)) for suffix in READERS)
    return tuple((suffix, file.stat().st_mtime_ns) for suffix, file in files if file.is_file())


@st.cache_resource(max_entries=64, show_spinner=False)
def _measured(artifact: Artifact, at: Version) -> tuple[Measured, ...]:
    found = [run for suffix, mtime_ns in at for run in _read(artifact, suffix, mtime_ns)]
    counts = Counter(run.images.key for run in found)
    chosen = max(
        (run.images for run in found),
        key=lambda images: (images.split == HELD_OUT, counts[images.key]),
        default=Images(),
    )
    # Where a choice was run twice, the later one counts.
    distinct = {
        (run.assignment.bits, run.measured_as, run.method or CLADO): run
        for run in found
        if run.images.key == chosen.key
    }
    return tuple(sorted(distinct.values(), key=lambda run: run.assignment.size_bits))


@st.cache_resource(max_entries=64, show_spinner=False)
def _read(artifact: Artifact, suffix: str, mtime_ns: int) -> tuple[Measured, ...]:
    file = Path(artifact.path).with_suffix(suffix)
    try:
        return READERS[suffix](artifact, caches.matrix(artifact))
    except (CladoError, OSError, ValueError, TypeError, KeyError) as problem:
        _log.warning("%s is ignored: %s", file.name, problem)
        return ()


def _evidence(artifact: Artifact, matrix: SensitivityMatrix) -> tuple[Measured, ...]:
    values = _json(artifact, EVIDENCE)
    if values["schema"] != EVIDENCE_SCHEMA or values["digests"]["matrix"] != artifact.digest:
        raise ValueError("it belongs to another measurement")
    data = matrix.provenance.data or ""
    images = Images(str(values["digests"].get("data", "")), HELD_OUT, data)
    problem, shared = AllocationProblem(matrix), {k: values[k] for k in SHARED}
    found = []
    for outcome in values["outcomes"]:
        chosen = problem.assignment(tuple(map(int, outcome["choice"]["bits"])))
        of = shared | {"method": outcome["choice"]["method"]}
        found.append(_run(chosen, outcome | of, images))
        if repaired := outcome.get("repaired"):
            found.append(_run(chosen, repaired | of, images, REPAIRED))
    return tuple(found)


SHARED = ("n", "float_top1", "float_loss")
"""What evidence says once for all its outcomes."""


def _points(artifact: Artifact, matrix: SensitivityMatrix) -> tuple[Measured, ...]:
    return tuple(_point(matrix, point) for point in _json(artifact, SUFFIX)["points"])


def _point(matrix: SensitivityMatrix, values: Mapping[str, Any]) -> Measured:
    chosen = assignment_from_mapping(matrix.layers, matrix.scheme, values["assignment"])
    images = Images("", str(values.get("split", HELD_OUT)), str(values.get("data", "")))
    return _run(chosen, values, images, values.get("measured_as", ROUNDED))


def _run(
    assignment: Assignment,
    values: Mapping[str, Any],
    images: Images,
    measured_as: MeasuredAs = ROUNDED,
) -> Measured:
    low, high = values["ci95"]
    top1 = float(values["top1"])
    if not 0 <= top1 <= 1:
        raise ValueError(f"top1 is {top1}, not a share")
    if measured_as not in MEASURED_AS:
        raise ValueError(f"measured_as is {measured_as}, not one of {', '.join(MEASURED_AS)}")
    return Measured(
        assignment=assignment,
        measured_as=measured_as,
        top1=top1,
        ci95=(float(low), float(high)),
        n=int(values["n"]),
        loss_increase=float(values.get("loss", math.nan))
        - float(values.get("float_loss", math.nan)),
        sensitivity_loss=float(values.get("sensitivity_loss", math.nan)),
        float_top1=float(values["float_top1"]),
        method=str(values.get("method", "")),
        images=images,
    )


def _outcomes(artifact: Artifact, matrix: SensitivityMatrix) -> tuple[Measured, ...]:
    return tuple(_outcome(matrix, kept) for kept in read_outcomes(artifact.path, matrix))


def _outcome(matrix: SensitivityMatrix, kept: MeasuredChoice) -> Measured:
    return Measured(
        assignment=AllocationProblem(matrix).assignment(kept.bits),
        measured_as=kept.measured_as,
        top1=kept.outcomes.top1,
        ci95=kept.outcomes.ci95,
        n=len(kept.outcomes),
        loss_increase=kept.outcomes.loss - kept.reference.loss,
        sensitivity_loss=math.nan,
        float_top1=kept.reference.top1,
        method="",
        images=Images(kept.images.sha256, kept.images.split or "", kept.images.data),
    )


def _json(artifact: Artifact, suffix: str) -> dict[str, Any]:
    text = Path(artifact.path).with_suffix(suffix).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


READERS = {EVIDENCE: _evidence, SUFFIX: _points, OUTCOMES: _outcomes}
"""In the order in which they count: what was run last stands last."""

"""What is computed from an artifact and kept beside it: its convexifying shifts and its frontier.

``NAME.clado`` has ``NAME.certificate`` (the shifts that make proofs fast) and
``NAME.frontier.json`` (solved budgets). Both carry the artifact's digest: one that belongs to
another measurement is not used, since it can always be made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from clado_core.allocation.frontier import Frontier
from clado_core.errors import InputError
from clado_core.files.artifact import artifact_digest
from clado_core.files.atomic import write_atomically
from clado_core.records.matrix import SensitivityMatrix
from clado_core.solvers.shifts import ConvexifyingShifts

SHIFTS_SUFFIX = ".certificate"
FRONTIER_SUFFIX = ".frontier.json"
DIGEST = "artifact_sha256"
CHECKSUM = "points_sha256"
"""Objectives and statuses of a stored frontier are recomputed; its bounds cannot be without solving
again, so a file that is not as it was written proves nothing."""

logger = logging.getLogger(__name__)


def shifts_path(artifact: str | Path, /) -> Path:
    """Where an artifact's shifts are kept."""
    return Path(artifact).with_suffix(SHIFTS_SUFFIX)


def frontier_path(artifact: str | Path, /) -> Path:
    """Where an artifact's frontier is kept."""
    return Path(artifact).with_suffix(FRONTIER_SUFFIX)


def save_shifts(shifts: ConvexifyingShifts, artifact: str | Path, /) -> Path:
    """Write shifts beside their artifact, atomically; returns its path."""
    path = shifts_path(artifact)
    metadata = {DIGEST: artifact_digest(artifact)}
    write_atomically(path, save(dict(shifts.to_arrays()), metadata=metadata))
    return path


def load_shifts(artifact: str | Path, /) -> ConvexifyingShifts | None:
    """The shifts beside an artifact; None where there are none that belong to it."""
    path = shifts_path(artifact)
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            belongs = (file.metadata() or {}).get(DIGEST) == artifact_digest(artifact)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if belongs:
            return ConvexifyingShifts.from_arrays(arrays)
    except (OSError, SafetensorError, InputError) as problem:
        logger.warning("%s cannot be used (%s).", path, problem)
        return None
    logger.warning("%s belongs to another measurement and is not used.", path)
    return None


def _checksum(contents: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def save_frontier(frontier: Frontier, artifact: str | Path, path: str | Path | None = None) -> Path:
    """Write a frontier as JSON, atomically; beside its artifact where no path is given."""
    path = frontier_path(artifact) if path is None else Path(path)
    points = frontier.to_json()
    contents = {DIGEST: artifact_digest(artifact), CHECKSUM: _checksum(points), **points}
    write_atomically(path, (json.dumps(contents) + "\n").encode())
    return path


def load_frontier(artifact: str | Path, matrix: SensitivityMatrix, /) -> Frontier | None:
    """The frontier beside an artifact; None where there is none that belongs to it."""
    path = frontier_path(artifact)
    if not path.is_file():
        return None
    try:
        return read_frontier(path, artifact, matrix)
    except InputError as problem:
        logger.warning("%s", problem)
        return None


def read_frontier(path: str | Path, artifact: str | Path, matrix: SensitivityMatrix, /) -> Frontier:
    """The frontier in a file that ``save_frontier`` wrote.

    Args:
        path: The file.
        artifact: Where the matrix is stored.
        matrix: Its contents.

    Raises:
        InputError: It cannot be read, belongs to another measurement, or was changed.
    """
    try:
        contents = json.loads(Path(path).read_text(encoding="utf-8"))
        if contents.pop(DIGEST) != artifact_digest(artifact):
            raise InputError("it belongs to another measurement")
        if contents.pop(CHECKSUM, None) != _checksum(contents):
            raise InputError("it was changed since it was solved, so its bounds prove nothing")
        return Frontier.from_json(contents, matrix)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError) as problem:
        raise InputError(f"The frontier {path} cannot be used ({problem}).") from None

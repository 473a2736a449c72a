"""Measured choices kept beside an artifact: ``NAME.outcomes.jsonl`` belongs to ``NAME.clado``.

One JSON object a line (``MeasuredChoice.to_json``), with the digests of artifact and weights that
it was measured with and a CRC-32 over all of it. Lines of other artifacts or weights, and damaged
ones, are not used and do no harm.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clado_core.errors import CladoError
from clado_core.files.artifact import artifact_digest
from clado_core.files.json_lines import append_line, read_lines
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.measured_choice import MeasuredChoice

SUFFIX = ".outcomes.jsonl"
MATRIX, WEIGHTS, CHECKSUM = "matrix_sha256", "weights_sha256", "crc32"


def outcomes_path(artifact: str | Path, /) -> Path:
    """Where an artifact's measured choices are kept."""
    return Path(artifact).with_suffix(SUFFIX)


def keep_outcome(
    artifact: str | Path, matrix: SensitivityMatrix, measured: MeasuredChoice, /
) -> None:
    """Append a measured choice.

    Args:
        artifact: Where the matrix is stored.
        matrix: Its contents.
        measured: Of the network that it was measured on.

    Raises:
        InputError: The file cannot be written.
    """
    values = {
        **measured.to_json(),
        MATRIX: artifact_digest(artifact),
        WEIGHTS: matrix.provenance.weights_sha256,
    }
    append_line(outcomes_path(artifact), values | {CHECKSUM: _checksum(values)})


def read_outcomes(artifact: str | Path, matrix: SensitivityMatrix, /) -> tuple[MeasuredChoice, ...]:
    """What was measured with this artifact and its weights, in the order written.

    Of several lines for the same choice, repair and images the last counts.

    Args:
        artifact: Where the matrix is stored.
        matrix: Its contents.
    """
    digest, found = artifact_digest(artifact), {}
    for values in read_lines(outcomes_path(artifact)):
        whole = values.pop(CHECKSUM, None) == _checksum(values)
        weights = values.get(WEIGHTS) == matrix.provenance.weights_sha256
        if not whole or not weights or values.get(MATRIX) != digest:
            continue
        try:
            measured = MeasuredChoice.from_json(values)
            matrix.choice(measured.bits)
        except CladoError:
            continue
        found[measured.key] = measured
    return tuple(found.values())


def _checksum(values: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())

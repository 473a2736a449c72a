"""Plain CSV: one row per layer."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from clado_core.exports.capability import Capability
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob


def render(job: ExportJob, report: Capability, /) -> bytes:
    """One header row, then one row per layer in network order; shapes as ``64x3x3x3``."""
    rows = job.configuration.layer_rows()
    return csv_bytes([row | {"shape": "x".join(map(str, row["shape"]))} for row in rows])


def csv_bytes(rows: Sequence[Mapping[str, Any]], /) -> bytes:
    """A header row with the keys of the first, then one row each."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


FORMAT = Format(
    name="csv",
    suffix=".csv",
    mime="text/csv",
    keeps="One row per layer: name, type, shape, bits, bytes; no provenance.",
    render=render,
    checked_with=("clado_core",),
)

"""Plain CSV: one row per layer."""

from __future__ import annotations

import csv
import io

from clado_core.export.capability import Capability
from clado_core.export.format import Format
from clado_core.export.job import ExportJob


def render(job: ExportJob, report: Capability, /) -> bytes:
    """One header row, then one row per layer in network order; shapes as ``64x3x3x3``."""
    text = io.StringIO()
    rows = job.configuration.layer_rows()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row | {"shape": "x".join(map(str, row["shape"]))})
    return text.getvalue().encode()


FORMAT = Format(
    name="csv",
    suffix=".csv",
    mime="text/csv",
    keeps="One row per layer: name, type, shape, bits, bytes; no provenance.",
    render=render,
    checked_with=("clado_core",),
)

"""Plain CSV: one row per layer."""

from __future__ import annotations

import csv
import io

from clado_core.export.configuration import Configuration


def render(configuration: Configuration, /) -> bytes:
    """One header row, then one row per layer in network order; shapes as ``64x3x3x3``."""
    text = io.StringIO()
    rows = configuration.layer_rows()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row | {"shape": "x".join(map(str, row["shape"]))})
    return text.getvalue().encode()

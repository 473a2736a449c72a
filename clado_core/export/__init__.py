"""Write a chosen configuration for use elsewhere; one target per module.

A target has ``render(configuration) -> bytes`` and stands in ``FORMATS`` with what it keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clado_core.errors import InputError
from clado_core.export import as_csv, as_json
from clado_core.export.configuration import Configuration as Configuration
from clado_core.store import write_atomically


@dataclass(frozen=True, slots=True)
class Format:
    """One export target.

    Args:
        name: As given to ``export --format``.
        suffix: Of the file's name, with its dot.
        mime: Media type for a browser.
        keeps: What the file holds, one sentence for the capability list.
        render: Configuration → the file's bytes.
    """

    name: str
    suffix: str
    mime: str
    keeps: str
    render: Callable[[Configuration], bytes]


FORMATS = {
    format.name: format
    for format in (
        Format(
            "json",
            ".json",
            "application/json",
            "Bits per layer with sizes, budget, prediction, solver status and provenance "
            "(schema clado-mpq/1); this program reads it back.",
            as_json.render,
        ),
        Format(
            "csv",
            ".csv",
            "text/csv",
            "One row per layer: name, type, shape, bits, bytes; no provenance.",
            as_csv.render,
        ),
    )
}


def find_format(name: str, /) -> Format:
    """The target of that name; raises InputError that lists the targets."""
    try:
        return FORMATS[name]
    except KeyError:
        raise InputError(
            f"There is no export format '{name}'; choose one of {', '.join(FORMATS)}."
        ) from None


def file_name(configuration: Configuration, format: Format, /) -> str:
    """``{model}_{average bits}b_{first 8 of the artifact's digest}`` and the format's suffix."""
    model = "".join(c if c.isalnum() or c in "-_" else "-" for c in configuration.matrix.name)
    digest = f"_{configuration.artifact_sha256[:8]}" if configuration.artifact_sha256 else ""
    return f"{model}_{configuration.assignment.avg_bits:.2f}b{digest}{format.suffix}"


def write(configuration: Configuration, format: Format, path: str | Path, /) -> None:
    """Render and write atomically; an interrupted export leaves no file under the final name."""
    write_atomically(path, format.render(configuration))

"""What a written file takes against what was promised, layer by layer, and how it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clado_core.exports.onnx_agreement import FileRun


class LayerBytes(NamedTuple):
    """One layer's weight in a file.

    Args:
        name: Of the layer.
        bits: As chosen.
        stored_bits: As stored; more where the format has no type of that width.
        promised_bytes: Of the packed integers.
        file_bytes: Found in the file.
    """

    name: str
    bits: int
    stored_bits: int
    promised_bytes: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """Bytes of a whole file.

    Args:
        layers: The weights.
        parts: Everything else by name: scales, float values, the file's own structure.
        promised_bytes: ``size_bytes`` of the assignment.
        run: How the file was run before it was let out; None where nothing here runs it.
        notes: Sentences on this file.
    """

    layers: tuple[LayerBytes, ...]
    promised_bytes: int
    parts: Mapping[str, int] = field(default_factory=dict)
    run: FileRun | None = None
    notes: tuple[str, ...] = ()

    @property
    def file_bytes(self) -> int:
        """Length of the file."""
        return sum(layer.file_bytes for layer in self.layers) + sum(self.parts.values())

    @property
    def difference(self) -> float:
        """(file − promise)/promise."""
        return self.file_bytes / self.promised_bytes - 1

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "promised_bytes": self.promised_bytes,
            "file_bytes": self.file_bytes,
            "difference": self.difference,
            "layers": [layer._asdict() for layer in self.layers],
            "parts": dict(self.parts),
            "run": self.run.to_json() if self.run else None,
            "notes": list(self.notes),
        }

"""What of a network stays float: named part by part, so that nothing does so unsaid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clado_core.errors import InputError

NAMES_SHOWN = 3
"""Of a group of like parts; of larger ones, the first alone."""

OF_THE_NETWORK, LARGE = ("parameter", "buffer"), 0.01
"""Kinds that are of the network's own code, and the share of a file from which each is named."""

NOT_RECORDED = "not recorded by the version that measured"


@dataclass(frozen=True, slots=True)
class FloatPart:
    """Entries of a network's file that no bit-width is chosen for.

    Args:
        name: Of the module, or of the parameter or buffer where that stands by itself.
        kind: Class of the module, or "bias"; "parameter" and "buffer" of the network's own code.
        n_bytes: In a file, floats as float32.
        why: Why it stays float, a phrase.
        is_weight: Whether it is multiplied with data or looked up, as the searched weights are;
            biases, normalization and the like are not.

    Raises:
        InputError: A field is of another type, or the bytes are negative.
    """

    name: str
    kind: str
    n_bytes: int
    why: str
    is_weight: bool = False

    def __post_init__(self) -> None:
        texts = (self.name, self.kind, self.why)
        if not all(isinstance(text, str) for text in texts) or not isinstance(self.is_weight, bool):
            raise InputError(f"A part that stays float has fields of other types: {self}.")
        if type(self.n_bytes) is not int or self.n_bytes < 0:
            raise InputError(f"The part '{self.name}' has {self.n_bytes} bytes; expected ≥ 0.")

    def to_json(self, file_bytes: int, /) -> dict[str, Any]:
        """As plain values, with its share of a file of so many bytes."""
        return {
            "name": self.name,
            "kind": self.kind,
            "bytes": self.n_bytes,
            "share": self.n_bytes / file_bytes,
            "why": self.why,
            "is_weight": self.is_weight,
        }


def parts_to_json(
    parts: Sequence[FloatPart] | None, file_bytes: int, /
) -> list[dict[str, Any]] | None:
    """Largest first; None where they are not known."""
    if parts is None:
        return None
    ordered = sorted(parts, key=lambda part: -part.n_bytes)
    return [part.to_json(file_bytes) for part in ordered]


def grouped(parts: Iterable[Mapping[str, Any]], /) -> list[dict[str, Any]]:
    """Rows for people: weights and large parameters by themselves, others of one kind as one row.

    Args:
        parts: As ``parts_to_json`` gives them.

    Returns:
        Such rows, weights first and then by size; the kind of a group says how many there are.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for part in parts:
        stands_alone = part["kind"] in OF_THE_NETWORK and part["share"] >= LARGE
        own = (part["name"],) if part["is_weight"] or stands_alone else ()
        groups.setdefault((part["kind"], part["why"], *own), []).append(part)
    rows = [_row(members) for members in groups.values()]
    return sorted(rows, key=lambda row: (not row["is_weight"], -row["bytes"]))


def _row(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    row = dict(members[0])
    if len(members) > 1:
        names = [member["name"] for member in members]
        few = len(names) <= NAMES_SHOWN
        row["name"] = ", ".join(names) if few else f"{names[0]}, …"
        row["kind"] = f"{len(members)} × {row['kind']}"
        row["bytes"] = sum(member["bytes"] for member in members)
        row["share"] = sum(member["share"] for member in members)
    return row

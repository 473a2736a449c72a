"""Read an exported file back: was a byte changed, and does it hold this choice."""

from __future__ import annotations

import json
from pathlib import Path

from clado_core.errors import InputError
from clado_core.exports.configuration import Configuration
from clado_core.exports.format import Format
from clado_core.exports.onnx_digest import CONFIGURATION, read_checked
from clado_core.exports.packed_load import read_packed
from clado_core.files.assignment_file import read_assignment
from clado_core.records.scheme import weight_bits

CHECKED = ("json", "safetensors", "onnx", "qonnx")
"""Formats whose files carry a digest."""


def check_file(path: str | Path, format: Format, configuration: Configuration, /) -> None:
    """Check a file's digest, and its bit-widths against a choice; needs no network.

    Raises:
        InputError: A byte was changed, the bit-widths are others, or the format has no digest.
        ArtifactError: The file cannot be read or, if packed, was changed.
    """
    chosen = configuration.assignment.by_layer()
    wanted = {name: weight_bits(bits) for name, bits in chosen.items()}
    found = _bits(Path(path), format, configuration)
    differing = [name for name in wanted if found.get(name) != wanted[name]]
    if differing or len(found) != len(wanted):
        named = ", ".join(differing[:3]) or "layers of another network"
        raise InputError(f"{path} holds another choice: {named} differ.")


def _bits(path: Path, format: Format, configuration: Configuration) -> dict[str, int]:
    if format.name == "json":
        read = read_assignment(path, configuration.matrix).by_layer()
        return {name: weight_bits(bits) for name, bits in read.items()}
    if format.name == "safetensors":
        return dict(read_packed(path).facts["layers"])
    if format.name not in CHECKED:
        raise InputError(
            f"Files of {format.name} carry no digest; those of {', '.join(CHECKED)} do."
        )
    try:
        contents = path.read_bytes()
    except OSError as problem:
        raise InputError(f"Cannot read {path}: {problem.strerror}.") from None
    facts = {entry.key: entry.value for entry in read_checked(contents).metadata_props}
    return dict(json.loads(facts[CONFIGURATION])["layers"])

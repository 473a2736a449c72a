"""Read an assignment from JSON: a solution, an exported configuration, or a plain mapping."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clado_core.errors import InputError
from clado_core.records.assignment import Assignment, assignment_from_mapping
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.scheme import parse_bits

CONFIGURATION_SCHEMA = "clado-mpq/"
DIGEST = "sha256"


def configuration_digest(document: Mapping[str, Any], /) -> str:
    """Hexadecimal SHA-256 over an exported configuration's values, without the digest itself."""
    values = {key: value for key, value in document.items() if key != DIGEST}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_assignment(path: str | Path, matrix: SensitivityMatrix, /) -> Assignment:
    """Read the bit-widths of a measured network's layers.

    Args:
        path: JSON with one of: a key "assignment" (as ``solve --json`` prints), a "schema" that
            starts with clado-mpq/ and "layers" with names and bits, or layer name → bits.
        matrix: The measured network; every layer must be given, with a bit-width of its menu.

    Raises:
        InputError: No such file, other contents, or layers or bit-widths that do not fit.
    """
    path = Path(path)
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise InputError(f"Cannot read the assignment {path}: {problem.strerror}.") from None
    except ValueError as problem:
        raise InputError(f"The assignment {path} is not JSON: {problem}.") from None
    bits = _layer_bits(contents, path)
    bits = {
        name: parse_bits(b) if isinstance(b, str) and "a" in b else b for name, b in bits.items()
    }
    for name, b in bits.items():
        if isinstance(b, bool) or not isinstance(b, int):
            raise InputError(f"{path}: layer '{name}' has bit-width {b!r}; expected an integer.")
    assignment = assignment_from_mapping(matrix.layers, matrix.scheme, bits)
    matrix.choice(assignment.bits)
    return assignment


def _layer_bits(contents: Any, path: Path) -> Mapping[str, Any]:
    if isinstance(contents, dict) and str(contents.get("schema")).startswith(CONFIGURATION_SCHEMA):
        if contents.get(DIGEST, configuration_digest(contents)) != configuration_digest(contents):
            raise InputError(
                f"{path}: the field 'sha256' does not match the rest, so the file was changed or "
                "damaged after it was exported; export it again, or remove the field to use it."
            )
        try:
            return {layer["name"]: _row_bits(layer) for layer in contents["layers"]}
        except (KeyError, TypeError, AttributeError):
            raise InputError(
                f"{path}: each of 'layers' must be an object with 'name' and 'bits'."
            ) from None
    if isinstance(contents, dict):
        bits = contents.get("assignment", contents)
        if isinstance(bits, dict):
            return bits
    raise InputError(
        f"{path} holds no assignment: expected layer names with bit-widths, the JSON that "
        "solve prints, or an exported configuration."
    )


def _row_bits(layer: Mapping[str, Any]) -> Any:
    act = layer.get("activation_bits")
    return layer["bits"] if act is None else f"{layer['bits']}a{act}"

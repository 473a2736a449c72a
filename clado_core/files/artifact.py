"""Artifacts: one ``NAME.clado`` file per measured matrix, in the safetensors container.

The file holds float arrays and, in the container's string metadata, a JSON header and the
SHA-256 of both. Nothing in it is executed on reading.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from clado_core.errors import (
    ArtifactCorruptError,
    ArtifactError,
    ArtifactVersionError,
    CladoError,
    InputError,
)
from clado_core.files.atomic import write_atomically
from clado_core.files.typed import Record, parse_json, read_record
from clado_core.records.float_parts import FloatPart
from clado_core.records.layers import LayerInfo, LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.provenance import Provenance
from clado_core.records.scheme import QuantizationScheme

SCHEMA = "clado-sensitivity"
SCHEMA_VERSION = 3
SUFFIX = ".clado"
PARTIAL = ".partial"
"""After a file's name: what is kept of work on it that is not finished."""
DIAGONAL = "diagonal."
"""Prefix of the optional arrays of other methods' sensitivities."""
PARTS = "part_G_upper"
"""Upper triangles of the parts' matrices, float32: most of a file's bytes."""
MEASURED = "measured"
"""Upper triangle of the mask of measured entries, eight to a byte; since schema version 3."""
FIT_ERROR = "fit_error_upper"
"""Upper triangle of what a fit left open, float32; since schema version 3."""


def save_matrix(matrix: SensitivityMatrix, path: str | Path, /) -> str:
    """Write an artifact atomically: the final name appears only once the file is complete.

    Args:
        matrix: What to store.
        path: Its name; the folder must exist.

    Returns:
        The artifact's digest, hexadecimal SHA-256 of its contents; equal contents, equal digest.

    Raises:
        ArtifactError: The file cannot be written.
    """
    header = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "name": matrix.name,
        "bit_widths": list(matrix.bit_widths),
        "base_loss": matrix.base_loss,
        "scheme": asdict(matrix.scheme),
        "provenance": matrix.provenance.to_json(),
        "layers": [asdict(layer) for layer in matrix.layers.layers],
        "other_bytes": matrix.layers.other_bytes,
    }
    if matrix.layers.float_parts is not None:
        header["float_parts"] = [asdict(part) for part in matrix.layers.float_parts]
    arrays = _arrays(matrix)
    text = json.dumps(header, sort_keys=True)
    digest = _digest(text, arrays)
    write_atomically(path, save(arrays, metadata={"header": text, "sha256": digest}))
    return digest


def _arrays(matrix: SensitivityMatrix) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {"G": matrix.G} | {
        DIAGONAL + k: v for k, v in matrix.diagonals.items()
    }
    upper = np.triu_indices(len(matrix.G))
    if matrix.part_G is not None and matrix.part_weights is not None:
        parts = matrix.part_G[:, upper[0], upper[1]]
        arrays[PARTS] = np.ascontiguousarray(parts, dtype=np.float32)
        arrays["part_weights"] = matrix.part_weights
    if matrix.input_ranges is not None:
        arrays["input_ranges"] = matrix.input_ranges
    if matrix.measured is not None:
        arrays[MEASURED] = np.packbits(matrix.measured[upper])
    if matrix.fit_error is not None:
        arrays[FIT_ERROR] = matrix.fit_error[upper].astype(np.float32)
    return arrays


def load(path: str | Path, /) -> SensitivityMatrix:
    """Read an artifact and check it whole.

    Args:
        path: A ``.clado`` file.

    Raises:
        ArtifactCorruptError: Truncated, changed, or a field is missing; the sentence names it.
        ArtifactVersionError: Written by a newer schema.
        ArtifactError: There is no such file, or it cannot be read.
    """
    path = Path(path)
    metadata, arrays = _read_container(path)
    header = _parsed_header(path, metadata)
    if metadata.get("sha256") != _digest(metadata["header"], arrays):
        raise ArtifactCorruptError(
            f"{path.name}: the field 'sha256' does not match the contents, so the file was "
            "changed or damaged after it was written; restore it or measure again."
        )
    try:
        return _matrix(header, arrays)
    except KeyError as missing:
        raise ArtifactCorruptError(
            f"{path.name}: the field {missing} is missing; measure again."
        ) from None
    except (TypeError, ValueError, CladoError) as problem:
        raise ArtifactCorruptError(f"{path.name}: a field cannot be used: {problem}") from None


def artifact_digest(path: str | Path, /) -> str:
    """The digest stored in an artifact, read without its arrays; caches key by it."""
    path = Path(path)
    metadata, _ = _read_container(path, arrays=False)
    return metadata.get("sha256", "")


def partial_path(path: str | Path, /) -> Path:
    """Where a stopped command keeps what it has done for the file that it will write."""
    path = Path(path)
    return path.with_name(path.name + PARTIAL)


def _read_container(
    path: Path, *, arrays: bool = True
) -> tuple[Mapping[str, str], dict[str, npt.NDArray[np.float64]]]:
    if not path.is_file():
        raise ArtifactError(f"There is no artifact {path}.")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            names = list(file.keys()) if arrays else []
            return metadata, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, struct.error) as problem:
        raise ArtifactCorruptError(
            f"{path.name} is not a complete artifact ({problem}); restore it or measure again."
        ) from None
    except OSError as problem:
        raise ArtifactError(f"Cannot read {path}: {problem.strerror or problem}.") from None


def _parsed_header(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        header = parse_json(metadata["header"])
        schema, version = header["schema"], header["schema_version"]
    except (KeyError, TypeError, InputError) as problem:
        why = f"; {problem}" if isinstance(problem, InputError) else ""
        raise ArtifactCorruptError(
            f"{path.name}: the field 'header' is missing or not JSON, so this is no CLADO artifact"
            f"{why}."
        ) from None
    if schema != SCHEMA:
        raise ArtifactCorruptError(
            f"{path.name}: the field 'schema' is '{schema}', expected '{SCHEMA}'."
        )
    if not isinstance(version, int) or version < 1:
        raise ArtifactCorruptError(
            f"{path.name}: the field 'schema_version' is {version!r}; it must be a whole number."
        )
    if version > SCHEMA_VERSION:
        raise ArtifactVersionError(
            f"{path.name}: the field 'schema_version' is {version}, and this program reads up to "
            f"{SCHEMA_VERSION}; upgrade it or measure again.",
            found=version,
            expected=SCHEMA_VERSION,
        )
    return dict(header)


@dataclass(frozen=True, slots=True)
class _Header:
    """The plain fields of a header."""

    name: str
    bit_widths: tuple[int, ...]
    base_loss: float | None
    other_bytes: int


HEADER = ("name", "bit_widths", "base_loss", "other_bytes")


def _matrix(
    header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[np.float64]]
) -> SensitivityMatrix:
    told = read_record({k: v for k, v in header.items() if k in HEADER}, _Header, "the header")
    layers = _records(header, "layers", LayerInfo)
    return SensitivityMatrix(
        name=told.name,
        G=arrays["G"],
        layers=LayerTable(layers, told.other_bytes, _float_parts(header)),
        bit_widths=told.bit_widths,
        base_loss=told.base_loss,
        scheme=read_record(header["scheme"], QuantizationScheme, "scheme"),
        provenance=_provenance(header["provenance"]),
        diagonals={
            name.removeprefix(DIAGONAL): array
            for name, array in arrays.items()
            if name.startswith(DIAGONAL)
        },
        part_G=_parts(arrays),
        part_weights=arrays.get("part_weights"),
        input_ranges=arrays.get("input_ranges"),
        measured=_measured(arrays),
        fit_error=_fit_error(arrays),
    )


def _provenance(values: Any) -> Provenance:
    if not isinstance(values, dict):
        raise InputError("'provenance' must be an object")
    read_record({k: v for k, v in values.items() if k != "labels"}, Provenance, "provenance")
    return Provenance.from_json(values)


def _float_parts(header: Mapping[str, Any]) -> tuple[FloatPart, ...] | None:
    """None in files of before they were kept."""
    return None if header.get("float_parts") is None else _records(header, "float_parts", FloatPart)


def _records(header: Mapping[str, Any], name: str, kind: type[Record]) -> tuple[Record, ...]:
    if not isinstance(header[name], list):
        raise InputError(f"'{name}' must be a list")
    return tuple(read_record(values, kind, f"{name}[{i}]") for i, values in enumerate(header[name]))


def _parts(arrays: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64] | None:
    if PARTS not in arrays:
        return arrays.get("part_G")  # schema version 1 kept them whole
    upper, n = arrays[PARTS], len(arrays["G"])
    rows, columns = np.triu_indices(n)
    parts = np.zeros((len(upper), n, n))
    parts[:, rows, columns] = parts[:, columns, rows] = upper
    return parts


def _measured(arrays: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_] | None:
    if MEASURED not in arrays:
        return None
    n, packed = len(arrays["G"]), arrays[MEASURED]
    count = n * (n + 1) // 2
    if packed.shape != (-(-count // 8),) or packed.dtype != np.uint8:
        raise InputError(
            f"'{MEASURED}' has shape {packed.shape} and type {packed.dtype}; expected "
            f"({-(-count // 8)},) and uint8."
        )
    return _whole(MEASURED, np.unpackbits(packed, count=count).astype(np.bool_), n)


def _fit_error(arrays: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float64] | None:
    upper = arrays.get(FIT_ERROR)
    return None if upper is None else _whole(FIT_ERROR, upper.astype(np.float64), len(arrays["G"]))


def _whole(name: str, upper: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """A symmetric matrix of its upper triangle, shape (n, n)."""
    if upper.shape != (n * (n + 1) // 2,):
        raise InputError(f"'{name}' has shape {upper.shape}; expected ({n * (n + 1) // 2},).")
    whole = np.zeros((n, n), dtype=upper.dtype)
    rows, columns = np.triu_indices(n)
    whole[rows, columns] = whole[columns, rows] = upper
    return whole


def _digest(header: str, arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()

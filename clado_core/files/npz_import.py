"""Sensitivity matrices measured elsewhere, from the arrays of an ``.npz`` file."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clado_core.errors import InputError
from clado_core.records.layers import LayerInfo, LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.provenance import Provenance
from clado_core.records.scheme import QuantizationScheme, bit_menu

LARGEST_BYTES = 2 * 10**9
"""Of one array: G of 15,000 candidates. A small archive can inflate to anything."""

UNREADABLE = (
    *(OSError, ValueError, EOFError, RuntimeError, NotImplementedError, KeyError, MemoryError),
    *(OverflowError, SyntaxError, TypeError, struct.error, zlib.error, zipfile.BadZipFile),
)
"""What zipfile and numpy were seen to raise at damaged files; they document no list."""

HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

REQUIRED = ("G", "layer_names", "n_weights", "bits")
OPTIONAL = ("base_loss",)


def matrix_from_npz(path: str | Path, /, *, name: str) -> SensitivityMatrix:
    """Read G and its labels; nothing in the file is executed (pickled arrays are refused).

    Such a matrix knows its weights but no shapes, scales or multiply-accumulates: one scale per
    layer is counted in bytes, and limits on bit operations are refused.

    Args:
        path: ``.npz`` with G (n, n), layer_names (L,), n_weights (L,), bits (B,), and optionally
            base_loss ().
        name: Short name of the network.

    Raises:
        InputError: A missing array, a wrong shape or value; the sentence names the array.
    """
    arrays = _read(Path(path))
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise InputError(f"{path} lacks the array {', '.join(missing)}; needed: {REQUIRED}.")
    bits = _whole_numbers("bits", arrays["bits"])
    layers = _layers(arrays, path)
    if list(bits) != sorted(bits):
        raise InputError(f"The array bits must ascend, as the columns of G do; it is {list(bits)}.")
    return SensitivityMatrix(
        name=name,
        G=_square(_real_numbers("G", arrays["G"])),
        layers=layers,
        bit_widths=bit_menu(bits),
        base_loss=_base_loss(arrays.get("base_loss")),
        scheme=QuantizationScheme(granularity="per-tensor"),
        provenance=Provenance(estimator="imported"),
    )


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            stored = {info.filename: info for info in archive.infolist()}
            known = [key for key in (*REQUIRED, *OPTIONAL) if f"{key}.npy" in stored]
            return {key: _array(archive, stored[f"{key}.npy"], path) for key in known}
    except UNREADABLE:
        pass
    # numpy's own message advises unpickling, which is what we must not do.
    raise InputError(
        f"{path} is not a readable .npz of plain arrays {REQUIRED} (pickled objects are refused)."
    )


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> npt.NDArray[Any]:
    """One array, read only where what it declares is what the archive holds."""
    if info.file_size > LARGEST_BYTES:
        raise InputError(
            f"{info.filename} in {path} would take {info.file_size / 1e9:,.1f} GB; at most "
            f"{LARGEST_BYTES / 1e9:g} GB are read."
        )
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read = HEADERS.get(version)
        if read is None:
            raise ValueError(f"npy version {version}")
        shape, _, dtype = read(file)
        if dtype.hasobject:
            raise ValueError("pickled")
        declared = math.prod(shape) * dtype.itemsize
        held = info.file_size - file.tell()
    if declared != held:
        raise InputError(
            f"{info.filename} in {path} declares {declared:,} bytes and holds {held:,}: the file "
            "is damaged."
        )
    with archive.open(info) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _layers(arrays: dict[str, npt.NDArray[Any]], path: str | Path) -> LayerTable:
    names = [str(n) for n in np.atleast_1d(arrays["layer_names"])]
    weights = _whole_numbers("n_weights", arrays["n_weights"])
    if len(weights) != len(names):
        raise InputError(f"{len(names)} layer_names but {len(weights)} n_weights in {path}.")
    for layer, count in zip(names, weights, strict=True):
        if count < 1:
            raise InputError(f"n_weights of layer '{layer}' is {count}; it must be 1 or more.")
    return LayerTable(
        tuple(
            LayerInfo(layer, "unknown", (count,))
            for layer, count in zip(names, weights, strict=True)
        )
    )


def _real_numbers(name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if array.dtype.kind not in "fiu":
        raise InputError(f"The array {name} must hold real numbers, not {array.dtype}.")
    return array.astype(np.float64)


def _square(G: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if G.ndim != 2 or len(set(G.shape)) != 1:
        raise InputError(f"The array G must be a square matrix; its shape is {G.shape}.")
    return G


def _whole_numbers(name: str, array: npt.NDArray[Any]) -> tuple[int, ...]:
    values = np.atleast_1d(_real_numbers(name, array))
    if values.ndim != 1 or not np.isfinite(values).all() or (values != np.floor(values)).any():
        raise InputError(f"The array {name} must be a list of whole numbers.")
    return tuple(int(v) for v in values)


def _base_loss(array: npt.NDArray[Any] | None) -> float | None:
    if array is None:
        return None
    value = float(_real_numbers("base_loss", array).reshape(-1)[0]) if array.size else np.nan
    return value if np.isfinite(value) else None

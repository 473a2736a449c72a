"""Sensitivity matrices measured elsewhere, from the arrays of an ``.npz`` file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clado_core.errors import InputError
from clado_core.records.layers import LayerInfo, LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.provenance import Provenance
from clado_core.records.scheme import QuantizationScheme, bit_menu

REQUIRED = ("G", "layer_names", "n_weights", "bits")


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
        G=_real_numbers("G", arrays["G"]),
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
        with np.load(path, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise InputError(f"{path} is a single array; an .npz with {REQUIRED} is needed.")
            return {key: arrays[key] for key in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        # numpy's own message advises unpickling, which is what we must not do.
        raise InputError(
            f"{path} is not a readable .npz of plain arrays (pickled objects are refused)."
        ) from None


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

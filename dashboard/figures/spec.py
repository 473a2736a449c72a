"""Figures as plain dictionaries, and as the JSON that the browser draws.

``go.Figure`` checks every attribute each time it is built, which took most of a drag step; the
figures here are checked once, by the tests, which build a ``go.Figure`` of each.
"""

from __future__ import annotations

import base64
import json
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Spec: TypeAlias = dict[str, Any]
"""``data`` (a list of traces) and ``layout``; arrays may be numpy's."""

INLINE = 64
"""Arrays up to this many numbers travel as lists, longer ones in base64."""

TYPED = {"f4": "f4", "f8": "f8", "i1": "i1", "u1": "u1", "i2": "i2", "i4": "i4"}


def to_json(spec: Spec, /) -> str:
    """The figure as text; NaN, which JSON has not, becomes null or stays within base64."""
    return json.dumps(spec, default=_array, separators=(",", ":"))


def _array(value: object) -> Any:
    if isinstance(value, np.ndarray):
        return _encoded(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"A figure cannot hold {type(value).__name__}.")


def _encoded(values: npt.NDArray[Any]) -> Any:
    if values.dtype.kind == "f" and not np.isfinite(values).all() and values.size <= INLINE:
        shown = values.astype(object)
        shown[~np.isfinite(values)] = None
        return shown.tolist()
    if values.dtype == np.int64:
        values = values.astype(np.int32)
    code = TYPED.get(values.dtype.str[1:])
    if values.size <= INLINE or code is None:
        return values.tolist()
    packed: Spec = {"dtype": code, "bdata": base64.b64encode(values.tobytes()).decode()}
    if values.ndim > 1:
        packed["shape"] = ",".join(map(str, values.shape))
    return packed

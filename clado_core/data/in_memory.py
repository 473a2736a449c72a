"""Labelled images that a caller holds already: tensors, arrays, or anything that yields batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from clado_core.data.sources import Samples
from clado_core.errors import InputError
from clado_core.records.calibration import IMAGES

Piece: TypeAlias = tuple[Tensor, Tensor | None]
"""Inputs, shape (n, C, H, W), and labels, shape (n,), or None where there are none."""

FORMS = (
    "Give a pair of tensors (x, y), or a DataLoader or another iterable of such pairs, with x of "
    "shape (N, C, H, W) and y of shape (N,)."
)


def as_samples(
    data: object, /, *, n: int | None = None, labels: bool = True, name: str = "in memory"
) -> Samples:
    """Bring data into one form, in the order it comes.

    Args:
        data: ``Samples``, a pair (x, y), or an iterable of such pairs. Tensors or numpy arrays: x
            of shape (N, C, H, W), prepared as the network wants it; y of shape (N,), class indices.
        n: Take the first n samples and read no further; all where None.
        labels: False accepts x alone as well; labels are then 0.
        name: Of the data, kept with what is measured on it.

    Raises:
        InputError: Another form, no samples or fewer than n, or types that cannot be used.
    """
    class_names: tuple[str, ...] = ()
    split = None
    if isinstance(data, Samples):
        name, class_names, split = data.name, data.class_names, data.split
        data = (data.x, data.y)
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    for x, y in _pieces(data, labels):
        room = len(x) if n is None else max(n - sum(map(len, xs)), 0)
        xs.append(x[:room])
        ys.append(torch.zeros(len(xs[-1]), dtype=torch.int64) if y is None else y[:room])
        if n is not None and sum(map(len, xs)) >= n:
            break
    found = sum(map(len, xs))
    if not found:
        raise InputError(f"The data gives no samples; a generator can be read only once. {FORMS}")
    if n is not None and found < n:
        raise InputError(f"The data has {found} samples; ask for 1 to {found}, not {n}.")
    return Samples(torch.cat(xs), torch.cat(ys), name, class_names, split=split)


def _pieces(data: object, labels: bool) -> Iterator[Piece]:
    if _is_array(data) or _is_pair(data):
        yield _piece(data, labels)
        return
    if not isinstance(data, Iterable) or isinstance(data, str | bytes):
        raise InputError(f"The data is of type {type(data).__name__}. {FORMS}")
    for batch in data:
        yield _piece(batch, labels)


def _piece(batch: Any, labels: bool) -> Piece:
    if _is_array(batch):
        batch = (batch,)
    if not isinstance(batch, tuple | list) or not batch or not all(map(_is_array, batch[:2])):
        raise InputError(f"A batch of the data is of type {type(batch).__name__}. {FORMS}")
    if len(batch) == 1 and labels:
        raise InputError(
            f'The data has no labels, which only the loss "kl" can do without. {FORMS}'
        )
    x, y = _inputs(torch.as_tensor(batch[0])), None
    if len(batch) > 1:
        y = _labels(torch.as_tensor(batch[1]))
        if y.shape != x.shape[:1]:
            raise InputError(
                f"A batch has {len(x)} inputs and labels of shape {tuple(y.shape)}. {FORMS}"
            )
    return x, y


def _inputs(x: Tensor) -> Tensor:
    if x.ndim != 4:
        raise InputError(f"Inputs have shape {tuple(x.shape)}. {FORMS}")
    if not x.is_floating_point():
        raise InputError(
            f"Inputs are of type {x.dtype}: convert them to float and normalize them as the "
            "network was trained, for a network that takes raw pixels by x.float()."
        )
    return x.detach().cpu().to(torch.float32)


def _labels(y: Tensor) -> Tensor:
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise InputError(f"Labels are of type {y.dtype}; expected class indices, whole numbers.")
    return y.detach().cpu().to(torch.int64)


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _is_pair(data: object) -> bool:
    """Whether it is (x, y), not a list of two batches."""
    return isinstance(data, tuple | list) and len(data) == 2 and all(map(_is_array, data))


def calibration_images(samples: Samples, given: object, /) -> Samples:
    """Images to calibrate with: those that are given, or the first of the samples.

    Args:
        samples: To measure on.
        given: As for ``as_samples``, labels unused; None where there are no others.
    """
    if given is not None:
        return as_samples(given, labels=False)
    return replace(samples, x=samples.x[:IMAGES], y=samples.y[:IMAGES])

"""Data sets that torchvision reads, from a folder of the user's; nothing is downloaded."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clado_core.errors import InputError

PREFIX = "torchvision:"
LABELS = ("targets", "labels", "_labels")
"""Where torchvision's data sets keep their class indices."""

Opened: TypeAlias = tuple[npt.NDArray[np.int64], Callable[[int], Any], tuple[str, ...]]


def open_torchvision(spec: str, /) -> Opened:
    """Open a classification data set in its training part.

    Args:
        spec: ``torchvision:NAME:FOLDER``, such as torchvision:CIFAR100:/data.

    Returns:
        Class index of every sample, shape (N,), index → RGB image (PIL), and class index → name,
        empty where torchvision does not know.

    Raises:
        InputError: There is no such data set, or the folder does not hold it.
    """
    from torchvision import datasets

    name, _, folder = spec.removeprefix(PREFIX).partition(":")
    kind: Any = getattr(datasets, name, None)
    known = inspect.isclass(kind) and issubclass(kind, datasets.VisionDataset)
    if not known:
        near = difflib.get_close_matches(name, datasets.__all__, n=3) or ["CIFAR100", "MNIST"]
        raise InputError(
            f"torchvision has no data set '{name}'; did you mean {', '.join(near)}? Give "
            f"{PREFIX}NAME:FOLDER."
        )
    if not folder or not Path(folder).expanduser().is_dir():
        raise InputError(f"There is no folder '{folder}' for {name}; give {PREFIX}{name}:FOLDER.")
    try:
        found = kind(str(Path(folder).expanduser()))
        labels = _labels(found)
    except (RuntimeError, OSError, TypeError, ValueError) as problem:
        reason = (str(problem) or type(problem).__name__).splitlines()[0]
        raise InputError(
            f"{folder} does not hold {name} as torchvision reads it: {reason}"
        ) from None
    return labels, lambda index: found[index][0].convert("RGB"), _class_names(found, labels)


def _labels(found: Any) -> npt.NDArray[np.int64]:
    for name in LABELS:
        if (labels := getattr(found, name, None)) is not None and len(labels) == len(found):
            return np.array([int(label) for label in labels], dtype=np.int64)
    return np.array([found[index][1] for index in range(len(found))], dtype=np.int64)


def _class_names(found: Any, labels: npt.NDArray[np.int64]) -> tuple[str, ...]:
    names = getattr(found, "classes", None)
    if not isinstance(names, list | tuple) or len(names) <= labels.max(initial=-1):
        return ()
    # ImageNet's are tuples of synonyms, the usual one first.
    return tuple(str(name if isinstance(name, str) else name[0]) for name in names)

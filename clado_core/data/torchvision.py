"""Data sets that torchvision reads, from a folder of the user's; nothing is downloaded."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clado_core.errors import InputError

logger = logging.getLogger(__name__)

PREFIX = "torchvision:"
LABELS = ("targets", "labels", "_labels")
"""Where torchvision's data sets keep their class indices."""
SAMPLES = "_samples"
"""Where some keep pairs of an image and its class index."""

PARTS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "train": ((True,), (False,)),
    "split": (("train", "trainval", "train-standard"), ("test", "val", "valid")),
    "version": (("2021_train",), ("2021_valid",)),
}
"""Argument that says which part is meant → its values for training and for held-out parts.

Where there are both test and val, test is held out: val may have chosen the weights.
"""


class TorchvisionImages(NamedTuple):
    """A data set of torchvision, training images first.

    Args:
        labels: Class indices, shape (N,).
        read: Index → RGB image (PIL).
        class_names: Class index → name; empty where torchvision does not know.
        n_train: How many are training images; None where the data set has no parts.
    """

    labels: npt.NDArray[np.int64]
    read: Callable[[int], Any]
    class_names: tuple[str, ...]
    n_train: int | None


class _Part(NamedTuple):
    """A part that was opened, or why it was not."""

    images: Any
    labels: npt.NDArray[np.int64]
    problem: str = ""


def open_torchvision(spec: str, /) -> TorchvisionImages:
    """Open a classification data set: its training part, and its test (or val) part held out.

    Args:
        spec: ``torchvision:NAME:FOLDER``, such as torchvision:CIFAR100:/data.

    Raises:
        InputError: There is no such data set, or the folder holds neither part.
    """
    kind, name, folder = _kind_and_folder(spec)
    argument, training, held_out = _parts_of(kind)
    if argument is None:
        parts = [_open(kind, folder, {})]
    else:
        parts = [_first(kind, folder, argument, values) for values in (training, held_out)]
    if all(part.problem for part in parts):
        raise InputError(
            f"{folder} does not hold {name} as torchvision reads it: {parts[0].problem}"
        )
    for part, what in zip(parts, ("training", "test"), strict=False):
        if part.problem:
            logger.warning(
                "%s has no %s part in %s (%s); what asks for it will find nothing.",
                *(name, what, folder, part.problem.rstrip(".")),
            )
    first, n_train = parts[0], len(parts[0].labels)

    def read(index: int) -> Any:
        part, at = (first, index) if index < n_train else (parts[1], index - n_train)
        return part.images[at][0].convert("RGB")

    labels = np.concatenate([part.labels for part in parts])
    names = (_class_names(part.images, labels) for part in parts)
    class_names = next((known for known in names if known), ())
    return TorchvisionImages(labels, read, class_names, n_train if len(parts) > 1 else None)


def _kind_and_folder(spec: str) -> tuple[Any, str, str]:
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
    return kind, name, folder


def _parts_of(kind: Any) -> tuple[str | None, Sequence[Any], Sequence[Any]]:
    """How a data set is asked for its parts; its own default is the training part, if it is one."""
    parameters = inspect.signature(kind).parameters
    for argument, (training, held_out) in PARTS.items():
        if argument in parameters:
            default = parameters[argument].default
            return argument, ((default,) if default in training else training), held_out
    return None, (), ()


def _first(kind: Any, folder: str, argument: str, values: Sequence[Any]) -> _Part:
    """The first of these parts that is there; of the reasons, one that is about files."""
    parts = []
    for value in values:
        parts.append(_open(kind, folder, {argument: value}))
        if not parts[-1].problem:
            return parts[-1]
    return next((part for part in parts if "Unknown value" not in part.problem), parts[0])


def _open(kind: Any, folder: str, which: dict[str, Any]) -> _Part:
    try:
        images = kind(str(Path(folder).expanduser()), **which)
        return _Part(images, _labels(images))
    except (RuntimeError, OSError, TypeError, ValueError) as problem:
        reason = (str(problem) or type(problem).__name__).splitlines()[0]
        return _Part(None, np.empty(0, dtype=np.int64), reason)


def _labels(found: Any) -> npt.NDArray[np.int64]:
    pairs = getattr(found, SAMPLES, None)
    known = [getattr(found, name, None) for name in LABELS]
    known.append([pair[1] for pair in pairs] if isinstance(pairs, list) else None)
    for labels in known:
        if labels is not None and len(labels) == len(found):
            return np.array([int(label) for label in labels], dtype=np.int64)
    return np.array([found[index][1] for index in range(len(found))], dtype=np.int64)


def _class_names(found: Any, labels: npt.NDArray[np.int64]) -> tuple[str, ...]:
    names = getattr(found, "classes", None)
    if not isinstance(names, list | tuple) or len(names) <= labels.max(initial=-1):
        return ()
    # ImageNet's are tuples of synonyms, the usual one first.
    return tuple(str(name if isinstance(name, str) else name[0]) for name in names)

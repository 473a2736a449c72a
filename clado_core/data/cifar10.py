"""CIFAR-10 (Krizhevsky, 2009) from a folder of the user's: small JPEG files, or the original.

The split is the official one: 50,000 training images, and 10,000 test images held out.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clado_core.errors import InputError

NAME = "cifar10"
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Per channel, over the training images."""

JPEG_FILES = ("cifar10_jpeg_train.npz", "cifar10_jpeg_test.npz")
ORIGINAL_FOLDER = "cifar-10-batches-py"
SIDE = 32
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)

Pixels: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]


class Images(NamedTuple):
    """CIFAR-10, training images first.

    Args:
        labels: Class indices, shape (60,000,).
        n_train: How many of them are training images.
        read: Indices → normalized inputs, shape (n, 3, 32, 32), float32.
        class_names: Class index → name.
    """

    labels: Labels
    n_train: int
    read: Callable[[npt.NDArray[np.int64]], Tensor]
    class_names: tuple[str, ...] = CLASSES


def find_cifar10(folder: Path, /) -> Images:
    """Open a copy of CIFAR-10; JPEG files are decoded when they are read.

    Args:
        folder: Holds ``cifar10_jpeg_train.npz`` and ``cifar10_jpeg_test.npz`` (arrays ``jpeg``:
            all files' bytes one after another, ``offsets``: file k is
            ``jpeg[offsets[k]:offsets[k + 1]]``, ``labels``) or ``cifar-10-batches-py``; or is one
            of these itself.

    Raises:
        InputError: Neither is there, or what is there cannot be read.
    """
    if folder.is_file() or folder.name == ORIGINAL_FOLDER:
        folder = folder.parent
    if all((folder / name).is_file() for name in JPEG_FILES):
        return _jpeg_files(folder)
    if (folder / ORIGINAL_FOLDER).is_dir():
        return _original(folder)
    raise InputError(
        f"{folder} holds no CIFAR-10: give a folder with {' and '.join(JPEG_FILES)}, or with "
        f"the original {ORIGINAL_FOLDER}, as {NAME}:FOLDER."
    )


def normalized(images: Pixels, /) -> Tensor:
    """(x/255 − mean) / std per channel: (N, 32, 32, 3) bytes → (N, 3, 32, 32) float32."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((pixels - mean) / std).contiguous()


def _jpeg_files(folder: Path) -> Images:
    files: list[Pixels] = []
    labels: list[Labels] = []
    for name in JPEG_FILES:
        try:
            with np.load(folder / name, allow_pickle=False) as arrays:
                files += np.split(arrays["jpeg"], arrays["offsets"][1:-1])
                labels.append(arrays["labels"].astype(np.int64))
        except Exception as problem:  # numpy raises zipfile, value, OS and EOF errors here
            raise InputError(
                f"{folder / name} is not CIFAR-10 as JPEG files (arrays jpeg, offsets and "
                f"labels): {problem}"
            ) from None
    if len(files) != sum(map(len, labels)):
        raise InputError(f"{folder}: there are not as many JPEG files as labels.")
    return Images(
        np.concatenate(labels),
        len(labels[0]),
        lambda indices: normalized(_decoded([files[i] for i in indices], folder)),
    )


def _decoded(files: list[Pixels], folder: Path) -> Pixels:
    from PIL import Image

    images = np.empty((len(files), SIDE, SIDE, 3), dtype=np.uint8)
    try:
        for k, file in enumerate(files):
            with Image.open(io.BytesIO(file.tobytes())) as image:
                images[k] = np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as problem:
        raise InputError(f"{folder}: an image cannot be read as 32×32 JPEG: {problem}") from None
    return images


def _original(folder: Path) -> Images:
    from torchvision.datasets import CIFAR10

    try:
        parts = [CIFAR10(str(folder), train=train, download=False) for train in (True, False)]
    except (OSError, RuntimeError) as problem:
        raise InputError(
            f"{folder / ORIGINAL_FOLDER} cannot be read as the original CIFAR-10: {problem}"
        ) from None
    pixels = np.concatenate([part.data for part in parts])
    labels = np.concatenate([np.asarray(part.targets, dtype=np.int64) for part in parts])
    return Images(
        labels,
        len(parts[0].data),
        lambda indices: normalized(pixels[indices]),
        tuple(parts[0].classes),
    )

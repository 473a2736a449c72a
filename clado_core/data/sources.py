"""Labelled images: where they come from, how they are split, and the sensitivity set.

A source with a split of its own keeps it; of every other, per class, a fixed seeded 30 % is held
out. Sensitivities are measured on samples of the rest, so that evaluating on held-out data is
honest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clado_core.data import cifar10
from clado_core.data.folder import find_images
from clado_core.data.pictures import read_picture
from clado_core.data.torchvision import PREFIX as TORCHVISION
from clado_core.data.torchvision import open_torchvision
from clado_core.errors import InputError
from clado_core.records.names import Split

Prepare: TypeAlias = Callable[[Any], Tensor]
HELD_OUT_FRACTION = 0.3
SPLIT_SEED = 20250701
"""Fixed, so that "held-out" means the same samples in training, measuring and evaluating."""

IMAGE_RESIZE, IMAGE_CROP = 256, 224
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Inputs and labels held in memory.

    Args:
        x: Shape (N, C, H, W), float32.
        y: Shape (N,), int64, class indices.
        name: Of the data set they were taken from.
        class_names: Class index → name; empty where names are not known.
        split: Part of the data set they were taken from, where that is known.

    Raises:
        InputError: Shapes or types differ from those, or there are no samples.
    """

    x: Tensor
    y: Tensor
    name: str
    class_names: tuple[str, ...] = ()
    split: Split | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.x.dtype != torch.float32 or len(self.x) == 0:
            raise InputError(
                f"Inputs of '{self.name}' have shape {tuple(self.x.shape)} and type "
                f"{self.x.dtype}; expected (N, C, H, W) with N ≥ 1 and float32."
            )
        if self.y.shape != self.x.shape[:1] or self.y.dtype != torch.int64:
            raise InputError(
                f"Labels of '{self.name}' have shape {tuple(self.y.shape)} and type "
                f"{self.y.dtype}; expected ({len(self.x)},) and int64."
            )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of inputs and labels."""
        digest = self._of_inputs()
        digest.update(self.y.contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def inputs_digest(self) -> str:
        """The same of the inputs alone, for what uses no labels."""
        return self._of_inputs().hexdigest()

    def _of_inputs(self) -> hashlib._Hash:
        digest = hashlib.sha256(f"{tuple(self.x.shape)}".encode())
        digest.update(self.x.contiguous().numpy().tobytes())
        return digest


@dataclass(frozen=True, slots=True, eq=False)
class DataSource:
    """A data set whose images are read when asked for.

    Args:
        name: As given by the user: "digits", an ``.npz`` file or a folder.
        labels: Class index of every sample, shape (N,).
        read: Indices → inputs, shape (n, C, H, W), float32.
        n_train: Where the data set comes with a split: how many, from the first, are for training.
        class_names: Class index → name; empty where names are not known.
    """

    name: str
    labels: npt.NDArray[np.int64]
    read: Callable[[npt.NDArray[np.int64]], Tensor]
    n_train: int | None = None
    class_names: tuple[str, ...] = ()

    def indices(self, split: Split) -> npt.NDArray[np.int64]:
        """Ascending indices of a split; without one, per class, 30 % (rounded) is held out."""
        everything = np.arange(len(self.labels))
        if split == "all":
            return everything
        if self.n_train is not None:
            return everything[: self.n_train] if split == "train" else everything[self.n_train :]
        random = np.random.default_rng(SPLIT_SEED)
        held_out = np.zeros(len(self.labels), dtype=bool)
        for label in np.unique(self.labels):
            members = random.permutation(everything[self.labels == label])
            held_out[members[: round(HELD_OUT_FRACTION * len(members))]] = True
        return everything[held_out if split == "held-out" else ~held_out]

    def samples(self, indices: npt.NDArray[np.int64]) -> Samples:
        """Read the samples at these indices, in this order."""
        labels = torch.from_numpy(self.labels[indices].astype(np.int64))
        return Samples(self.read(indices), labels, self.name, self.class_names)

    def split(self, split: Split) -> Samples:
        """All samples of a split; raises InputError where it is empty."""
        indices = self.indices(split)
        if len(indices) == 0:
            raise InputError(self._is_empty(split))
        return replace(self.samples(indices), split=split)

    def _is_empty(self, split: Split) -> str:
        return f"The {split} part of '{self.name}' is empty; choose another split or add data."

    def sensitivity_set(self, n: int, *, seed: int, split: Split = "train") -> Samples:
        """Draw the sensitivity set: n samples of a split without replacement.

        Args:
            n: Number of samples.
            seed: Of the draw; the order is part of the set.
            split: "train" unless the caller knows better.

        Raises:
            InputError: n is below 1 or above the number there are.
        """
        indices = self.indices(split)
        if len(indices) == 0:
            raise InputError(self._is_empty(split))
        if not 1 <= n <= len(indices):
            raise InputError(
                f"The {split} part of '{self.name}' has {len(indices)} samples; "
                f"ask for 1 to {len(indices)}, not {n}."
            )
        drawn = np.random.default_rng(seed).permutation(indices)[:n]
        return replace(self.samples(drawn), split=split)


def load_data(spec: str, /, *, prepare: Prepare | None = None) -> DataSource:
    """Find a data set.

    Args:
        spec: "digits" (scikit-learn's 1,797 handwritten digits), an ``.npz`` file with arrays
            ``x`` (N, C, H, W) and ``y`` (N,), a folder with one subfolder of images per class or
            with ``train`` and ``val`` of that form (see ``find_images``), ``cifar10:FOLDER`` (see
            ``find_cifar10``), or ``torchvision:NAME:FOLDER`` (see ``open_torchvision``).
        prepare: From a PIL image to an input, for folders and torchvision's data sets; ImageNet's
            usual preparation where None.

    Raises:
        InputError: There is no such data, or it cannot be used.
    """
    if spec == "digits":
        return _digits()
    if spec.partition(":")[0] == cifar10.NAME:
        return _cifar10(spec)
    if spec.startswith(TORCHVISION):
        return _torchvision(spec, prepare or prepare_imagenet)
    path = Path(spec).expanduser()
    if path.is_dir():
        return _image_folder(path, spec, prepare or prepare_imagenet)
    if path.suffix == ".npz" and path.is_file():
        return _npz(path, spec)
    raise InputError(
        f"There is no data '{spec}': give digits, an .npz file with arrays x and y, a folder "
        f"with one subfolder of images per class, {cifar10.NAME}:FOLDER, or "
        f"{TORCHVISION}NAME:FOLDER."
    )


def _digits() -> DataSource:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.from_numpy((digits.images / 16.0).astype(np.float32))[:, None]
    return DataSource("digits", digits.target.astype(np.int64), lambda indices: x[indices])


def _cifar10(spec: str) -> DataSource:
    _, _, folder = spec.partition(":")
    if not folder:
        raise InputError(f"Say where CIFAR-10 is: {cifar10.NAME}:FOLDER.")
    images = cifar10.find_cifar10(Path(folder).expanduser())
    # The folder is the user's own affair: artifacts name the data set, and carry its digest.
    return DataSource(cifar10.NAME, images.labels, images.read, images.n_train, images.class_names)


def _torchvision(spec: str, prepare: Prepare) -> DataSource:
    labels, image, class_names, n_train = open_torchvision(spec)
    return DataSource(
        spec,
        labels,
        lambda indices: torch.stack([prepare(image(int(i))) for i in indices]),
        n_train,
        class_names,
    )


def _npz(path: Path, spec: str) -> DataSource:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays["y"]
    except KeyError:
        raise InputError(f"{spec} must hold arrays named x and y.") from None
    except Exception as problem:  # numpy raises zipfile, value, OS and EOF errors here
        raise InputError(f"{spec} cannot be read as an .npz file: {problem}") from None
    if x.ndim != 4 or x.dtype.kind not in "fiu" or len(x) == 0:
        raise InputError(
            f"{spec}: x has shape {x.shape} and type {x.dtype}; expected numbers of shape "
            "(N, C, H, W), already normalized as the network wants them."
        )
    if y.shape != x.shape[:1] or y.dtype.kind not in "iu" or y.min() < 0:
        raise InputError(
            f"{spec}: y has shape {y.shape} and type {y.dtype}; expected ({len(x)},) class "
            "indices from 0."
        )
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        raise InputError(f"{spec}: x holds NaN or infinite values.")
    return DataSource(spec, y.astype(np.int64), lambda indices: torch.from_numpy(x[indices]))


def _image_folder(path: Path, spec: str, prepare: Prepare) -> DataSource:
    files, labels, class_names, n_train = find_images(path, spec)
    return DataSource(
        spec,
        labels,
        lambda indices: torch.stack([prepare(read_picture(files[i])) for i in indices]),
        n_train,
        class_names,
    )


def prepare_imagenet(image: Any, /) -> Tensor:
    """ImageNet's usual preparation: shorter side 256, centre 224×224, mean and deviation."""
    from torchvision.transforms import v2

    steps: Any = v2.Compose(
        [
            v2.PILToTensor(),
            v2.Resize(IMAGE_RESIZE, antialias=True),
            v2.CenterCrop(IMAGE_CROP),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    tensor: Tensor = steps(image)
    return tensor

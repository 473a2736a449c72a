"""Networks and data sets by name, for a notebook without its own at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from clado_core.data.sources import DataSource
    from clado_core.networks.load import LoadedModel


def load_model(spec: str, weights: str | None = None, /) -> LoadedModel:
    """Load a network by name; its ``module`` is the nn.Module.

    Args:
        spec: A built-in name, ``torchvision:NAME``, or ``path/to/file.py:factory``.
        weights: A checkpoint, the name of torchvision weights, or "none" for random ones.

    Raises:
        InputError: There is no such network or checkpoint, or they do not fit.
    """
    from clado_core.networks.load import load_model

    return load_model(spec, weights)


def load_data(spec: str, /, *, prepare: Callable[[Any], Tensor] | None = None) -> DataSource:
    """Find a data set by name: its ``sensitivity_set`` to measure on, its ``split`` to evaluate.

    Args:
        spec: "digits", an ``.npz`` file with x and y, a folder of images per class,
            ``cifar10:FOLDER`` or ``torchvision:NAME:FOLDER``, whose test part is held out.
        prepare: From a PIL image to an input: ``load_model(...).prepare`` gives what a network's
            weights were trained with; ImageNet's usual preparation where None.

    Raises:
        InputError: There is no such data.
    """
    from clado_core.data.sources import load_data

    return load_data(spec, prepare=prepare)

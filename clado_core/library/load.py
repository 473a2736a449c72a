"""Networks and data sets by name, for a notebook without its own at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def load_data(spec: str, /) -> DataSource:
    """Find a data set by name: its ``sensitivity_set`` to measure on, its ``split`` to evaluate.

    Args:
        spec: "digits", an ``.npz`` file with x and y, a folder of images per class,
            ``cifar10:FOLDER`` or ``torchvision:NAME:FOLDER``.

    Raises:
        InputError: There is no such data.
    """
    from clado_core.data.sources import load_data

    return load_data(spec)

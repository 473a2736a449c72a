"""A measured network and its images once more, prepared as when it was measured.

Everything that runs a network on images of a data set opens both here, so that all of it sees the
same tensors.
"""

from __future__ import annotations

from clado_core.data.seen import redrawn
from clado_core.data.sources import DataSource, Samples, load_data
from clado_core.errors import InputError
from clado_core.networks.load import LoadedModel, load_model, require_weights
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.provenance import Provenance

WEIGHTS = "weights"
"""Detail of a provenance: which weights were asked for."""


def open_data(model: LoadedModel, spec: str, /) -> DataSource:
    """Find a data set, its images to be prepared as the network's weights want them.

    Args:
        model: The network that will see them.
        spec: As for ``load_data``.
    """
    return load_data(spec, prepare=model.prepare)


def origin_of(model: LoadedModel, /, *, seed: int) -> Provenance:
    """What has to be known to find network and sensitivity set again.

    Args:
        model: The network.
        seed: Drew the sensitivity set.
    """
    details = {} if model.weights is None else {WEIGHTS: model.weights}
    return Provenance(model=model.spec, seed=seed, details=details)


def load_measured(
    matrix: SensitivityMatrix, /, *, model: str | None = None, weights: str | None = None
) -> LoadedModel:
    """Load the network that a matrix was measured on.

    Args:
        matrix: Names the network and its weights.
        model: Where it does not name the network, or that moved.
        weights: Where they are not those it names, or moved.

    Raises:
        InputError: No network is named, or it cannot be loaded.
        ArtifactError: The weights are others than were measured.
    """
    spec = model or matrix.provenance.model
    if spec is None:
        raise InputError(f"'{matrix.name}' names no network: give the model it was measured with.")
    loaded = load_model(spec, weights or matrix.provenance.weights)
    require_weights(loaded, matrix)
    return loaded


def measured_samples(
    model: LoadedModel, matrix: SensitivityMatrix, /, *, data: str | None = None
) -> Samples:
    """The sensitivity set that a matrix was measured on.

    Args:
        model: As of ``load_measured``.
        matrix: Names the data, the number of samples and the seed.
        data: As for ``load_data``, where it does not name the data, or that moved.

    Raises:
        InputError: No data is named, or it gives other images than were measured on.
    """
    about = matrix.provenance
    spec = data or about.data
    if spec is None or about.n_samples is None:
        raise InputError(
            f"'{matrix.name}' does not say which data it was measured on: give the data."
        )
    samples = redrawn(open_data(model, spec), about)
    if samples is None:
        raise InputError(
            f"The images of {spec} are not those '{matrix.name}' was measured on; give the same "
            "data."
        )
    return samples

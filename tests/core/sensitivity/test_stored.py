"""Measuring into a file: a stopped measurement continues, and leaves nothing beside the file."""

import numpy as np
import pytest

from clado_core.files.artifact import load, partial_path
from clado_core.records.provenance import Provenance
from clado_core.sensitivity import MeasurementSettings, layers_of, measure_into
from tests.core.small_networks import convolutional, quadratic

SETTINGS = MeasurementSettings((2, 4), batch_size=10)


class Stop(Exception):
    """Stands for the user's interrupt."""


def test_a_stopped_measurement_continues_and_cleans_up(tmp_path):
    measured, path = convolutional(), tmp_path / "net.clado"
    how = {"settings": SETTINGS, "name": "net", "origin": Provenance(seed=3)}

    def stop(done, total):
        if done == 7:
            raise Stop

    with pytest.raises(Stop):
        measure_into(path, *measured, **how, on_progress=stop)
    assert partial_path(path).is_file() and not path.exists()
    seen = []
    matrix = measure_into(path, *measured, **how, on_progress=lambda done, _: seen.append(done))
    assert seen[0] == 7 and [each.name for each in tmp_path.iterdir()] == ["net.clado"]
    stored = load(path)
    assert (stored.name, stored.provenance.seed) == ("net", 3)
    assert np.array_equal(stored.G, matrix.G)


def test_layers_are_found_in_the_form_that_the_network_runs_samples_in():
    model, layers, samples = quadratic()
    assert next(model.parameters()).dtype != samples.x.dtype
    assert layers_of(model, samples) == layers
    first, *_, last = layers.names
    assert not {first, last} & set(layers_of(model, samples, selection="paper").names)

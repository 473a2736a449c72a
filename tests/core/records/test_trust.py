"""Standard errors of predictions, by hand and by drawing; predictions that cannot be true."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import clado_core as cc
from clado_core.records.trust import doubt, kind_of_doubt, prediction_error
from tests.core.instances import random_matrix, table


def _two_layers(parts: list[float], weights: list[float]) -> cc.SensitivityMatrix:
    """One candidate a layer; x'G_k·x is what is given."""
    part_G = np.array([[[value, 0.0], [0.0, 0.0]] for value in parts])
    G = np.tensordot(np.array(weights), part_G, 1)
    return cc.SensitivityMatrix(
        "two", G, table([4, 4]), (4,), part_G=part_G, part_weights=np.array(weights)
    )


def test_the_error_of_a_mean_by_hand() -> None:
    """Halves of 1, 2, 3, 6: mean 1.5, squared deviations 1 + 0.25 + 0 + 2.25, over 4 · 3."""
    matrix = _two_layers([1.0, 2.0, 3.0, 6.0], [0.25] * 4)
    assert prediction_error(matrix, (4, 4)) == pytest.approx(math.sqrt(3.5 / 12))


def test_what_two_choices_share_has_no_error_in_their_difference() -> None:
    matrix = random_matrix(np.random.default_rng(0), n_layers=4, bits=(2, 4))
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(6, 8, 8))
    noise[:, 2:, 2:] = noise[:1, 2:, 2:]
    part_G = matrix.G + (noise + noise.transpose(0, 2, 1)) / 2
    spread = dataclasses.replace(matrix, part_G=part_G, part_weights=np.full(6, 1 / 6))
    one, other = (2, 4, 2, 4), (2, 2, 2, 4)
    assert prediction_error(spread, one, one) == 0.0
    apart = prediction_error(spread, one, other)
    assert apart is not None and apart > 0
    values = [
        dataclasses.replace(matrix, G=G).predicted_loss_increase(one)
        - dataclasses.replace(matrix, G=G).predicted_loss_increase(other)
        for G in spread.part_G  # type: ignore[union-attr]
    ]
    assert apart == pytest.approx(np.std(values, ddof=1) / math.sqrt(6), rel=1e-5)


def test_without_parts_nothing_is_known() -> None:
    matrix = random_matrix(np.random.default_rng(0), n_layers=4, bits=(2, 4))
    assert prediction_error(matrix, (2, 2, 4, 4)) is None


def test_what_a_fit_left_open_counts_once_for_each_pair() -> None:
    """An error of 0.3 in the one pair moves x'Gx by 0.6 and the prediction by 0.3."""
    matrix = _two_layers([1.0, 1.0], [0.5, 0.5])
    error = np.array([[0.0, 0.3], [0.3, 0.0]])
    fitted = dataclasses.replace(matrix, fit_error=error)
    assert prediction_error(fitted, (4, 4)) == pytest.approx(0.3, rel=1e-6)


@pytest.mark.parametrize(
    ("base", "predicted", "kind"),
    [
        (0.5, 0.1, ""),
        (0.5, 0.0, ""),
        (0.5, -0.04, ""),
        (0.5, -0.06, "hardly possible"),
        (0.5, -0.49, "hardly possible"),
        (0.5, -0.51, "impossible"),
        (0.0, -1e-6, "impossible"),
        (0.0, 0.0, ""),
        (None, -7.0, ""),
    ],
)
def test_a_loss_far_below_the_float_networks_is_doubted(
    base: float | None, predicted: float, kind: str
) -> None:
    G = np.diag([2 * predicted, 0.0])
    matrix = cc.SensitivityMatrix("two", G, table([4, 4]), (4,), base_loss=base)
    assert kind_of_doubt(doubt(matrix, (4, 4))) == kind


def test_scatter_of_the_samples_excuses_a_little() -> None:
    """−0.06 of 0.5 with a standard error of 0.05 is within two of them from what can be."""
    sure = dataclasses.replace(_two_layers([-0.12] * 4, [0.25] * 4), base_loss=0.5)
    scattered = _two_layers([-0.32, 0.08, -0.32, 0.08], [0.25] * 4)
    unsure = dataclasses.replace(scattered, base_loss=0.5)
    assert kind_of_doubt(doubt(sure, (4, 4))) == "hardly possible"
    assert doubt(unsure, (4, 4)) == ""

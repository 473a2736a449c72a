import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clado_core as cc
from clado_core.errors import InputError
from tests.conftest import make_matrix


def test_worked_example(worked_example: cc.SensitivityMatrix) -> None:
    assert worked_example.objective((2, 2, 2)) == pytest.approx(5.80)
    assert worked_example.objective((2, 2, 4)) == pytest.approx(2.64)
    assert worked_example.objective((4, 4, 4)) == pytest.approx(0.48)
    assert worked_example.predicted_loss_increase((4, 4, 4)) == pytest.approx(0.24)


def test_single_losses_are_half_the_diagonal(worked_example: cc.SensitivityMatrix) -> None:
    np.testing.assert_allclose(worked_example.single_loss_increase[1], [0.80, 0.05])


@given(
    seed=st.integers(0, 10_000), choice=st.lists(st.sampled_from((2, 4, 8)), min_size=4, max_size=4)
)
def test_psd_projection_never_lowers_an_objective(seed: int, choice: list[int]) -> None:
    matrix = make_matrix(seed=seed)
    projected = matrix.project_psd()
    assert np.linalg.eigvalsh(projected.G)[0] > -1e-9
    assert projected.objective(tuple(choice)) >= matrix.objective(tuple(choice)) - 1e-9


@given(seed=st.integers(0, 10_000), shift=st.floats(-10, 10))
def test_a_shift_of_the_diagonal_moves_every_objective_alike(seed: int, shift: float) -> None:
    matrix = make_matrix(seed=seed)
    shifted = make_matrix(G=matrix.G + shift * np.eye(12))
    for bits in ((2, 2, 2, 2), (2, 4, 8, 2), (8, 8, 8, 8)):
        moved = shifted.objective(bits) - matrix.objective(bits)
        assert moved == pytest.approx(4 * shift, abs=1e-9)


def test_diagonal_only_drops_every_interaction(toy_matrix: cc.SensitivityMatrix) -> None:
    expected = toy_matrix.single_loss_increase[[0, 1, 2, 3], [0, 1, 2, 0]].sum() * 2
    assert toy_matrix.diagonal_only().objective((2, 4, 8, 2)) == pytest.approx(expected)


def test_within_blocks_keeps_interactions_of_a_block(toy_matrix: cc.SensitivityMatrix) -> None:
    kept = toy_matrix.within_blocks()
    np.testing.assert_array_equal(kept.blocks()[0, :, 1, :], toy_matrix.blocks()[0, :, 1, :])
    assert not kept.blocks()[0, :, 2, :].any()


def test_matrix_is_read_only_and_a_copy() -> None:
    G = np.eye(12)
    matrix = make_matrix(G=G)
    G[0, 0] = 99.0
    assert matrix.G[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        matrix.G[0, 0] = 2.0


def _changed(entry: tuple[int, int], value: float) -> np.ndarray:
    G = np.eye(12)
    G[entry] = value
    return G


@pytest.mark.parametrize(
    ("G", "sentence"),
    [
        (np.eye(11), r"shape \(11, 11\)"),
        (_changed((1, 4), np.nan), r"G\[1, 4\] is nan"),
        (_changed((0, 0), np.inf), r"G\[0, 0\] is inf"),
        (_changed((2, 5), 0.5), "not symmetric"),
    ],
)
def test_bad_matrices_are_refused_and_named(G: np.ndarray, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make_matrix(G=G)


def test_non_monotone_layers_are_reported() -> None:
    G = np.diag([1.0, 0.5, 0.6] * 4)
    assert make_matrix(G=G).non_monotone()[0] == ("block0.conv0", 4, 8)


def test_a_bit_width_outside_the_menu_is_named(toy_matrix: cc.SensitivityMatrix) -> None:
    with pytest.raises(InputError, match="cannot have 3 bits"):
        toy_matrix.objective((2, 3, 4, 8))

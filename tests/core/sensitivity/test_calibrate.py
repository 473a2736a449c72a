"""The fit of a Gram matrix to measured losses, by hand: three layers, one or two bit-widths."""

import itertools

import numpy as np
import pytest

from clado_core.sensitivity.calibrate import PAIRS_PER_CLASS, calibrate, pairs_to_fit


def symmetric(n, entries):
    """A matrix with ones on its diagonal and these entries above and below it."""
    found = np.eye(n)
    for (a, b), value in entries.items():
        found[a, b] = found[b, a] = value
    return found


def test_what_the_fit_leaves_says_how_far_off_the_other_entries_may_be():
    """g = (1, 2) and G = (3, 1): factor 5/5 = 1, left 2² + 1² of 1²·5, so the spread is 1."""
    gram = symmetric(3, {(0, 1): 1.0, (0, 2): 2.0, (1, 2): -4.0})
    measured = symmetric(3, {(0, 1): 3.0, (0, 2): 1.0}) + np.diag([5.0, 6.0, 7.0])
    found = calibrate(gram, measured, [(0, 1), (0, 2)], 1)
    expected = symmetric(3, {(0, 1): 3.0, (0, 2): 1.0, (1, 2): -4.0}) + np.diag([5.0, 6.0, 7.0])
    assert np.allclose(found.G, expected)
    assert found.uncertainty == pytest.approx(4 * np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0]]))


def test_the_spread_is_relative_to_the_fitted_entries():
    """g = (1, 1) and G = (1, 3): factor 2, left 1² + 1² of 2²·2, so the spread is 1/2."""
    gram = symmetric(3, {(0, 1): 1.0, (0, 2): 1.0, (1, 2): 3.0})
    measured = symmetric(3, {(0, 1): 1.0, (0, 2): 3.0})
    found = calibrate(gram, measured, [(0, 1), (0, 2)], 1)
    assert (found.G[1, 2], found.uncertainty[1, 2]) == pytest.approx((6.0, 3.0))


def test_a_pair_of_bit_widths_that_was_not_measured_keeps_its_entries_and_trusts_none():
    gram = symmetric(2, {(0, 1): -0.5})
    found = calibrate(gram, np.diag([3.0, 4.0]), [], 1)
    assert np.array_equal(found.G, [[3.0, -0.5], [-0.5, 4.0]])
    assert np.array_equal(found.uncertainty, [[0.0, 0.5], [0.5, 0.0]])


def test_a_fit_of_zero_says_nothing_of_the_others():
    """Losses that do not follow the Gram entries at all: G = 0 there, and no finite trust."""
    gram = symmetric(3, {(0, 1): 1.0, (0, 2): 1.0, (1, 2): 1.0})
    found = calibrate(gram, symmetric(3, {(0, 1): 1.0, (0, 2): -1.0}), [(0, 1), (0, 2)], 1)
    assert found.G[1, 2] == 0.0 and np.isfinite(found.uncertainty).all()


def test_each_pair_of_bit_widths_has_a_factor_of_its_own():
    gram = np.ones((6, 6))
    measured = np.arange(36.0).reshape(6, 6)
    measured += measured.T
    found = calibrate(gram, measured, [(0, 2), (1, 5), (0, 3)], 2)
    assert found.G[0, 4] == found.G[2, 4] == measured[0, 2]
    assert found.G[1, 3] == found.G[3, 5] == measured[1, 5]
    # The first layer at the one and the other at the other bit-width, either way round.
    assert found.G[1, 2] == found.G[2, 5] == found.G[3, 4] == measured[0, 3]
    assert found.G[0, 1] == found.G[2, 3] == 0.0, "of one layer"
    assert np.array_equal(found.G, found.G.T)
    assert np.array_equal(found.uncertainty, np.zeros((6, 6)))


def test_the_largest_entries_of_every_pair_of_bit_widths_are_fitted():
    rng = np.random.default_rng(0)
    gram = rng.normal(size=(10, 10))
    gram += gram.T
    found = pairs_to_fit(gram, 2)
    kinds = [tuple(sorted((a % 2, b % 2))) for a, b in found]
    for kind in itertools.combinations_with_replacement(range(2), 2):
        pairs = [
            (a, b)
            for a, b in itertools.combinations(range(10), 2)
            if a // 2 < b // 2 and tuple(sorted((a % 2, b % 2))) == kind
        ]
        largest = sorted(pairs, key=lambda pair: -abs(gram[pair]))[:PAIRS_PER_CLASS]
        assert [pair for pair, of in zip(found, kinds, strict=True) if of == kind] == largest

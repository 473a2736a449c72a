"""Intervals of accuracies and of their differences; outcomes as plain values and back."""

from __future__ import annotations

import numpy as np
import pytest

from clado_core.errors import InputError
from clado_core.records.image_outcomes import Drop, ImageOutcomes, drop_from, wilson_interval


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_interval(right: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1000])
def test_outcomes_survive_as_plain_values(n: int) -> None:
    right = np.random.default_rng(n).random(n) < 0.7
    again = ImageOutcomes.from_json(ImageOutcomes(right, 0.25).to_json())
    assert np.array_equal(again.right, right) and again.loss == 0.25
    assert again.n_right == right.sum() and again.top1 == right.mean()
    right[0] = not right[0]
    assert again.right[0] != right[0], "a record of its own"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"n": 3, "loss": 0.0, "right": "??"},
        {"n": 30, "loss": 0.0, "right": "4A=="},
        {"n": 0, "loss": 0.0, "right": ""},
        {"n": None, "loss": 0.0, "right": "4A=="},
        {"n": 3, "loss": "much", "right": "4A=="},
    ],
)
def test_other_values_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(InputError):
        ImageOutcomes.from_json(values)


def test_a_drop_counts_the_images_that_changed() -> None:
    reference = ImageOutcomes(np.array([1, 1, 1, 1, 0, 0, 0, 1, 1, 1], dtype=bool), 0.1)
    outcomes = ImageOutcomes(np.array([1, 0, 0, 0, 1, 0, 0, 1, 1, 1], dtype=bool), 0.2)
    drop = drop_from(reference, outcomes)
    assert (drop.lost, drop.gained, drop.share) == (3, 1, 0.2)
    low, high = drop.ci95
    assert low < 0.2 < high
    with pytest.raises(InputError, match="cannot be compared"):
        drop_from(reference, ImageOutcomes(reference.right[:9], 0.1))


def test_the_interval_of_a_drop_is_the_published_one() -> None:
    """By hand: n + 2 = 102, p₁ = 13/102, p₂ = 5/102, 1.96·√((18/102 − (8/102)²)/102)."""
    assert Drop(12, 4, 100).ci95 == pytest.approx((-0.001678, 0.158541), abs=2e-5)


def test_the_interval_of_a_drop_covers_as_often_as_it_says() -> None:
    """Of 4,000 draws, 400 images of which 5 % get lost and 2 % gained; and hardly any that do."""
    draw = np.random.default_rng(0)
    for lost, gained in ((0.05, 0.02), (0.004, 0.001)):
        counts = draw.multinomial(400, [lost, gained, 1 - lost - gained], size=4000)
        intervals = [Drop(int(a), int(b), 400).ci95 for a, b, _ in counts]
        covered = np.mean([low <= lost - gained <= high for low, high in intervals])
        assert covered > 0.935


def test_nothing_that_changed_is_no_proof_of_equality() -> None:
    low, high = Drop(0, 0, 200).ci95
    assert low == -high and 0.005 < high < 0.03

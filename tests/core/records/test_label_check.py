"""Wrong labels are noticed: by chance, by a shift, by the number of classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clado_core.errors import InputError
from clado_core.records.label_check import LabelCheck, check_labels
from clado_core.records.provenance import Provenance

CLASSES = 10


def answers(labels: np.ndarray, right: float, *, seed: int = 0) -> np.ndarray:
    """Of a network that is right on a share of the samples and guesses on the others."""
    random = np.random.default_rng(seed)
    guesses = random.integers(0, CLASSES, len(labels))
    return np.where(random.random(len(labels)) < right, labels, guesses)


def labels_of(n: int = 400, *, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CLASSES, n)


def test_counts_and_chance_by_hand():
    found = check_labels(np.array([0, 1, 1, 2]), np.array([0, 1, 0, 1]), classes=4, named=4)
    assert found.as_given.right == 2 and found.accuracy == 0.5
    assert found.as_given.chance == pytest.approx(0.25 * 0.5 + 0.5 * 0.5)
    # Labels + 1 are 1, 2, 1, 2: the third and fourth agree.
    assert found.raised.right == 2
    assert found.raised.chance == pytest.approx(0.5 * 0.5 + 0.25 * 0.5)
    # Labels − 1 are −1, 0, −1, 0: none agrees; half of them cannot be answers.
    assert found.lowered.right == 0
    assert found.lowered.chance == pytest.approx(0.25 * 0.5)


@pytest.mark.parametrize("right", [0.3, 0.9, 1.0])
def test_a_network_that_knows_its_classes_is_not_warned_of(right):
    found = check_labels(answers(labels_of(), right), labels_of(), classes=CLASSES, named=CLASSES)
    assert not found.is_near_chance and found.shift == 0 and found.warnings == ()


def test_answers_that_know_nothing_are_near_chance():
    found = check_labels(answers(labels_of(), 0.0), labels_of(), classes=CLASSES)
    assert found.is_near_chance
    (sentence,) = found.warnings
    assert (
        f"{found.accuracy:.1%} of the 400 samples" in sentence
        and "no better than chance" in sentence
    )


def test_one_answer_to_everything_is_chance_even_where_it_is_often_right():
    labels = np.array([0] * 90 + [1] * 10)
    found = check_labels(np.zeros(100, dtype=np.int64), labels, classes=2)
    assert found.accuracy == 0.9 and found.is_near_chance and found.shift == 0


def test_labels_all_alike_can_still_be_right():
    found = check_labels(np.full(50, 3), np.full(50, 3), classes=CLASSES)
    assert found.as_given.chance == 0.1 and not found.is_near_chance


@pytest.mark.parametrize(("by", "word"), [(1, "raised"), (-1, "lowered")])
def test_shifted_labels_are_named_with_both_shares(by, word):
    labels = np.random.default_rng(0).integers(1, CLASSES - 1, 300)
    found = check_labels(answers(labels, 0.8), labels - by, classes=CLASSES)
    other = found.raised if by > 0 else found.lowered
    assert found.shift == by and other.right > 200
    (sentence,) = found.warnings
    assert f"with each {word} by one" in sentence and f"{other.right / 300:.1%}" in sentence
    assert f"as given {found.accuracy:.1%}" in sentence


def test_a_background_class_is_named():
    """1,001 scores, the first of them for the background; labels count without it."""
    labels = np.arange(300)
    (count, sentence) = check_labels(labels + 1, labels, classes=1001, named=1000).warnings
    assert "1,001 classes apart and the data has 1,000" in count
    assert "100.0% of the 300 samples right, as given 0.0%" in sentence
    assert "background class" in sentence


def test_neighbouring_classes_that_are_taken_for_each_other_are_no_shift():
    """Of ages, say: right on half of them, one too high on the others."""
    labels = np.random.default_rng(0).integers(0, CLASSES - 1, 400)
    found = check_labels(labels + (np.arange(400) % 2), labels, classes=CLASSES)
    assert found.shift == 0 and not found.is_near_chance


def test_a_number_of_classes_that_differs_is_told():
    labels = labels_of() % 3
    (sentence,) = check_labels(answers(labels, 0.9), labels, classes=CLASSES, named=3).warnings
    assert "10 classes apart and the data has 3" in sentence


@given(st.data())
def test_what_is_stored_is_read_back(data):
    n, classes = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 5))
    drawn = st.lists(st.integers(0, classes - 1), min_size=n, max_size=n).map(np.array)
    named = data.draw(st.none() | st.integers(1, 9))
    found = check_labels(data.draw(drawn), data.draw(drawn), classes=classes, named=named)
    about = Provenance(labels=found, classes=("a", "b"))
    assert Provenance.from_json(about.to_json()) == about
    assert 0 <= found.as_given.p_value(n) <= 1 and found.as_given.right <= n


def test_older_provenance_has_neither_and_is_written_as_before():
    assert not {"classes", "labels"} & Provenance().to_json().keys()


GOOD = check_labels(np.zeros(4, dtype=np.int64), np.arange(4), classes=4).to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"n": 0},
        {"n": 4.0},
        {"classes": 0},
        {"named": 0},
        {"named": -1},
        {"as_given": {"right": 5, "chance": 0.1}},
        {"raised": {"right": 1, "chance": 2.0}},
        {"lowered": {"right": True, "chance": 0.5}},
        {"raised": 3},
        {"other": 1},
        {"lowered": {"right": 1}},
    ],
)
def test_stored_numbers_that_cannot_be_are_refused(change):
    with pytest.raises((InputError, TypeError)):
        LabelCheck.from_json(GOOD | change)

"""Data that a caller holds: every form gives the same samples; others are one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from clado_core.data.in_memory import as_samples
from clado_core.data.sources import Samples
from clado_core.errors import InputError

X = torch.arange(10 * 2 * 3 * 3, dtype=torch.float32).reshape(10, 2, 3, 3)
Y = torch.arange(10)


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    yield X[:4], Y[:4]
    yield X[4:], Y[4:]


FORMS: dict[str, Callable[[], object]] = {
    "samples": lambda: Samples(X, Y, "mine"),
    "tensors": lambda: (X, Y),
    "a list of both": lambda: [X, Y],
    "arrays": lambda: (X.numpy(), Y.numpy()),
    "doubles": lambda: (X.double(), Y.int()),
    "loader": lambda: DataLoader(TensorDataset(X, Y), batch_size=3),
    "two batches": lambda: list(batches()),
    "generator": batches,
    "batches with weights": lambda: [(X[:4], Y[:4], X[:4, 0]), (X[4:], Y[4:], X[4:, 0])],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [None, 1, 4, 5, 10])
def test_every_form_gives_the_same_samples_in_order(form: str, n: int | None) -> None:
    found = as_samples(FORMS[form](), n=n)
    assert torch.equal(found.x, X[:n]) and torch.equal(found.y, Y[:n])


def test_no_more_is_read_than_asked_for() -> None:
    read = []

    def endless() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            read.append(1)
            yield X[:2], Y[:2]

    assert len(as_samples(endless(), n=5)) == 5
    assert len(read) == 3


def test_inputs_alone_serve_a_loss_without_labels() -> None:
    for data in (X, [X[:4], X[4:], X[:0]], [(X,)]):
        assert torch.equal(as_samples(data, labels=False).x, X)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "of type NoneType"),
        ("digits", "of type str"),
        ([], "no samples; a generator can be read only once"),
        (X, "has no labels"),
        ([{"pixel_values": X}], "of type dict"),
        ([1, 2], "of type int"),
        ((X[0], Y), "have shape (2, 3, 3)"),
        ((X, Y[:4]), "10 inputs and labels of shape (4,)"),
        ((X, torch.eye(10)), "whole numbers"),
        (((X * 255).to(torch.uint8), Y), "torch.uint8"),
        (TensorDataset(X, Y), "of type TensorDataset"),
    ],
)
def test_other_forms_are_one_sentence(data: Any, said: str) -> None:
    with pytest.raises(InputError) as raised:
        as_samples(data)
    assert said in str(raised.value)


def test_too_few_are_refused() -> None:
    with pytest.raises(InputError, match="has 10 samples; ask for 1 to 10, not 11"):
        as_samples((X, Y), n=11)


def test_the_callers_arrays_are_not_changed() -> None:
    x, y = X.numpy().copy(), Y.numpy().copy()
    as_samples((x, y)).x.add_(1.0)
    assert np.array_equal(x, X.numpy()) and np.array_equal(y, Y.numpy())

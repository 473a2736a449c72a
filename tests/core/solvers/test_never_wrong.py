"""Every way to solve a problem gives the optimum, and says so."""

from __future__ import annotations

import pytest

from clado_core.solvers.toulbar2 import is_installed
from clado_core.solvers.toulbar2_process import savings
from tests.core.instances import random_problem
from tests.core.solvers.fuzz import by_toulbar2, disagreements

WRONG_WITH_NEGATIVE_WEIGHTS = [141, 2875, 3690, 4084, 4544, 4951, 5615, 6242, 6678, 6697, 7004]
"""Of 8,000 problems, those of which pytoulbar2 1.4.0.1 proves a worse answer with a "<="."""


def test_some_random_problems() -> None:
    assert not list(disagreements(range(60)))


@pytest.mark.skipif(not is_installed(), reason="pytoulbar2 is not installed")
def test_where_toulbar2_was_wrong() -> None:
    assert not list(disagreements(WRONG_WITH_NEGATIVE_WEIGHTS))
    assert by_toulbar2(random_problem(141)).solver == "toulbar2"


def test_a_budget_is_what_is_saved_at_least() -> None:
    """Two layers of 10 and 20 weights at 2, 4 and 8 bits within 120 bits: at least 120 saved."""
    cost = [20, 40, 80, 40, 80, 160]
    saved, least = savings(cost, 120, [range(3), range(3, 6)])
    assert least == 120
    assert saved == [(0, 0, 60), (0, 1, 40), (0, 2, 0), (1, 0, 120), (1, 1, 80), (1, 2, 0)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thousands_of_random_problems() -> None:
    assert not list(disagreements(range(60, 2000)))

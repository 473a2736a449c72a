"""Evidence in few numbers, on outcomes made by hand."""

import pytest

from clado_core.evidence.choices import Choice
from clado_core.evidence.record import Evidence, Outcome
from clado_core.evidence.significance import PairedComparison
from clado_core.evidence.summary import gains, mean_gain, tight_budgets


def outcome(method, budget, top1, paired=None):
    choice = Choice(method, budget, (2, int(budget)), budget, 100, 1.0 - top1, "optimal")
    return Outcome(
        choice,
        top1,
        (top1 - 0.01, top1 + 0.01),
        1 - top1,
        top1,
        {} if paired is None else {"clado": paired},
    )


EVIDENCE = Evidence(
    "net",
    "net",
    {},
    1000,
    0.90,
    0.05,
    (
        outcome("uniform", 2.0, 0.10),
        outcome("clado", 2.5, 0.80),
        outcome("diagonal", 2.5, 0.70, PairedComparison(130, 30, 1e-9)),
        outcome("block", 2.5, 0.81, PairedComparison(20, 30, 0.2)),
        outcome("clado", 3.0, 0.86),
        outcome("diagonal", 3.0, 0.88, PairedComparison(10, 30, 0.002)),
        outcome("block", 3.0, 0.86, PairedComparison(0, 0, 1.0)),
        outcome("clado", 4.0, 0.90),
        outcome("diagonal", 4.0, 0.89, PairedComparison(12, 2, 0.01)),
    ),
    {},
)


def test_tight_is_where_diagonal_or_uniform_loses_two_points():
    assert tight_budgets(EVIDENCE) == (2.0, 2.5, 3.0)


def test_gains_average_tight_budgets_and_count_significance_everywhere():
    diagonal, block, uniform = gains(EVIDENCE)
    assert (diagonal.against, block.against, uniform.against) == ("diagonal", "block", "uniform")
    assert diagonal.points == pytest.approx((0.10 - 0.02) / 2)
    assert (diagonal.wins, diagonal.losses, diagonal.budgets) == (2, 1, (2.5, 3.0))
    assert block.points == pytest.approx(-0.005) and (block.wins, block.losses) == (0, 0)
    assert uniform.points is None, "clado has no choice at exactly two bits"


def test_predictions_are_ranked_against_either_set_of_images():
    assert EVIDENCE.rank_correlation(None) == pytest.approx(1)
    assert EVIDENCE.rank_correlation(None, held_out=False) == pytest.approx(-1)


def test_mean_gain_is_over_networks():
    assert mean_gain([EVIDENCE, EVIDENCE], "clado", "diagonal") == pytest.approx(0.04)
    assert mean_gain([EVIDENCE], "clado", "uniform") is None
    assert mean_gain([], "clado", "diagonal") is None

"""``solve --max-loss``: the command of the inverse question."""

from __future__ import annotations

from argparse import Namespace

import pytest

import clado_core as cc
from clado_core.cli import main
from clado_core.cli.max_loss import within_loss, within_loss_lines
from clado_core.solvers import LocalSearchSolver
from tests.conftest import ROOT
from tests.core.commands import call

RESNET = str(ROOT / "assets" / "digits-resnet.clado")


def test_it_says_the_size_and_that_fewer_bits_do_not_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--max-loss", "0.05", "--pin", "head=8")
    code, result, _ = call(capsys, "solve", RESNET, *words)
    found = result["within_loss"]
    assert code == 0 and result["predicted_loss_increase"] <= 0.05 and found["proven"]
    assert found["too_few_bits"] == result["size_bits"] - 1 and result["assignment"]["head"] == 8
    matrix = cc.load(RESNET)
    fewer = cc.AllocationProblem(matrix, budget_bits=found["too_few_bits"], pins={"head": 8})
    assert cc.TieredSolver().solve(fewer).bound > 0.05 * 2


def test_the_smallest_of_all_needs_no_proof(capsys: pytest.CaptureFixture[str]) -> None:
    code, result, _ = call(capsys, "solve", RESNET, "--max-loss", "9")
    assert code == 0 and set(result["assignment"].values()) == {2}
    assert result["within_loss"]["proven"] and result["within_loss"]["too_few_bits"] is None


def test_what_is_open_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Local search proves nothing."""
    words = ["--max-loss", "0.05", "--solver", "local-search"]
    assert main(["solve", RESNET, *words]) == 0
    assert "Not proven to be the smallest; more time" in capsys.readouterr().out
    lines = within_loss_lines(
        {"max_loss": 0.05, "proven": False, "too_few_bits": 9, "too_few_avg_bits": 2.9999}
    )
    assert lines[1] == "Proven: no choice of 2.999 bits on average or fewer predicts at most 0.05."


def test_the_best_of_a_size_that_may_not_be_the_smallest_is_not_called_optimal() -> None:
    problem = cc.AllocationProblem(cc.load(RESNET))
    size = cc.smallest_size(problem, max_loss=0.05).solution.assignment.size_bits

    class OfThatSize(cc.TieredSolver):
        def solve(self, problem, /, **options):  # type: ignore[no-untyped-def]
            proves = problem.budget_bits == size
            return (cc.TieredSolver() if proves else LocalSearchSolver()).solve(problem, **options)

    arguments = Namespace(max_loss=0.05, time_limit=None)
    solution, result = within_loss(arguments, problem, OfThatSize())
    assert solution.status is cc.SolveStatus.OPTIMAL and not result["within_loss"]["proven"]
    assert result["status"] == "heuristic" and "not proven" in result["status_sentence"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--max-loss", "-9"), "the least is -0.00229"),
        (("--max-loss", "nan"), "not a number"),
        (("--max-loss", "0.1", "--avg-bits", "3"), "--avg-bits limits it"),
        (("--max-loss", "0.1", "--max-drop", "3"), "--max-loss limits it"),
        (("--max-loss", "0.1", "--k-best", "3"), "without --k-best"),
        (("--max-loss", "0.1", "--method", "diagonal"), "without --method diagonal"),
    ],
)
def test_what_contradicts_it_is_one_sentence(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = call(capsys, "solve", RESNET, *words)
    assert code == 2 and said in error and "Traceback" not in error

"""``frontier --grid``: the command of two budgets at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import clado_core as cc
from clado_core.cli import main
from clado_core.cli.budget_grid import grid_table
from tests.conftest import ROOT
from tests.core.commands import call

RESNET = str(ROOT / "assets" / "digits-resnet.clado")


def test_it_solves_every_pair_and_keeps_wishes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "grid.json"
    words = ("--grid", "bops", "--points", "4", "--pin", "head=8", "--out", str(out))
    code, result, _ = call(capsys, "frontier", RESNET, *words)
    assert code == 0 and len(result["points"]) == 16 and not result["out_of_reach"]
    assert json.loads(out.read_text()) == result
    matrix = cc.load(RESNET)
    for point in result["points"]:
        assert point["status"] == "optimal" and point["assignment"]["head"] == 8
        assert point["size_bits"] <= point["budget_bits"]
        assert point["bops"] <= point["budget_bops"]
    some = result["points"][6]
    budgets = {name: some[name] for name in ("budget_bits", "budget_bops")}
    alone = cc.TieredSolver().solve(cc.AllocationProblem(matrix, pins={"head": 8}, **budgets))
    assert some["objective"] == pytest.approx(alone.objective)


def test_the_table_has_a_row_for_each_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["frontier", RESNET, "--grid", "bops", "--points", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["10⁹", "BOPs", "\\", "bits", "2.00", "5.00", "8.00", "most"]
    assert lines[3].split()[0] == "0.274" and lines[3].split()[-1] == "8.00"
    assert [line.split()[0] for line in lines[6:8]] == ["most", "fewest"] and len(lines) == 8


def test_marks_are_explained() -> None:
    point = {"budget_bits": 10, "budget_bops": 10**9, "predicted_loss_increase": -1.0}
    table = grid_table(
        {
            "budget_bits": [10, 20],
            "budget_bops": [10**9],
            "avg_bits": [1.0, 2.0],
            "most_avg_bits": [2.0],
            "reach": {"fewest_bops": [1, 2], "most_bops": [3, 4]},
            "points": [point | {"status": "time_limit", "doubt": "Impossible: ..."}],
            "out_of_reach": [{"budget_bits": 20, "budget_bops": 10**9, "proven": False}],
        }
    )
    assert "-1*?" in table and "* not proven optimal" in table and "? cannot be true" in table
    assert "– no choice keeps both, or none was found" in table


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--store",), "--store keeps a front over sizes: give --grid without it."),
        (("--jobs", "2"), "--jobs is for a front over sizes: give --grid without it."),
        (("--points", "9999"), "is too large"),
    ],
)
def test_what_contradicts_it_is_one_sentence(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = call(capsys, "frontier", RESNET, "--grid", "bops", *words)
    assert code == 2 and said in error and "Traceback" not in error

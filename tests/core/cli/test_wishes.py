"""Wishes and budgets on the command line: what contradicts is refused, what is printed works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import clado_core as cc
from tests.core.commands import call


@pytest.fixture
def artifact(tmp_path: Path, toy_matrix: cc.SensitivityMatrix) -> str:
    cc.save_matrix(toy_matrix, tmp_path / "toy.clado")
    return str(tmp_path / "toy.clado")


@pytest.mark.parametrize(
    ("option", "name", "values"),
    [
        ("--pin", "block0.conv0", ("8", "4")),
        ("--allow", "block0.conv0", ("2", "8")),
        ("--allow", "block0.conv0", ("2,4", "4,8")),
        ("--min-bits", "block0.*", ("8", "4")),
    ],
)
def test_a_wish_given_twice_that_contradicts_is_refused_with_both(
    artifact: str,
    option: str,
    name: str,
    values: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    wishes = [word for value in values for word in (option, f"{name}={value}")]
    code, result, sentence = call(capsys, "solve", artifact, *wishes)
    assert (code, result, sentence.count("\n")) == (2, {}, 1)
    assert all(f"{name}={value}" in sentence for value in values)


@pytest.mark.parametrize(
    "wishes",
    [
        ("--pin", "block0.conv0=8", "--pin", " block0.conv0 = 8"),
        ("--allow", "block0.conv0=4,8", "--allow", "block0.conv0=8, 4"),
        ("--min-bits", "block0.*=4", "--min-bits", "block0.*=4"),
        ("--avg-bits", "4", "--avg-bits", "4.0"),
    ],
)
def test_the_same_wish_twice_is_one_wish(
    artifact: str, wishes: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    twice, once = (call(capsys, "solve", artifact, *words) for words in (wishes, wishes[:2]))
    assert twice[0] == once[0] == 0
    assert twice[1]["assignment"] == once[1]["assignment"]


@pytest.mark.parametrize("option", ["--avg-bits", "--size-mb", "--bops"])
def test_two_budgets_of_one_kind_are_refused(
    artifact: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, sentence = call(capsys, "solve", artifact, option, "1e7", option, "2e7")
    assert (code, sentence.count("\n")) == (2, 1)
    assert option in sentence and "10000000.0" in sentence and "20000000.0" in sentence


@pytest.mark.parametrize("option", ["--avg-bits", "--size-mb", "--bops"])
@pytest.mark.parametrize("value", ["1e20", "1e308", "9" * 200])
def test_a_budget_larger_than_every_size_limits_nothing(
    artifact: str, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    free = call(capsys, "solve", artifact)[1]["assignment"]
    code, result, _ = call(capsys, "solve", artifact, option, value)
    assert (code, result["assignment"]) == (0, free)


@pytest.mark.parametrize("option", ["--avg-bits", "--size-mb"])
def test_the_budget_that_a_refusal_suggests_is_accepted(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = cc.LayerTable(
        (cc.LayerInfo("a", "linear", (1234000, 891)), cc.LayerInfo("b", "linear", (7, 11)))
    )
    cc.save_matrix(cc.SensitivityMatrix("m", np.eye(4), layers, (3, 8)), tmp_path / "m.clado")
    words = ("solve", str(tmp_path / "m.clado"), "--pin", "b=8", option)
    code, _, sentence = call(capsys, *words, "0.001")
    assert code == 2
    suggested = sentence.rpartition("at least ")[2].split()[0]
    assert call(capsys, *words, suggested)[0] == 0


def test_arrays_of_impossible_sizes_are_refused(
    tmp_path: Path, toy_matrix: cc.SensitivityMatrix, capsys: pytest.CaptureFixture[str]
) -> None:
    names = np.array(toy_matrix.layers.names)
    for count, expected in ((10**13, 0), (10**18, 2), (1e300, 2)):
        weights = np.full(len(names), count)
        source, out = tmp_path / "m.npz", tmp_path / "m.clado"
        np.savez(source, G=toy_matrix.G, layer_names=names, n_weights=weights, bits=[2, 4, 8])
        code, _, sentence = call(capsys, "import", str(source), "--out", str(out))
        assert (code, sentence.count("\n")) == (expected, expected // 2)
    assert call(capsys, "solve", str(out), "--avg-bits", "4")[1]["avg_bits"] <= 4


@pytest.mark.parametrize("solver", ["tiered", "scip", "daqp", "local-search"])
def test_a_time_limit_longer_than_any_solve_limits_nothing(
    artifact: str, solver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("solve", artifact, "--avg-bits", "4", "--solver", solver)
    free = call(capsys, *words)[1]["assignment"]
    code, result, _ = call(capsys, *words, "--time-limit", "1e300")
    assert (code, result["assignment"]) == (0, free)

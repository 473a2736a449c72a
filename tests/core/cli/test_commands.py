"""The command line as users run it: exit codes, one sentence per mistake, nothing but JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import clado_core as cc
from clado_core.allocation.stored import (
    frontier_path,
    load_frontier,
    load_shifts,
    save_frontier,
    shifts_path,
)
from clado_core.cli import COMMANDS, main
from tests.conftest import make_matrix


@pytest.fixture
def artifact(tmp_path: Path, toy_matrix: cc.SensitivityMatrix) -> str:
    cc.save_matrix(toy_matrix, tmp_path / "toy.clado")
    return str(tmp_path / "toy.clado")


@pytest.fixture
def arrays(tmp_path: Path, toy_matrix: cc.SensitivityMatrix) -> dict[str, object]:
    return {
        "G": toy_matrix.G,
        "layer_names": np.array(toy_matrix.layers.names),
        "n_weights": toy_matrix.layers.n_weights,
        "bits": np.array(toy_matrix.bit_widths),
        "base_loss": np.array(0.5),
    }


def _sentence(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


def test_solve_prints_the_promised_keys(artifact: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", artifact, "--avg-bits", "4", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    promised = (
        "assignment status objective predicted_loss_increase bound gap size_bits size_bytes "
        "avg_bits runtime_s first_answer_s solver method"
    )
    assert set(promised.split()) <= set(result)
    assert result["status"] == "optimal"
    assert result["avg_bits"] <= 4


def test_budgets_and_wishes_hold_together(
    artifact: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wishes = ["--pin", "block0.conv0=8", "--tie", "block0.conv1,block1.conv2"]
    wishes += ["--min-bits", "block1.*=4"]
    budgets = ["--avg-bits", "6", "--size-mb", "0.00156", "--bops", "1e6"]
    assert main(["solve", artifact, *budgets, *wishes, "--json"]) == 0
    bits = json.loads(capsys.readouterr().out)["assignment"]
    assert bits["block0.conv0"] == 8
    assert bits["block0.conv1"] == bits["block1.conv2"] >= 4


def test_a_budget_under_the_minimum_exits_2_and_names_the_smallest(
    artifact: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["solve", artifact, "--avg-bits", "1.5"]) == 2
    assert "smallest feasible size is 1,296" in _sentence(capsys)


@pytest.mark.parametrize("option", ["--time-limit", "--gap", "--avg-bits", "--size-mb", "--bops"])
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "four"])
def test_numbers_that_are_none_exit_2_with_one_sentence(
    artifact: str, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["solve", artifact, f"{option}={value}"])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    _sentence(capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--avg-bits", "-3"],
        ["--pin", "conv1=8"],
        ["--pin", "conv1"],
        ["--allow", "block0.conv0=3"],
        ["--allow", "block0.conv0"],
        ["--prices", "--psd"],
        ["--pin", "block0.conv0=3"],
        ["--tie", "block0.conv0,nowhere"],
        ["--min-bits", "stage9*=4"],
    ],
)
def test_wrong_options_exit_2_with_one_sentence(
    artifact: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["solve", artifact, *arguments]) == 2
    _sentence(capsys)


def test_a_missing_artifact_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", "nowhere.clado"]) == 2
    assert "There is no artifact" in _sentence(capsys)


def test_a_wrong_call_names_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["solve"])
    assert stopped.value.code == 2
    assert "--help" in _sentence(capsys)


def test_import_makes_the_same_matrix(
    tmp_path: Path, arrays: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "m.npz", **arrays)  # type: ignore[arg-type]
    out = tmp_path / "m.clado"
    assert main(["import", str(tmp_path / "m.npz"), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"] == 4
    np.testing.assert_array_equal(cc.load(out).G, arrays["G"])


def _unsymmetric(n: int) -> np.ndarray:
    G = np.eye(n)
    G[0, 1] = 1.0
    return G


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"G": np.full((12, 12), np.nan)}, "nan"),
        ({"G": _unsymmetric(12)}, "symmetric"),
        ({"G": np.eye(9)}, "shape"),
        ({"G": np.array(["a"])}, "real numbers"),
        ({"n_weights": np.array([1, 2, -3, 4])}, "n_weights"),
        ({"n_weights": np.array([1, 2])}, "n_weights"),
        ({"n_weights": np.array([1.5, 2, 3, 4])}, "whole numbers"),
        ({"bits": np.array([8, 4, 2])}, "ascend"),
        ({"bits": np.array([2, 4, 64])}, "from 2 to 8"),
        ({"layer_names": np.array(["a", "a", "b", "c"])}, "unique"),
        ({"layer_names": np.array([{"x": 1}, 2, 3, 4], dtype=object)}, "plain arrays"),
    ],
)
def test_unusable_arrays_exit_2_and_are_named(
    tmp_path: Path,
    arrays: dict[str, object],
    change: dict[str, object],
    word: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.savez(tmp_path / "m.npz", **(arrays | change))  # type: ignore[arg-type]
    out = tmp_path / "m.clado"
    assert main(["import", str(tmp_path / "m.npz"), "--out", str(out)]) == 2
    assert word in _sentence(capsys)
    assert not out.exists()


def test_import_refuses_what_is_no_npz(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.npz").write_text("hello")
    assert main(["import", str(tmp_path / "m.npz"), "--out", str(tmp_path / "m.clado")]) == 2
    _sentence(capsys)


def test_info_reports_checks(artifact: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", artifact, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["checks"]["negative_eigenvalues"] >= 0
    assert len(result["layers"]) == 4


def test_frontier_is_stored_and_monotone(
    artifact: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "front.json"
    assert main(["frontier", artifact, "--points", "7", "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads(out.read_text())["points"] == printed["points"]
    losses = [point["predicted_loss_increase"] for point in printed["points"]]
    assert losses == sorted(losses, reverse=True)
    assert all("budget_bits" in point for point in printed["points"])


def test_prices_and_runners_up(artifact: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--avg-bits", "4", "--pin", "block0.conv0=2", "--prices", "--k-best", "3"]
    assert main(["solve", artifact, *options, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (price,) = result["prices"]
    assert price["layer"] == "block0.conv0"
    assert price["predicted_loss_increase"] >= -1e-9
    losses = [other["predicted_loss_increase"] for other in result["k_best"]]
    assert len(losses) == 3
    assert losses == sorted(losses)
    assert losses[0] == result["predicted_loss_increase"]


@pytest.mark.parametrize("solver", ["tiered", "scip", "daqp", "local-search"])
def test_every_solver_finds_the_optimum(
    artifact: str, solver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["solve", artifact, "--avg-bits", "4", "--solver", solver, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    problem = cc.AllocationProblem(cc.load(artifact), budget_bits=2592)
    best = cc.EnumerationSolver().solve(problem)
    assert found["objective"] == pytest.approx(best.objective, rel=1e-9)


def test_a_certificate_is_kept_beside_its_artifact_and_used_by_it_alone(
    artifact: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["certify", artifact, "--sizes", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["sizes_bits"]) == 3
    kept = load_shifts(artifact)
    assert kept is not None
    assert len(kept.sizes_bits) == 3
    cc.save_matrix(make_matrix(seed=5), artifact)
    assert load_shifts(artifact) is None
    shifts_path(artifact).write_bytes(b"damaged")
    assert load_shifts(artifact) is None


def _halve_first(path: Path, field: str) -> None:
    """A file that another program, or a hand, changed."""
    text = path.read_text()
    start = text.index(field) + len(field) + 2
    end = start + re.search("[,}]", text[start:]).start()  # type: ignore[union-attr]
    number = json.loads(text[start:end])
    path.write_text(text[:start] + json.dumps(type(number)(number / 2)) + text[end:])


def test_a_stored_frontier_is_found_again(
    artifact: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["frontier", artifact, "--points", "4", "--store", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    stored = load_frontier(artifact, cc.load(artifact))
    assert stored is not None
    assert stored.to_json() == printed
    for change in ('"objective"', '"bound"', '"budget_bits"'):
        _halve_first(frontier_path(artifact), change)
        assert load_frontier(artifact, cc.load(artifact)) is None
        save_frontier(stored, artifact)
    assert load_frontier(artifact, cc.load(artifact)) is not None
    assert main(["frontier", artifact, "--store", "--pin", "block0.conv0=8"]) == 2
    _sentence(capsys)


def test_export_writes_what_solve_printed(
    artifact: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["solve", artifact, "--avg-bits", "4", "--json"]) == 0
    chosen = tmp_path / "chosen.json"
    chosen.write_text(capsys.readouterr().out)
    out = tmp_path / "chosen.csv"
    options = ["--assignment", str(chosen), "--format", "csv", "--out", str(out)]
    assert main(["export", artifact, *options]) == 0
    assert out.read_text().startswith("name,type,shape,numel,bits")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"python -m clado_core {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [(["dashboard", "--", "--help"], "--no-browser"), (["solve", "--peers", "--help"], "gurobipy")],
)
def test_a_benchmarks_own_options_are_passed_on(
    words: list[str], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["bench", *words])
    assert left.value.code == 0
    assert told in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["info", "a.clado"], False),
        (["measure", "digits-vit"], True),
        (["solve", "a.clado", "--avg-bits", "3"], False),
        (["solve", "a.clado", "--max-drop", "0"], True),
        (["evaluate", "a.clado", "--front"], True),
        (["evaluate", "a.clado", "--assignment", "chosen.json"], False),
    ],
)
def test_ctrl_c_says_whether_the_command_goes_on_where_it_was(
    words: list[str],
    kept: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"clado_core.cli.{words[0]}.run", interrupted)
    assert main(words) == 130
    sentence = _sentence(capsys)
    assert sentence.startswith("Stopped.") and ("same command continues" in sentence) == kept

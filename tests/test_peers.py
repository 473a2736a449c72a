"""The benchmark's peers answer what they are asked, and none is believed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clado_core import AllocationProblem
from clado_core.solvers import EnumerationSolver
from tests.benchmarks.peer_check import Run, check, compare, difference
from tests.benchmarks.peer_run import OURS, measure, missing_sentence, run, verdict
from tests.benchmarks.peers import PEERS, Peer, PeerAnswer, answer_of
from tests.core.instances import all_assignments, average, random_matrix
from tests.peers_table import peers_table


@pytest.mark.parametrize("kind", ["indefinite", "psd"])
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_agrees_with_enumeration(peer: Peer, kind: str) -> None:
    """At a tight budget and a loose one, of which one matrix is tiny in size."""
    if not peer.is_installed:
        pytest.skip(f"{peer.package} is not installed")
    rng = np.random.default_rng(3)
    for avg_bits, factor in ((3.0, 1.0), (5.0, 1e-6)):
        matrix = random_matrix(rng, n_layers=6, bits=(2, 4, 8), kind=kind)
        problem = average(matrix.with_G(factor * matrix.G), avg_bits)
        optimum, _ = all_assignments(problem)[0]
        found = peer.solve(problem, 60.0)
        assert found.is_proven and found.assignment is not None
        assert problem.is_feasible(found.assignment)
        assert problem.matrix.objective(found.assignment.bits) == pytest.approx(optimum, rel=1e-6)
        assert found.objective == pytest.approx(optimum, rel=1e-5)
        if found.bound is not None:
            assert found.bound <= optimum + 1e-5 * abs(optimum)


def test_peers_refuse_what_their_formulations_leave_out() -> None:
    with pytest.raises(ValueError, match="no other wishes"):
        PEERS[0].solve(replace(_problem(), pins={"l0": 4}), 1.0)


def test_an_answer_that_breaks_the_budget_or_lies_is_told() -> None:
    problem = _problem()
    best = answer_of(EnumerationSolver().solve(problem))
    _, largest = problem.extremes()
    assert check(problem, best, 1.0, 1.0).fault is None
    too_large = PeerAnswer(largest, problem.matrix.objective(largest.bits))
    assert "breaks the budget" in (check(problem, too_large, 1.0, 1.0).fault or "")
    lies = replace(best, objective=best.objective * 0.99)
    assert "it says" in (check(problem, lies, 1.0, 1.0).fault or "")


def test_proofs_that_contradict_an_answer_are_told_of_both() -> None:
    low = Run(1.0, 1.0, True, 1.0, 1.0, unit=1.0)
    high = replace(low, objective=1.1, bound=1.1, unit=1.1)
    assert compare(low, low).fault is None
    assert compare(low, high).fault == "it says that nothing is below 1.1, and 1.0 was found"
    assert "OURS" in (compare(high, low).fault or "")
    assert "OURS calls 1.1 optimal" in (compare(replace(high, bound=None), low).fault or "")
    is_open = replace(high, bound=0.5, is_proven=False)
    assert compare(low, is_open).fault is None
    assert difference(low, is_open) == pytest.approx(0.1)


def test_one_sentence_names_what_is_not_installed() -> None:
    absent = replace(PEERS[0], name="Absent", package="absent", module="no_such_module")
    sentence = missing_sentence([absent, PEERS[0]])
    assert sentence == "Not installed, so not run: Absent (python -m pip install absent)."


def test_a_solver_runs_in_a_process_of_its_own() -> None:
    problem = _problem()
    found = measure(OURS, problem, 60.0)
    assert found.is_proven and found.fault is None and found.cpu_s is not None
    assert found.objective == pytest.approx(all_assignments(problem)[0][0])


def test_a_process_that_dies_is_told() -> None:
    assert "without an answer" in (measure("nobody", _problem(), 1.0).fault or "")


def test_the_benchmark_tells_and_keeps_every_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matrix = random_matrix(np.random.default_rng(5), n_layers=6, bits=(2, 8))
    kept = tmp_path / "peers.json"
    results = run({tmp_path / "made.clado": matrix}, 60.0, kept, PEERS[:1])
    assert json.loads(kept.read_text()) == results
    rows, table = results["rows"], peers_table(kept)
    assert len(rows) == 5 and all(row[OURS]["is_proven"] for row in rows)
    assert all(abs(run["difference"]) < 1e-5 for row in rows for run in row["peers"].values())
    assert verdict(rows) in capsys.readouterr().err and verdict(rows) in table
    assert "| made (6 × 2) |" in table
    rows[0]["peers"]["HiGHS"]["fault"] = "it lies"
    assert "!!! made at 2.2 bits, HiGHS: it lies" in verdict(rows)


def _problem() -> AllocationProblem:
    matrix = random_matrix(np.random.default_rng(3), n_layers=6, bits=(2, 4, 8))
    return average(matrix, 4.0)

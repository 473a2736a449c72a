"""Standard errors of G and the bootstrap of choices."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import clado_core as cc
from clado_core.allocation.bootstrap import bootstrap_choices
from clado_core.cli import main
from clado_core.errors import InputError
from clado_core.files import artifact
from clado_core.files.artifact import load, save_matrix
from clado_core.solvers import LocalSearchSolver
from tests.conftest import make_matrix


def in_parts(spread: float, parts: int = 6) -> cc.SensitivityMatrix:
    matrix = make_matrix(monotone=True)
    noise = np.random.default_rng(0).normal(scale=spread, size=(parts, 12, 12))
    noise += noise.transpose(0, 2, 1)
    noise -= noise.mean(axis=0)
    weights = np.full(parts, 1 / parts)
    return dataclasses.replace(matrix, part_G=matrix.G + noise, part_weights=weights)


def test_standard_error_by_hand():
    """Parts 1 and 3 of equal weight: mean 2, standard error √2·√(2·0.25) = 1."""
    one = dataclasses.replace(
        make_matrix(1, (2,), G=np.array([[2.0]])),
        part_G=np.array([[[1.0]], [[3.0]]]),
        part_weights=np.array([0.5, 0.5]),
    )
    assert one.standard_error() == pytest.approx(1.0)
    assert make_matrix().standard_error() is None


def test_without_spread_every_layer_keeps_its_bits():
    problem = cc.AllocationProblem(in_parts(0.0), budget_bits=2_500)
    found = bootstrap_choices(problem, np.random.default_rng(1), n_resamples=5)
    assert (found.kept == 1).all() and found.share.sum(axis=1) == pytest.approx(1)


def test_with_spread_some_layers_change():
    problem = cc.AllocationProblem(in_parts(3.0), budget_bits=2_500)
    before = problem.matrix.part_G.copy()
    found = bootstrap_choices(problem, np.random.default_rng(1), n_resamples=20)
    assert found.kept.min() < 1 and found.share.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(before, problem.matrix.part_G)


def test_one_part_is_refused():
    problem = cc.AllocationProblem(make_matrix(), budget_bits=2_500)
    with pytest.raises(InputError, match="not measured in parts"):
        bootstrap_choices(problem, np.random.default_rng(1))


def fitted(spread: float, fit_error: float, *, estimator: str = "adaptive") -> cc.SensitivityMatrix:
    """Interactions of which every second was fitted, with what the fit left open."""
    matrix = in_parts(spread)
    G = matrix.G + 0.1 * ~matrix.same_layer()
    measured = np.add.outer(np.arange(12), np.arange(12)) % 2 == 0
    error = np.where(measured | matrix.same_layer(), 0.0, fit_error)
    return dataclasses.replace(
        matrix,
        G=G,
        part_G=matrix.part_G + 0.1 * ~matrix.same_layer(),
        measured=measured,
        fit_error=error,
        provenance=cc.Provenance(estimator=estimator),
    )


class Recording:
    """Solves by descent, and remembers the matrices that it solved with."""

    def __init__(self):
        self.seen = []

    def solve(self, problem, /, **options):
        self.seen.append(problem.matrix.G)
        return LocalSearchSolver(n_walks=0).solve(problem, **options)


def test_fitted_entries_move_by_what_their_fit_left_open():
    matrix, solver = fitted(0.0, 0.3), Recording()
    problem = cc.AllocationProblem(matrix, budget_bits=2_500)
    found = bootstrap_choices(problem, np.random.default_rng(1), n_resamples=400, solver=solver)
    drawn = np.array(solver.seen[1:])
    assert np.array_equal(drawn, drawn.transpose(0, 2, 1))
    np.testing.assert_allclose(drawn.mean(axis=0), matrix.G, atol=5 * 0.3 / 20)
    np.testing.assert_allclose(drawn.std(axis=0), matrix.fit_error, rtol=0.2, atol=1e-6)
    assert found.kept.min() < 1
    n_fitted = int(np.triu(matrix.fit_error > 0).sum())
    assert found.caveat.startswith(f"{n_fitted} pairs were fitted; draws move them")
    certain = cc.AllocationProblem(fitted(0.0, 0.0), budget_bits=2_500)
    assert bootstrap_choices(certain, np.random.default_rng(1), n_resamples=20).kept.min() == 1


def test_standard_errors_hold_what_the_fit_left_open():
    matrix = fitted(1.0, 0.3)
    samples_alone = dataclasses.replace(matrix, fit_error=np.zeros((12, 12)))
    expected = np.hypot(samples_alone.standard_error(), matrix.fit_error)
    assert matrix.standard_error() == pytest.approx(expected)


def test_fits_of_unknown_quality_are_not_taken_for_certain():
    """As programs before kept them: alike in every part."""
    matrix = fitted(0.5, 0.3)
    parts = np.where(matrix.measured, matrix.part_G, matrix.G)
    old = dataclasses.replace(matrix, part_G=parts, measured=None, fit_error=None)
    problem = cc.AllocationProblem(old, budget_bits=2_500)
    with pytest.raises(InputError, match="interactions of 'toy' were fitted, by a program that"):
        bootstrap_choices(problem, np.random.default_rng(1))
    used = ~matrix.same_layer()
    assert np.array_equal(np.isnan(old.standard_error())[used], ~matrix.measured[used])


@pytest.mark.parametrize(
    ("estimator", "caveat"),
    [
        ("pairwise", ""),
        ("logit-gram", "entries are estimates from output changes, and no draw says how far"),
        ("hvp", "entries are estimates from derivatives, and no draw says how far"),
        ("block", "pairs were not measured: zero in every draw."),
    ],
)
def test_what_no_draw_varies_is_said(estimator, caveat):
    matrix = dataclasses.replace(in_parts(0.5), provenance=cc.Provenance(estimator=estimator))
    if estimator == "pairwise":
        matrix = dataclasses.replace(matrix, G=matrix.G + 0.1 * ~matrix.same_layer())
    problem = cc.AllocationProblem(matrix, budget_bits=2_500)
    found = bootstrap_choices(problem, np.random.default_rng(1), n_resamples=2)
    assert caveat in found.caveat and bool(caveat) == bool(found.caveat)


def test_parts_and_diagonals_survive_the_file_and_old_files_have_none(tmp_path):
    matrix = dataclasses.replace(in_parts(1.0), diagonals={"hawq": np.ones((4, 3))})
    save_matrix(matrix, tmp_path / "a.clado")
    back = load(tmp_path / "a.clado")
    assert np.array_equal(back.part_G, matrix.part_G)
    assert np.array_equal(back.diagonals["hawq"], np.ones((4, 3)))
    save_matrix(make_matrix(), tmp_path / "b.clado")
    plain = load(tmp_path / "b.clado")
    assert plain.part_G is None and dict(plain.diagonals) == {}
    with pytest.raises(InputError, match="'mpqco' has shape"):
        dataclasses.replace(matrix, diagonals={"mpqco": np.ones(3)})
    assert matrix.diagonal_only().part_G is None


def test_files_that_kept_whole_parts_are_read(tmp_path):
    matrix = in_parts(1.0)
    save_matrix(matrix, tmp_path / "a.clado")
    with safe_open(tmp_path / "a.clado", framework="np") as file:
        header = file.metadata()["header"].replace('"schema_version": 2', '"schema_version": 1')
    arrays = {"G": matrix.G, "part_G": matrix.part_G, "part_weights": matrix.part_weights}
    metadata = {"header": header, "sha256": artifact._digest(header, arrays)}
    save_file(arrays, tmp_path / "old.clado", metadata)
    assert np.array_equal(load(tmp_path / "old.clado").part_G, matrix.part_G)
    small, large = (tmp_path / f"{name}.clado" for name in ("a", "old"))
    saved = large.stat().st_size - small.stat().st_size
    assert saved == pytest.approx(6 * (12 * 12 * 8 - 12 * 13 // 2 * 4), abs=64)


def test_solve_says_how_often_layers_keep_their_bits(tmp_path, capsys):
    save_matrix(in_parts(3.0), tmp_path / "a.clado")
    words = ["solve", str(tmp_path / "a.clado"), "--avg-bits", "4", "--bootstrap", "20"]
    assert main([*words, "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)["kept"]
    assert len(kept) == 4 and min(kept.values()) < 1 and max(kept.values()) <= 1
    assert main(words) == 0
    assert capsys.readouterr().out.count("kept in") == 4
    save_matrix(fitted(0.5, 0.3), tmp_path / "a.clado")
    assert main([*words, "--json"]) == 0
    caveat = json.loads(capsys.readouterr().out)["kept_caveat"]
    assert "pairs were fitted; draws move them" in caveat
    assert main(words) == 0
    assert caveat in capsys.readouterr().out

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

"""What was measured, entry by entry: as estimators say it, and as old files imply it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import clado_core as cc
from clado_core.cli.info import show
from clado_core.errors import ArtifactCorruptError, InputError
from clado_core.files import artifact
from clado_core.records.coverage import coverage, measured_cells
from clado_core.records.names import ESTIMATED, ESTIMATORS
from clado_core.sensitivity import MeasurementSettings, measure
from tests.conftest import ROOT, make_matrix
from tests.core.commands import call
from tests.core.small_networks import convolutional


@pytest.fixture(scope="module")
def by_estimator() -> dict[str, cc.SensitivityMatrix]:
    """Three layers in two blocks, measured by every estimator in three parts."""
    model, layers, samples = convolutional()
    blocks = ("a", "a", "b")
    found = tuple(replace(x, block=block) for x, block in zip(layers.layers, blocks, strict=True))
    layers = replace(layers, layers=found)
    return {
        name: measure(
            model,
            layers,
            samples,
            settings=MeasurementSettings((2, 3, 4, 6, 8), batch_size=7, estimator=name),
        )
        for name in ESTIMATORS
    }


@pytest.mark.parametrize("name", ESTIMATORS)
def test_measured_are_the_entries_whose_losses_were_run(by_estimator, name):
    matrix, whole = by_estimator[name], by_estimator["pairwise"]
    found, measured = coverage(matrix), matrix.measured_entries()
    assert (found.n_singles, found.n_pairs) == (15, 75)
    if name in ESTIMATED:
        assert (found.singles, found.pairs) == (0, 0) and not measured.any()
    else:
        assert 1 + found.singles + found.pairs == matrix.provenance.details["losses"]
        assert np.array_equal(matrix.G[measured], whole.G[measured]), "losses, not fits"
    others = ~measured & ~(matrix.same_layer() & ~np.eye(15, dtype=bool))
    if name != "block":
        assert (matrix.G[others] != whole.G[others]).all(), "estimates are not differences"
    assert found.complete == (name == "pairwise")
    assert (
        found.rest
        == {
            "pairwise": "",
            "adaptive": "were fitted to them",
            "calibrated": "were fitted to them",
            "logit-gram": "are estimates from output changes",
            "block": "count as zero",
            "hvp": "are estimates from derivatives",
        }[name]
    )


@pytest.mark.parametrize("name", ["pairwise", "block", "logit-gram", "hvp"])
def test_old_files_imply_it_by_their_estimator(by_estimator, name):
    matrix = by_estimator[name]
    old = replace(matrix, measured=None)
    assert np.array_equal(old.measured_entries(), matrix.measured)


@pytest.mark.parametrize("name", ["adaptive", "calibrated"])
def test_old_fits_imply_it_by_their_parts(by_estimator, name):
    """They kept what was fitted alike in every part; of a single part nothing is known."""
    matrix = by_estimator[name]
    parts = np.where(matrix.measured, matrix.part_G, matrix.G)
    old = replace(matrix, part_G=parts, measured=None, fit_error=None)
    assert np.array_equal(old.measured_entries(), matrix.measured)
    single = replace(old, part_G=parts[:1], part_weights=np.ones(1))
    assert single.measured_entries() is None
    assert coverage(single).sentence.startswith("It is not recorded which of the 15 entries")


@pytest.mark.parametrize("estimator", [None, "imported"])
def test_of_a_matrix_from_elsewhere_nothing_is_claimed(estimator):
    matrix = replace(make_matrix(), provenance=cc.Provenance(estimator=estimator))
    found = coverage(matrix)
    assert (found.singles, found.pairs, found.complete) == (None, None, False)
    assert measured_cells(matrix).all(), "nothing is marked of which nobody knows"


def test_every_shipped_matrix_is_described_as_it_was_measured():
    files = sorted((ROOT / "assets").glob("*.clado"))
    assert len(files) > 15
    for file in files:
        matrix = cc.load(file)
        found, n = coverage(matrix), matrix.n_layers * matrix.n_bits
        pairs = (n**2 - n * matrix.n_bits) // 2
        estimator = matrix.provenance.estimator
        if estimator == "calibrated":
            assert found.singles == n and 0 < found.pairs < pairs, file.stem
        else:
            every = (0, 0) if estimator == "logit-gram" else (n, pairs)
            assert (found.singles, found.pairs) == every, file.stem
        assert (found.n_singles, found.n_pairs) == (n, pairs)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_it_survives_the_file(by_estimator, name, tmp_path):
    matrix = by_estimator[name]
    digest = cc.save_matrix(matrix, tmp_path / "a.clado")
    again = cc.load(tmp_path / "a.clado")
    assert np.array_equal(again.measured, matrix.measured)
    assert (again.fit_error is None) == (matrix.fit_error is None)
    assert again.fit_error is None or np.array_equal(again.fit_error, matrix.fit_error)
    assert cc.save_matrix(again, tmp_path / "b.clado") == digest


def test_of_other_methods_surrogates_only_what_is_kept_is_measured(by_estimator):
    matrix = by_estimator["pairwise"]
    eye = np.eye(15, dtype=bool)
    assert np.array_equal(matrix.diagonal_only().measured, eye)
    assert np.array_equal(matrix.within_blocks().measured, by_estimator["block"].measured)
    assert coverage(matrix.with_G(np.diag(np.full(15, 7.0)))).singles == 0, "as of HAWQ"
    assert not by_estimator["logit-gram"].diagonal_only().measured.any()
    assert by_estimator["adaptive"].project_psd().fit_error is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"measured": np.ones((3, 3), dtype=bool)}, r"'measured' has shape \(3, 3\)"),
        ({"measured": np.triu(np.ones((12, 12), dtype=bool))}, "symmetric"),
        ({"fit_error": np.ones((3, 3))}, r"'fit_error' has shape \(3, 3\)"),
        ({"fit_error": -np.ones((12, 12))}, "nowhere negative"),
        ({"fit_error": np.triu(np.ones((12, 12)))}, "symmetric"),
        ({"fit_error": np.full((12, 12), np.nan)}, "finite"),
    ],
)
def test_what_cannot_be_is_refused(change, sentence):
    with pytest.raises(InputError, match=sentence):
        replace(make_matrix(), **change)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        (artifact.MEASURED, np.zeros(3, dtype=np.uint8)),
        (artifact.MEASURED, np.zeros(10, dtype=np.float32)),
        (artifact.FIT_ERROR, np.zeros(5, dtype=np.float32)),
        (artifact.FIT_ERROR, np.full(78, -1, dtype=np.float32)),
    ],
)
def test_a_file_with_a_wrong_field_is_refused_by_name(tmp_path, name, wrong):
    file = tmp_path / "a.clado"
    cc.save_matrix(make_matrix(), file)
    with safe_open(file, framework="np") as stored:
        header, arrays = stored.metadata()["header"], {"G": stored.get_tensor("G"), name: wrong}
    metadata = {"header": header, "sha256": artifact._digest(header, arrays)}
    save_file(arrays, file, metadata)
    with pytest.raises(ArtifactCorruptError, match=rf"a\.clado.*{name.removesuffix('_upper')}"):
        cc.load(file)


def test_info_counts_what_was_measured(capsys):
    file = str(ROOT / "assets" / "cifar10-resnet20-per-tensor-248-logit-gram.clado")
    code, result, _ = call(capsys, "info", file)
    assert code == 0
    said = json.loads(json.dumps(result["coverage"]))
    assert (said["singles"], said["pairs"], said["n_pairs"]) == (0, 0, 1710)
    assert "None of the 60 entries of single candidates and 1,710 of pairs" in show(result)
    code, result, _ = call(capsys, "info", str(ROOT / "assets" / "digits-resnet.clado"))
    assert "All 39 entries of single candidates and 702 of pairs were measured." in show(result)
    assert result["baselines"] == ["hawq", "mpqco"]
    assert "hawq, mpqco, estimates from derivatives" in show(result)


def test_a_notebook_does_not_call_estimates_measured(by_estimator):
    assert "Estimated loss increase of each layer" in by_estimator["logit-gram"]._repr_html_()
    assert ". Loss increase of each layer" in by_estimator["pairwise"]._repr_html_()

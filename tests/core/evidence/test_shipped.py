"""The stored evidence belongs to the shipped files, and a row of it can be made again."""

import pytest

import clado_core as cc
from clado_core.evidence import load_evidence
from clado_core.evidence.record import SUFFIX
from clado_core.files.artifact import artifact_digest
from clado_core.networks.load import load_model
from tests.conftest import ROOT
from tests.core.commands import call
from tests.core.instances import shared_file

STORED = sorted((ROOT / "assets").glob(f"*{SUFFIX}"))


def names(path):
    return path.name.removesuffix(SUFFIX)


@pytest.mark.parametrize("path", STORED, ids=names)
def test_evidence_belongs_to_the_shipped_weights_and_artifacts(path):
    evidence = load_evidence(path)
    artifact = path.with_name(f"{evidence.name}.clado")
    matrix = cc.load(artifact)
    gram = path.with_name(f"{evidence.name}-logit-gram.clado")
    assert evidence.digests["matrix"] == artifact_digest(artifact)
    assert evidence.digests["gram"] == artifact_digest(gram)
    weights = load_model(evidence.network).weights_sha256
    assert evidence.digests["weights"] == matrix.provenance.weights_sha256 == weights
    assert matrix.provenance.n_samples >= 1024 and matrix.part_G is not None
    assert evidence.n == 10_000
    for outcome in evidence.outcomes:
        predicted = matrix.predicted_loss_increase(outcome.choice.bits)
        assert outcome.choice.predicted_loss_increase == pytest.approx(predicted, abs=1e-12)
        assert outcome.choice.avg_bits <= outcome.choice.budget + 1e-9


@pytest.mark.parametrize("path", STORED, ids=names)
def test_every_method_has_ten_budgets(path):
    evidence = load_evidence(path)
    methods = (
        "clado",
        "clado-refined",
        "clado-psd",
        "diagonal",
        "block",
        "hawq",
        "mpqco",
        "logit-gram",
    )
    assert all(len(evidence.of(method)) >= 10 for method in methods)
    menu = cc.load(path.with_name(f"{evidence.name}.clado")).bit_widths
    assert [each.choice.budget for each in evidence.of("uniform")] == list(menu)


@pytest.mark.slow
@pytest.mark.parametrize("path", STORED, ids=names)
def test_one_command_reproduces_a_row(path, capsys):
    evidence = load_evidence(path)
    matrix = cc.load(path.with_name(f"{evidence.name}.clado"))
    data = shared_file("cifar10_jpeg_test.npz")
    code, result, _ = call(
        capsys,
        *("evidence", evidence.network, "--data", f"cifar10:{data}"),
        *("--granularity", matrix.scheme.granularity),
        *("--bits", ",".join(map(str, matrix.bit_widths))),
        *("--loss", matrix.provenance.loss),
        *("--out", str(path.parent), "--reproduce", "4", "--refine", "0"),
        *("--time-limit", "5"),
    )
    assert code == 0 and result["matches"]

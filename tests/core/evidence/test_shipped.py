"""The stored evidence belongs to the shipped files, and a row of it can be made again."""

import pytest

import clado_core as cc
from clado_core.evidence import load_evidence
from clado_core.evidence.choices import FOR_REPAIRED
from clado_core.evidence.record import SUFFIX
from clado_core.files.artifact import artifact_digest
from clado_core.networks.load import load_model
from tests.conftest import ROOT
from tests.core.commands import call
from tests.core.instances import shared_file

STORED = sorted((ROOT / "assets").glob(f"*{SUFFIX}"))
REDONE = sorted((ROOT / "assets").glob(f"*-per-tensor-248{SUFFIX}"))
"""One of each network; a row takes minutes."""


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
    if evidence.repair is not None:
        repaired = path.with_name(f"{evidence.name}-{evidence.repair.rounding}.clado")
        assert evidence.digests["repaired"] == artifact_digest(repaired)
        calibration = cc.load(repaired).provenance.calibration
        assert calibration is not None and 2 * calibration.n_images == evidence.repair.n
        assert all(outcome.repaired is not None for outcome in evidence.outcomes)
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


def reproduce(capsys, path, *words):
    """Redo a stored budget on the real images, a skip where they are not.

    They are not part of the repository. The same command is tested on digits, which come with
    scikit-learn, in ``tests/core/evaluation``.
    """
    evidence = load_evidence(path)
    matrix = cc.load(path.with_name(f"{evidence.name}.clado"))
    data = shared_file("cifar10_jpeg_test.npz")
    code, result, _ = call(
        capsys,
        *("evidence", evidence.network, "--data", f"cifar10:{data}"),
        *("--granularity", matrix.scheme.granularity),
        *("--bits", ",".join(map(str, matrix.bit_widths))),
        *("--loss", matrix.provenance.loss),
        *("--out", str(path.parent), "--time-limit", "5"),
        *words,
    )
    assert code == 0
    return result


@pytest.mark.slow
@pytest.mark.timeout(1200)  # 10,000 images by a transformer on a busy core, twice
@pytest.mark.parametrize("path", REDONE, ids=names)
def test_one_command_reproduces_a_row(path, capsys):
    words = ("--reproduce", "4", "--refine", "0", "--methods", "clado,clado-repaired")
    result = reproduce(capsys, path, *words)
    assert result["matches"] and "clado" not in result["not_redone"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_chooses_again_by_measured_loss(capsys):
    """On the cheapest network; its evidence is of before K was stored, and K was the default."""
    path = ROOT / "assets" / f"cifar10-resnet20-per-tensor-248{SUFFIX}"
    result = reproduce(capsys, path, "--reproduce", "2.5", "--repair", "nearest")
    assert result["matches"] and set(result["not_redone"]) == set(FOR_REPAIRED)
    assert result["refine_k"] == 8
    assert "clado-refined" in {each["choice"]["method"] for each in result["outcomes"]}

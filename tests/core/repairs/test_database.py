"""The database of candidates: made once, resumable, and never taken for another network's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import clado_core as cc
from clado_core.data.sources import DataSource
from clado_core.errors import InputError
from clado_core.networks.load import load_model
from clado_core.networks.placement import choose_device, place
from clado_core.quantization.candidate import Candidate, CandidateTable
from clado_core.records.layers import LayerTable
from clado_core.records.scheme import QuantizationScheme, joint_menu
from clado_core.repairs.candidates import Candidates
from clado_core.repairs.database import (
    OnCandidate,
    candidates_of,
    database_path,
    measured_candidates,
)
from clado_core.repairs.repair import calibration_sets
from clado_core.sensitivity import layers_of

MENU = (2, 4)


@pytest.fixture(scope="module")
def source() -> DataSource:
    found: DataSource = cc.load_data("digits")
    return found


@pytest.fixture(scope="module")
def network(source: DataSource) -> tuple[nn.Module, LayerTable]:
    model: nn.Module = cc.load_model("digits-vit").module.eval()
    layers = layers_of(model, source.sensitivity_set(4, seed=0)).layers
    return model, LayerTable(layers[:5])


def made(
    network: tuple[nn.Module, LayerTable],
    source: DataSource,
    artifact: Path | None,
    *,
    scheme: QuantizationScheme = QuantizationScheme(),  # noqa: B008 (frozen)
    menu: tuple[int, ...] = MENU,
    n_images: int = 64,
    seed: int = 1,
    on_progress: OnCandidate | None = None,
) -> CandidateTable:
    images, _ = calibration_sets(source, n_images, seed=seed)
    return candidates_of(
        *(*network, scheme, menu, images),
        rounding="gptq",
        seed=seed,
        artifact=artifact,
        on_progress=on_progress,
    )


def parts(candidate: Candidate) -> dict[str, Tensor]:
    return {"q": candidate.weight.integers, "s": candidate.weight.scales, **candidate.state}


def same(one: CandidateTable, other: CandidateTable) -> bool:
    return one.made.keys() == other.made.keys() and all(
        all(torch.equal(a, parts(other.made[key])[name]) for name, a in parts(each).items())
        for key, each in one.made.items()
    )


def test_what_is_on_disk_is_what_was_made_and_nothing_is_made_twice(
    network: tuple[nn.Module, LayerTable],
    source: DataSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    artifact = tmp_path / "net.clado"
    first = made(network, source, artifact)
    assert [path.name for path in tmp_path.iterdir()] == ["net.gptq.candidates"]
    assert same(first, made(network, source, None)), "the file changes nothing"

    made_now: list[int] = []
    monkeypatch.setattr(Candidates, "_seen", property(lambda self: pytest.fail("was run again")))
    again = made(network, source, artifact, on_progress=lambda done, total: made_now.append(done))
    assert same(first, again) and made_now == [10]
    assert again.calibration == first.calibration
    assert any("in_proj_bias[" in name for name in first.state_names)


def test_a_file_that_was_cut_off_anywhere_goes_on(
    network: tuple[nn.Module, LayerTable], source: DataSource, tmp_path: Path
) -> None:
    artifact = tmp_path / "net.clado"
    whole = made(network, source, artifact)
    contents = (path := database_path(artifact, "gptq")).read_bytes()
    for kept in (0, 5, len(contents) // 3, len(contents) - 1):
        path.write_bytes(contents[:kept])
        assert same(whole, made(network, source, artifact))
        assert path.read_bytes() == contents
    damaged = bytearray(contents)
    damaged[len(contents) // 2] ^= 1
    path.write_bytes(damaged)
    assert same(whole, made(network, source, artifact))


def test_a_larger_menu_adds_to_the_file_and_joint_choices_share_weights(
    network: tuple[nn.Module, LayerTable], source: DataSource, tmp_path: Path
) -> None:
    artifact, counts = tmp_path / "net.clado", []
    made(network, source, artifact)
    made(network, source, artifact, menu=(2, 3, 4), on_progress=lambda *n: counts.append(n))
    assert counts[0] == (10, 15) and counts[-1] == (15, 15)
    joint = joint_menu((2, 4), (4, 8))
    assert len(made(network, source, artifact, menu=joint).made) == 10


def test_another_network_quantizer_or_calibration_is_refused_in_a_sentence(
    network: tuple[nn.Module, LayerTable], source: DataSource, tmp_path: Path
) -> None:
    artifact = tmp_path / "net.clado"
    made(network, source, artifact)
    before = database_path(artifact, "gptq").read_bytes()
    with pytest.raises(InputError, match="holds candidates with another 'granularity'"):
        made(network, source, artifact, scheme=QuantizationScheme("per-tensor"))
    with pytest.raises(InputError, match=r"another 'n_images' .64 there, 32 now"):
        made(network, source, artifact, n_images=32)
    with pytest.raises(InputError, match="another 'seed'"):
        made(network, source, artifact, seed=5)
    with torch.no_grad():
        weight = next(network[0].parameters())
        weight[0] += 1
    try:
        with pytest.raises(InputError, match="another 'weights_sha256'"):
            made(network, source, artifact)
    finally:
        with torch.no_grad():
            weight[0] -= 1
    assert database_path(artifact, "gptq").read_bytes() == before


def test_labels_are_not_looked_at(
    network: tuple[nn.Module, LayerTable], source: DataSource
) -> None:
    source = replace(source, n_train=1_200)
    poisoned = replace(source, labels=(source.labels + 3) % 10)
    assert same(made(network, source, None), made(network, poisoned, None))


def test_a_measured_matrix_finds_its_candidates_again(tmp_path: Path) -> None:
    artifact = tmp_path / "net.clado"
    words = ["measure", "digits-resnet", "--bits", "2,8", "--samples", "16", "--rounding", "gptq"]
    from clado_core.cli import main

    assert main([*words, "--calibration-images", "64", "--out", str(artifact)]) == 0
    matrix, model = cc.load(artifact), load_model("digits-resnet")
    place(model.module, choose_device("cpu"))
    calibration = matrix.provenance.calibration
    assert calibration is not None and calibration.n_images == 64
    beside = measured_candidates(matrix, model, artifact=artifact)
    anew = measured_candidates(matrix, model)
    assert beside is not None and anew is not None and same(beside, anew)
    moved = replace(calibration, images_sha256="0" * 64)
    other = replace(matrix, provenance=replace(matrix.provenance, calibration=moved))
    with pytest.raises(InputError, match="not those that the candidates of"):
        measured_candidates(other, model)
    nearest = replace(matrix, provenance=replace(matrix.provenance, calibration=None))
    assert measured_candidates(nearest, model) is None

"""What a repair would take: told in parts, from a few timed steps, and nothing is changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import clado_core as cc
from clado_core.cli.repair import show
from clado_core.networks.load import state_digest
from clado_core.repairs.finetune import Finetuning
from clado_core.repairs.forecast import forecast_repair
from clado_core.repairs.repair import halves
from tests.conftest import ROOT
from tests.core.commands import call

ASSETS = ROOT / "assets"


def _chosen(matrix: cc.SensitivityMatrix, avg_bits: float) -> cc.Assignment:
    budget = cc.bits_for_average(avg_bits, matrix.layers)
    return cc.allocate(cc.AllocationProblem(matrix, budget_bits=budget)).assignment


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_the_network_is_afterwards_as_it_was(name: str) -> None:
    matrix, network = cc.load(ASSETS / f"{name}.clado"), cc.load_model(name).module
    images = halves(cc.load_data("digits").sensitivity_set(128, seed=1))
    modes = [module.training for module in network.modules()]
    cost = forecast_repair(
        *(network, matrix, _chosen(matrix, 2.5), images),
        rounding="gptq",
        unmade=matrix.layers,
        reconstruct=True,
        plan=Finetuning(3, images[0]),
    )
    assert 0 < cost.reconstruct_s < cost.seconds and 0 < cost.finetune_s < cost.seconds
    assert state_digest(network) == matrix.provenance.weights_sha256
    assert modes == [module.training for module in network.modules()]
    assert not any(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("rounding", ["gptq", "adaround"])
def test_a_dry_run_says_what_each_part_takes_and_writes_nothing(
    rounding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact, chosen = tmp_path / "own.clado", tmp_path / "chosen.json"
    artifact.write_bytes((ASSETS / "digits-resnet.clado").read_bytes())
    chosen.write_text(json.dumps(_chosen(cc.load(artifact), 2.25).by_layer()))
    out = tmp_path / "r.safetensors"
    words = ["repair", str(artifact), "--assignment", str(chosen), "--images", "64"]
    words += ["--rounding", rounding, "--out", str(out)]
    before = sorted(path.name for path in tmp_path.iterdir())
    _, plain, _ = call(capsys, *words, "--dry-run")
    more = ("--reconstruct", "--finetune", "2", "--finetune-images", "128")
    code, cost, _ = call(capsys, *words, *more, "--dry-run")
    assert code == 0 and cost["finetuned_on"] == 128
    parts = [cost[f"{part}_s"] for part in ("repair", "reconstruct", "finetune")]
    assert all(parts) and cost["estimated_s"] == pytest.approx(sum(parts))
    assert plain["reconstruct_s"] == plain["finetune_s"] == 0 < plain["repair_s"]
    _, longer, _ = call(capsys, *words, "--finetune", "200", "--dry-run")
    assert longer["finetune_s"] > 20 * cost["finetune_s"]
    text = show(cost)
    assert text.startswith("About ") and "reconstructing blocks" in text and "fine-tuning" in text
    assert "fine-tuning" not in show(plain)
    kept = {f"own.{rounding}.candidates"}  # opened to see what is in it
    assert {path.name for path in tmp_path.iterdir()} - kept == set(before)
    assert call(capsys, *words)[0] == 0
    _, made, _ = call(capsys, *words, "--dry-run")
    assert made["repair_s"] < plain["repair_s"], "candidates are there"
    assert (
        state_digest(cc.load_model("digits-resnet").module)
        == cc.load(artifact).provenance.weights_sha256
    )

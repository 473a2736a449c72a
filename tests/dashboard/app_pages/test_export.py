"""The Export page: what targets do with a choice, and files from a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import clado_core as cc
from clado_core import exports
from clado_core.cli import main
from clado_core.exports.choice_file import choice_contents
from clado_core.exports.receipt import LayerBytes, Receipt
from clado_core.files.artifact import artifact_digest
from clado_core.networks.builtin import ASSETS
from clado_core.problem.allocation_problem import bits_for_average
from dashboard.known import caches, catalogue
from dashboard.workers.export import ExportedFile, export_file
from tests.conftest import ROOT
from tests.dashboard.conftest import OpenPage

pytest.importorskip("onnx")


def _configuration(name: str) -> exports.Configuration:
    path = ASSETS / f"{name}.clado"
    matrix = cc.load(path)
    problem = cc.AllocationProblem(matrix, budget_bits=bits_for_average(4.0, matrix.layers))
    solution = cc.LocalSearchSolver().solve(problem)
    return exports.Configuration(
        matrix,
        solution.assignment,
        solution,
        artifact_digest(path),
        budgets=problem.budgets,
    )


@pytest.mark.parametrize("target", ["safetensors", "onnx", "yaml"])
def test_the_page_the_command_and_python_write_the_same_bytes(target: str, tmp_path: Path) -> None:
    configuration, format = _configuration("digits-resnet"), exports.FORMATS[target]
    artifact = str(ASSETS / "digits-resnet.clado")
    from_page = export_file(artifact, configuration, format, upcast=False)
    assert isinstance(from_page, ExportedFile)
    chosen, out = tmp_path / "chosen.json", tmp_path / f"file{format.suffix}"
    chosen.write_text(json.dumps(choice_contents(configuration)))
    options = ["--assignment", str(chosen), "--format", target, "--out", str(out)]
    assert main(["export", artifact, *options]) == 0
    exports.write(configuration, format, tmp_path / "python")
    assert from_page.data == out.read_bytes() == (tmp_path / "python").read_bytes()


def test_a_choice_without_a_network_is_one_sentence() -> None:
    artifact = catalogue.find().artifacts["alpha"]
    matrix = caches.matrix(artifact)
    assignment = cc.Assignment(matrix.layers, (4,) * len(matrix.layers), matrix.scheme)
    configuration = exports.Configuration(matrix, assignment, artifact_sha256=artifact.digest)
    found = export_file(artifact.path, configuration, exports.FORMATS["onnx"], upcast=False)
    assert isinstance(found, str) and "give the model" in found


@pytest.mark.parametrize("target", list(exports.FORMATS))
def test_the_page_shows_every_target(open_page: OpenPage, target: str) -> None:
    app = open_page("export", model="beta", avg_bits="4")
    app.selectbox(key="export_format").set_value(target).run()
    assert not app.exception
    assert any(f"What {target} does" in block.value for block in app.markdown)


def test_layers_without_a_form_are_named_until_more_bits_are_allowed(open_page: OpenPage) -> None:
    app = open_page("export", model="alpha", avg_bits="4")
    app.selectbox(key="export_format").set_value("compressed-tensors").run()
    assert "block0.conv0" in app.warning[0].value
    app.checkbox(key="export_upcast_compressed-tensors").check().run()
    assert not app.warning
    assert json.loads(app.code[-1].value)["ignore"]


def test_a_written_file_shows_its_receipt(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "ASSETS", ROOT / "assets")
    app = open_page("export", model="digits-resnet", avg_bits="4")
    app.selectbox(key="export_format").set_value("safetensors").run()
    next(b for b in app.button if b.label == "Write the file").click().run(timeout=120)
    assert not app.exception and not app.warning
    assert any("+0.00%" in block.value for block in app.markdown)
    assert "torch" not in {name.partition(".")[0] for name in _modules_of_the_page()}


def test_the_receipt_says_how_the_file_ran(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "Not run here: install onnxruntime to check it."
    receipt = Receipt((LayerBytes("a", 4, 4, 8, 8),), 8, {"graph": 1}, None, (said,))
    written = ExportedFile(b"file", receipt.to_json())
    monkeypatch.setattr("dashboard.cards.export.export_file", lambda *_, **__: written)
    app = open_page("export", model="alpha", avg_bits="4")
    app.selectbox(key="export_format").set_value("onnx").run()
    assert not any(said in block.value for block in app.caption)
    next(b for b in app.button if b.label == "Write the file").click().run()
    assert any(said in block.value for block in app.caption)


def _modules_of_the_page() -> set[str]:
    code = "import sys, dashboard.cards.export, dashboard.workers.export; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return set(done.stdout.split())

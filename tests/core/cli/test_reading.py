"""What measure and info say of a network that is read in part, and of labels that look wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clado_core as cc
from clado_core.cli import main
from clado_core.cli.measure_text import show
from clado_core.data.sources import load_data
from tests.conftest import ROOT
from tests.core.commands import call

MIXED = """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 8, 4, stride=2, padding=1)
        self.kernel = nn.Parameter(torch.randn(8, 8, 3, 3))
        self.norm, self.fc = nn.BatchNorm2d(8), nn.Linear(8, 3)

    def forward(self, x):
        x = F.relu(F.conv2d(self.up(x), self.kernel * 0.1))
        return self.fc(self.norm(x).mean((2, 3)))
"""
UP, KERNEL = 4 * (3 * 8 * 16 + 8), 4 * 8 * 8 * 9
FILE = UP + KERNEL + 4 * (8 * 3 + 3) + 4 * 32 + 8
"""Bytes in float32: both, the head with its bias, the norm's four vectors and its count."""
QUICK = ("--bits", "4,8", "--samples", "12", "--batch-size", "4", "--device", "cpu")


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What people read of a command that works."""
    capsys.readouterr()
    assert main(list(words)) == 0
    return capsys.readouterr().out


@pytest.fixture
def mixed(tmp_path: Path) -> tuple[str, ...]:
    """A network of which only the head is searched, and data for it."""
    (tmp_path / "mixed.py").write_text(MIXED)
    random = np.random.default_rng(0)
    x = random.normal(size=(30, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(30) % 3)
    return (f"{tmp_path}/mixed.py:Net", "--data", f"{tmp_path}/d.npz", *QUICK)


def test_what_stays_float_is_listed_before_and_after(tmp_path, mixed, capsys):
    code, dry, _ = call(capsys, "measure", *mixed, "--dry-run")
    out = str(tmp_path / "a.clado")
    again, measured, _ = call(capsys, "measure", *mixed, "--out", out)
    stored, info, _ = call(capsys, "info", out)
    assert code == again == stored == 0
    assert dry["float_parts"] == measured["float_parts"] == info["float_parts"]
    parts = {part["name"]: part for part in info["float_parts"]}
    assert info["float_bytes"] == FILE
    assert sum(part["bytes"] for part in parts.values()) == info["unquantized_bytes"] == FILE - 96
    assert (parts["up"]["kind"], parts["up"]["bytes"]) == ("ConvTranspose2d", UP)
    assert parts["kernel"]["why"] == "a convolution uses a weight computed from it"
    assert parts["kernel"]["share"] == pytest.approx(KERNEL / FILE)
    assert not parts["norm"]["is_weight"]

    for text in (show(dry), shown(capsys, "info", out)):
        (line,) = [line for line in text.splitlines() if line.startswith("  kernel ")]
        assert f"{KERNEL:,} bytes" in line and f"{KERNEL / FILE:.1%}" in line
        assert f"{(FILE - 96) / FILE:.1%} of the file in float32" in text
    text = show(measured)
    share = f"{(UP + KERNEL) / FILE:.1%}"
    assert f"Weights that stay float32: kernel, up ({share} of the file in float32)" in text


def test_an_older_artifact_says_that_it_does_not_know(capsys):
    artifact = str(ROOT / "assets" / "digits-vit.clado")
    _, info, _ = call(capsys, "info", artifact)
    assert info["float_parts"] is None and info["warnings"] == []
    text = shown(capsys, "info", artifact)
    assert "what it is was not recorded by the version that measured" in text
    assert text.count("not recorded\n") == 2  # classes, and how the float network did


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """The handwritten digits, of classes 1 to 8, every label lowered by one."""
    source = load_data("digits")
    inside = np.flatnonzero((source.labels > 0) & (source.labels < 9))
    samples = source.samples(inside)
    np.savez(tmp_path / "shifted.npz", x=samples.x.numpy(), y=samples.y.numpy() - 1)
    return tmp_path / "shifted.npz"


def test_shifted_labels_are_named(tmp_path, digits, capsys, caplog):
    words = ("--bits", "8", "--samples", "64", "--estimator", "logit-gram", "--device", "cpu")
    out = str(tmp_path / "a.clado")
    measure = ("measure", "digits-resnet", "--data", str(digits), *words, "--out", out)
    code, result, _ = call(capsys, *measure)
    assert code == 0
    (sentence,) = result["warnings"]
    assert "labels look shifted by one: with each raised by one" in sentence
    assert sentence in caplog.text and result["labels"]["raised"]["right"] > 55
    assert cc.load(out).provenance.labels.shift == 1
    assert sentence in shown(capsys, "info", out)


def test_what_looks_wrong_is_said_before_hours_are_spent(digits, caplog):
    said: list[int] = []
    network = cc.load_model("digits-resnet").module
    images = cc.load_data(str(digits)).sensitivity_set(64, seed=0)
    cc.measure(
        network, images, bit_widths=(8,), estimator="logit-gram",
        on_progress=lambda done, total: said.append(len(caplog.records)),
    )  # fmt: skip
    assert said[0] == 1 and "shifted by one" in caplog.text


def test_a_float_network_that_knows_its_classes_is_reported_without_a_warning(
    tmp_path, capsys, caplog
):
    words = ("--bits", "8", "--samples", "64", "--estimator", "logit-gram", "--device", "cpu")
    out = str(tmp_path / "a.clado")
    code, result, _ = call(capsys, "measure", "digits-resnet", *words, "--out", out)
    assert code == 0 and result["warnings"] == [] and not caplog.records
    right = result["labels"]["as_given"]["right"]
    assert right >= 60
    text = show(result)
    assert f"The float network: {right / 64:.1%} of 64 samples classified as labelled" in text
    assert f"float network   {right / 64:.1%} of 64 samples" in shown(capsys, "info", out)


def test_random_weights_are_near_chance(mixed, tmp_path, capsys, caplog):
    code, result, _ = call(capsys, "measure", *mixed, "--out", str(tmp_path / "a.clado"))
    assert code == 0
    (sentence,) = result["warnings"]
    assert "no better than chance" in sentence and sentence in caplog.text


def test_a_class_folder_that_is_not_read_shows_in_the_number_of_classes(
    mixed, tmp_path, capsys, caplog
):
    folder = tmp_path / "images"
    for name in ("ant", "bee", "cat"):
        (folder / name).mkdir(parents=True)
        for k in range(6):
            if name == "bee":
                (folder / name / f"{k}.heic").write_bytes(b"of a phone")
            else:
                Image.new("RGB", (256, 256), (k, 9 * k, 80)).save(folder / name / f"{k}.png")
    words = (mixed[0], "--data", str(folder), *mixed[3:], "--split", "all")
    _, dry, _ = call(capsys, "measure", *words, "--dry-run")
    assert dry["classes"] == ["ant", "cat"] and dry["network_classes"] == 3
    (sentence,) = dry["warnings"]
    assert "tells 3 classes apart and the data has 2" in sentence
    assert sentence in show(dry)
    out = str(tmp_path / "a.clado")
    code, result, _ = call(capsys, "measure", *words, "--out", out)
    assert code == 0 and sentence in result["warnings"] and sentence in caplog.text
    assert "2 classes, from index 0: ant, cat.\n" in show(result)
    assert "count without them: bee." in caplog.text
    about = cc.load(out).provenance
    assert about.classes == ("ant", "cat") and about.labels.named == 2
    assert "2, from index 0: ant, cat\n" in shown(capsys, "info", out)


def test_a_configuration_lists_what_stays_float(tmp_path, mixed, capsys):
    out, chosen = str(tmp_path / "a.clado"), tmp_path / "c.json"
    assert call(capsys, "measure", *mixed, "--out", out)[0] == 0
    chosen.write_text(json.dumps({"fc": 4}))
    written = tmp_path / "out.json"
    words = ("export", out, "--assignment", str(chosen), "--format", "json", "--out", str(written))
    assert call(capsys, *words)[0] == 0
    document = json.loads(written.read_text())
    parts = {part["name"]: part for part in document["unquantized"]}
    assert sum(part["bytes"] for part in parts.values()) == document["unquantized_bytes"]
    assert parts["up"]["share"] == pytest.approx(UP / document["totals"]["bytes"])
    assert document["sensitivity"]["labels"]["classes"] == 3
    text = shown(capsys, *words[:4], "--format", "onnx", "--report")
    share = f"{(UP + KERNEL) / FILE:.1%}"
    assert f"which stay float32: kernel, up ({share} of the file in float32)." in text
    assert call(capsys, *words[:4], "--format", "yaml", "--out", f"{out}.yaml")[0] == 0
    assert f"bytes: {UP}\n" in Path(f"{out}.yaml").read_text()

"""All commands that run a measured network show it the images that ``measure`` showed it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import clado_core as cc
from clado_core.data.sources import DataSource
from clado_core.errors import InputError
from clado_core.networks import load
from clado_core.networks.load import load_model
from clado_core.networks.measured import load_measured, measured_samples
from tests.conftest import ROOT
from tests.core.commands import call

WEIGHTS = "IMAGENET1K_V9"
MODEL = ("torchvision:tiny", "--weights", WEIGHTS)
QUICK = ("--bits", "4,8", "--samples", "8", "--batch-size", "4", "--device", "cpu")


class Prepare:
    """As an enum of weights has it: nothing like the usual preparation."""

    crop_size = (6,)

    def __call__(self, image: Image.Image) -> torch.Tensor:
        pixels = np.asarray(image.resize((6, 6)), dtype=np.float32) / 100 - 1
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's "tiny": its weights bring their preparation, its default ones another."""

    def build(name: str, weights: str | None) -> tuple[nn.Module, object]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0 if weights == WEIGHTS else 1)
            layers = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
            return nn.Sequential(*layers), Prepare() if weights == WEIGHTS else None

    monkeypatch.setattr(load, "_torchvision", build)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for part, n in (("train", 6), ("val", 3)):
        for label in ("a", "b"):
            (tmp_path / "images" / part / label).mkdir(parents=True)
            for k in range(n):
                pixels = random.integers(0, 255, (9, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / part / label / f"{k}.png")
    return tmp_path / "images"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was read, as bytes of the tensors, in the order of reading."""
    found: list[bytes] = []
    read = DataSource.samples

    def spy(self: DataSource, indices: np.ndarray) -> object:
        samples = read(self, indices)
        found.append(samples.x.numpy().tobytes())
        return samples

    monkeypatch.setattr(DataSource, "samples", spy)
    return found


@pytest.mark.usefixtures("tiny")
def test_every_command_prepares_images_as_measure_did(tmp_path, folder, seen, capsys):
    out = str(tmp_path / "tiny.clado")
    data = ("--data", str(folder))
    code, _, error = call(capsys, "measure", *MODEL, *data, *QUICK, "--out", out)
    assert code == 0, error
    (measured,) = seen
    assert cc.load(out).provenance.details["weights"] == WEIGHTS

    seen.clear()
    code, result, error = call(capsys, "solve", out, "--avg-bits", "6", "--refine", "2")
    assert code == 0 and result["refined"]["evaluated"] >= 2, error
    assert seen == [measured]

    (tmp_path / "chosen.json").write_text(json.dumps({"0": 4, "3": 8}))
    seen.clear()
    words = ("evaluate", out, "--assignment", str(tmp_path / "chosen.json"))
    assert call(capsys, *words, "--split", "held-out")[0] == 0
    held_out, again = seen
    assert again == measured, "looked at, to say whether any of them were measured on"

    seen.clear()
    words = (
        "evidence",
        "--repair",
        "nearest",
        *MODEL,
        *data,
        *QUICK,
        "--budgets",
        "6",
        "--refine",
        "0",
    )
    code, _, error = call(capsys, *words, "--out", str(tmp_path))
    assert code == 0, error
    assert seen == [measured, held_out]
    stored = cc.load(tmp_path / "tiny-per-channel-48.clado").provenance
    assert stored.details["weights"] == WEIGHTS


@pytest.mark.usefixtures("tiny")
def test_an_export_has_the_shape_that_the_weights_want(tmp_path, folder, capsys):
    assert load_model("torchvision:tiny", WEIGHTS).input_shape == (3, 6, 6)
    assert load_model("torchvision:tiny", "none").input_shape == (3, 224, 224)


@pytest.mark.usefixtures("tiny")
def test_a_set_from_another_part_is_found_again(tmp_path, folder, capsys):
    out = str(tmp_path / "tiny.clado")
    words = ("measure", *MODEL, "--data", str(folder), *QUICK, "--split", "all", "--out", out)
    assert call(capsys, *words)[0] == 0
    matrix = cc.load(out)
    assert matrix.provenance.split == "all"
    model = load_measured(matrix)
    assert measured_samples(model, matrix).digest == matrix.provenance.data_sha256


@pytest.mark.usefixtures("tiny")
def test_other_images_and_missing_names_are_one_sentence(tmp_path, folder, capsys):
    out = str(tmp_path / "tiny.clado")
    words = ("measure", *MODEL, "--data", str(folder), *QUICK, "--out", out)
    assert call(capsys, *words)[0] == 0
    matrix = cc.load(out)
    model = load_measured(matrix)
    Image.new("RGB", (9, 12)).save(folder / "train" / "a" / "7.png")
    with pytest.raises(InputError, match="are not those 'tiny' was measured on"):
        measured_samples(model, matrix)
    unnamed = cc.load(ROOT / "assets" / "digits-vit.clado")
    object.__setattr__(unnamed, "provenance", cc.Provenance())
    with pytest.raises(InputError, match="names no network"):
        load_measured(unnamed)
    with pytest.raises(InputError, match="does not say which data"):
        measured_samples(model, unnamed)

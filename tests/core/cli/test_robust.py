"""What goes wrong around a measurement: one sentence, exit 2, nothing run; kills lose nothing."""

import json
import pickle
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clado_core as cc
from clado_core.cli import main
from tests.core.cli.killing import run_until

KILLS = 12
END_MOMENTS = 2
"""Of ``run_until`` after the last record: the artifact is renamed, and the journal removed."""
NETWORKS = """
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 2))

def tied():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Flatten(), nn.LazyLinear(2))
    model(torch.zeros(1, 3, 224, 224))
    model[1].weight = model[0].weight
    return model
"""


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a network, two classes of images, and checkpoints that are not usable."""
    (tmp_path / "mine.py").write_text(NETWORKS)
    for label in range(3):
        (tmp_path / f"images/{label}").mkdir(parents=True)
        for k in range(4):
            pixels = np.random.default_rng(k).integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"images/{label}/{k}.png")
    (tmp_path / "empty/one").mkdir(parents=True)
    (tmp_path / "broken/one").mkdir(parents=True)
    for k in range(2):
        (tmp_path / f"broken/one/{k}.jpg").write_bytes(b"\xff\xd8 no image")
    torch.save({"other.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Malicious(tmp_path / "was-run")))
    torch.save({"x": Malicious(tmp_path / "was-run")}, tmp_path / "evil-zip.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["mine.py:net", "--data", "empty"], "holds no images"),
        (["mine.py:net", "--data", "broken"], "cannot be read"),
        (["mine.py:net", "--data", "images"], "class 2, but the network knows classes 0 to 1"),
        (["mine.py:tied", "--data", "images"], "is shared by 0.weight and 1.weight"),
        (["mine.py:net", "--data", "images", "--weights", "other.pt"], "do not fit this network"),
        (["mine.py:net", "--data", "images", "--weights", "evil.pt"], "could run code"),
        (["mine.py:net", "--data", "images", "--weights", "evil-zip.pt"], "could run code"),
        (["mine.py:net", "--data", "images", "--weights", "absent.pt"], "no weights file"),
        (["digits-vit", "--samples", "8", "--memory-mb", "0.1"], "raise the memory"),
        (["digits-vit", "--samples", "8", "--baselines", "hawq,fit"], "Unknown baseline 'fit'"),
    ],
)
def test_one_sentence_exit_2_and_nothing_run(folder, capsys, words, sentence):
    code = main(["measure", *words, "--out", "a.clado", "--device", "cpu"])
    error = capsys.readouterr().err.splitlines()
    assert code == 2 and sentence in error[-1]
    assert not any("Traceback" in line for line in error)
    assert not (folder / "was-run").exists() and not (folder / "a.clado").exists()


def test_what_a_network_of_the_user_prints_does_not_mix_with_the_result(folder, capsys):
    (folder / "loud.py").write_text(NETWORKS + "\nprint('Building the network')\n")
    shutil.rmtree(folder / "images/2")
    words = ["loud.py:net", "--data", "images", "--weights", "none", "--samples", "4"]
    assert main(["measure", *words, "--device", "cpu", "--dry-run", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["n_layers"] == 2
    assert "Building the network" in printed.err


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_random_moments_resumes_to_the_same_matrix(tmp_path):
    """Whatever is on the disk then; what kills while the artifact was written left is gone."""
    words = ["measure", "digits-resnet", "--samples", "96", "--batch-size", "24", "--device", "cpu"]
    words += ["--estimator", "adaptive", "--out"]
    whole, killed = tmp_path / "whole.clado", tmp_path / "killed.clado"
    assert run_until(10**9, *words, str(whole)) == 0
    n_records = 4 * int(cc.load(whole).provenance.details["losses"])
    chance, known, codes = random.Random(0), 0, []
    for _ in range(KILLS):
        left = n_records - known
        moments = chance.randrange(left + END_MOMENTS + 1)
        codes.append(run_until(moments, *words, str(killed)))
        assert codes[-1] == (0 if moments == left + END_MOMENTS else -signal.SIGKILL)
        if killed.exists():
            cc.load(killed)
        if codes[-1] == 0:
            killed.unlink()
        known = 0 if codes[-1] == 0 else known + min(moments, left)
    assert -signal.SIGKILL in codes
    assert run_until(10**9, *words, str(killed)) == 0
    assert cc.load(killed).G.tobytes() == cc.load(whole).G.tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.clado", "whole.clado"]

"""The commands models, train, measure and evaluate, as users call them."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clado_core as cc
from clado_core.cli.evaluate import show as show_evaluation
from clado_core.cli.measure_text import show
from clado_core.cli.solve import show as show_solution
from clado_core.files.journal import MAGIC, OVERHEAD_BYTES, Journal
from clado_core.networks.builtin import BUILTIN_NETWORKS
from tests.core.cli.killing import run_until
from tests.core.commands import call

ROOT = Path(__file__).resolve().parents[3]
ARTIFACTS = ("digits-resnet", "digits-vit")


def records(journal: Path) -> int:
    """Complete losses in a journal."""
    size = journal.stat().st_size
    header = int.from_bytes(journal.read_bytes()[len(MAGIC) : len(MAGIC) + 4], "little")
    return (size - len(MAGIC) - 8 - header) // (OVERHEAD_BYTES + 8)


@pytest.mark.slow
@pytest.mark.parametrize("moments", [0, 100, 741])
def test_killed_on_its_way_and_resumed_equals_unbroken_bit_for_bit(tmp_path, capsys, moments):
    words = ["measure", "digits-resnet", "--bits", "2,4,8", "--samples", "48", "--device", "cpu"]
    killed = tmp_path / "killed.clado"
    journal = tmp_path / "killed.clado.partial"
    assert run_until(moments, *words, "--out", str(killed)) == -signal.SIGKILL
    assert records(journal) == moments and not killed.exists()

    code, result, _ = call(capsys, *words, "--out", str(killed))
    assert code == 0 and result["resumed"] == moments and not journal.exists()
    whole = tmp_path / "whole.clado"
    code, result, _ = call(capsys, *words, "--out", str(whole))
    assert code == 0 and result["resumed"] == 0
    assert cc.load(killed).G.tobytes() == cc.load(whole).G.tobytes()


def test_dry_run_describes_without_writing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, result, _ = call(capsys, "measure", "digits-vit", "--dry-run", "--samples", "32")
    assert code == 0 and list(tmp_path.iterdir()) == []
    assert (result["n_layers"], result["forwards"]) == (20, 1_771)
    assert result["estimated_s"] > 0
    assert [size["bits"] for size in result["sizes"]] == [2, 4, 8]
    assert result["classes"] == [] and "classes" not in show(result)
    few, many = (show(result | {"classes": list(names)}) for names in ("abc", "abcdef"))
    assert "3 classes, from index 0: a, b, c.\n" in few
    assert "6 classes, from index 0: a, b, c, d, e, …\n" in many


TINY = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 2, 7, stride=7), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(2, 2))
"""


def test_what_a_folder_leaves_out_is_said_and_its_classes_are_shown(tmp_path):
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (256, 256)).save(tmp_path / name / "1.png")
        (tmp_path / name / "2.heic").write_bytes(b"of a phone")
    (tmp_path / "awk").mkdir()
    (tmp_path / "tiny.py").write_text(TINY)
    done = subprocess.run(
        [sys.executable, "-m", "clado_core", "measure", f"{tmp_path}/tiny.py:net", "--dry-run",
         "--weights", "none", "--data", str(tmp_path), "--split", "all"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert "2 classes, from index 0: ant, bee.\n" in done.stdout
    assert "class indices count without them: awk.\n" in done.stderr
    assert "their format is not read (.heic: 2).\n" in done.stderr


def test_dry_run_of_torchvision_needs_neither_network_nor_data(capsys):
    code, result, _ = call(
        capsys, "measure", "torchvision:mobilenet_v2", "--dry-run", "--samples", "2",
        "--batch-size", "1", "--layers", "paper",
    )  # fmt: skip
    assert code == 0 and (result["n_layers"], result["forwards"]) == (51, 11_629)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["digits-cnn", "--out", "a.clado"], "There is no network 'digits-cnn'"),
        (["digits-vit"], "--out NAME.clado"),
        (["digits-vit", "--out", "a.npz"], "must end in .clado"),
        (["digits-vit", "--out", "absent/a.clado"], "does not exist"),
        (["digits-vit", "--out", "a.clado", "--bits", "2,x"], "not a list of bit-widths"),
        (["digits-vit", "--out", "a.clado", "--bits", "1,4"], "from 2 to 8"),
        (["digits-vit", "--out", "a.clado", "--samples", "9999"], "ask for 1 to 1258"),
        (["digits-vit", "--out", "a.clado", "--samples", "0"], "ask for 1 to 1258"),
        (["digits-vit", "--out", "a.clado", "--batch-size", "0"], "batch size must be 1"),
        (["digits-vit", "--out", "a.clado", "--data", "absent.npz"], "There is no data"),
        (["digits-vit", "--out", "a.clado", "--loss", "mse"], "invalid choice: 'mse'"),
        (["torchvision:resnet18", "--weights", "none", "--out", "a.clado"], "Say which data"),
    ],
)
def test_wrong_input_is_one_sentence(tmp_path, capsys, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    code, _, error = call(capsys, "measure", *words)
    assert code == 2 and sentence in error
    assert error.count("\n") == 1 and "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_own_network_on_own_data(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n"
        "def net():\n"
        "    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))\n"
    )
    x = np.random.default_rng(0).normal(size=(30, 1, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(30) % 3)
    out = tmp_path / "mine.clado"
    code, result, _ = call(
        capsys, "measure", f"{tmp_path / 'mine.py'}:net", "--data", str(tmp_path / "data.npz"),
        "--out", str(out),
    )  # fmt: skip
    assert code == 0 and result["n_layers"] == 2
    about = cc.load(out).provenance
    assert about.split == "train"
    assert about.n_samples == 21 and about.estimator == "pairwise" and about.seed == 0
    chosen = tmp_path / "chosen.json"
    chosen.write_text('{"0": 8, "2": 8}')
    code, result, _ = call(capsys, "evaluate", str(out), "--assignment", str(chosen))
    assert code == 0 and result["n"] == 9


OTHERS = """
import torch
from torch import nn

class Dropout(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5)

class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += 1
        return x * self.seen

def noisy():
    return nn.Sequential(nn.Conv2d(1, 2, 3), Dropout(), nn.Flatten(), nn.Linear(8, 3))

def counting():
    return nn.Sequential(nn.Conv2d(1, 2, 3), Counter(), nn.Flatten(), nn.Linear(8, 3))
"""


@pytest.fixture
def others(tmp_path, monkeypatch):
    """A folder with networks that do not repeat themselves by themselves, and data."""
    (tmp_path / "others.py").write_text(OTHERS)
    x = np.random.default_rng(0).normal(size=(30, 1, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(30) % 3)
    monkeypatch.chdir(tmp_path)
    return ("--data", "data.npz", "--bits", "2,4", "--samples", "16")


QUICK_EVIDENCE = ("--budgets", "3", "--refine", "1", "--repair", "nearest")


def test_noise_is_refused_by_every_command_that_runs_it_and_named_where_it_is_allowed(
    others, tmp_path, capsys, caplog
):
    measured = ("measure", "others.py:noisy", *others, "--out", "a.clado")
    code, _, error = call(capsys, *measured)
    refused = "something in it is random in eval mode"
    assert code == 2 and refused in error and not (tmp_path / "a.clado").exists()
    code, result, _ = call(capsys, *measured, "--allow-noise")
    noise = result["details"]["noise"]
    assert code == 0 and noise > 0.1
    assert f"differ by up to {noise:.2g} times the largest from one run" in caplog.text
    assert "every number measured holds that noise" in show(result)
    code, result, _ = call(capsys, "solve", "a.clado", "--avg-bits", "3")
    assert code == 0 and result["noise"] == noise and "holds that noise" in show_solution(result)
    (tmp_path / "c.json").write_text(json.dumps(result))
    (tmp_path / "out").mkdir()
    for words in (
        ("evaluate", "a.clado", "--assignment", "c.json"),
        ("solve", "a.clado", "--avg-bits", "3", "--refine", "1"),
        ("evidence", "others.py:noisy", *others, *QUICK_EVIDENCE, "--out", "out"),
    ):
        code, _, error = call(capsys, *words)
        assert code == 2 and refused in error.splitlines()[-1], words
        caplog.clear()
        code, _, _ = call(capsys, *words, "--allow-noise")
        assert code == 0 and "holds that noise" in caplog.text, words


def test_a_network_that_changes_its_buffers_is_measured_and_evaluated(others, tmp_path, capsys):
    code, result, _ = call(capsys, "measure", "others.py:counting", *others, "--out", "a.clado")
    assert code == 0 and result["details"]["changing_buffers"] == "1.seen"
    assert "put back each time, so the network was always run as a whole: 1.seen" in show(result)
    (tmp_path / "c.json").write_text('{"0": 4, "3": 4}')
    code, _, _ = call(capsys, "evaluate", "a.clado", "--assignment", "c.json")
    assert code == 0
    code, _, _ = call(capsys, "solve", "a.clado", "--avg-bits", "3", "--refine", "1")
    assert code == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--loss", "kl"), 'another \'loss\' ("ce" there, "kl" now)'),
        (("--split", "all"), 'another \'split\' ("train" there, "all" now)'),
        (("--seed", "3"), "another 'seed' (0 there, 3 now)"),
        (("--samples", "12"), "another 'n_samples' (16 there, 12 now)"),
        (("--weights", "other.pt"), "another 'weights_sha256' ("),
    ],
)
def test_a_stopped_measurement_is_not_continued_by_another(
    others, tmp_path, capsys, monkeypatch, words, sentence
):
    from clado_core.networks.load import load_model

    def stop(self, key, payload):
        raise KeyboardInterrupt

    command = ("measure", "others.py:counting", *others, "--out", "a.clado")
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", stop)
        assert call(capsys, *command)[0] == 130
    kept = (tmp_path / "a.clado.partial").read_bytes()
    state = load_model("others.py:counting").module.state_dict()
    torch.save({name: value + 1 for name, value in state.items()}, "other.pt")
    code, _, error = call(capsys, *command, *words)
    assert code == 2 and sentence in error.splitlines()[-1]
    assert (tmp_path / "a.clado.partial").read_bytes() == kept
    assert call(capsys, *command)[0] == 0 and not (tmp_path / "a.clado.partial").exists()


@pytest.fixture
def eight_bits(tmp_path):
    """An assignment of 8 bits to every layer of digits-resnet."""
    names = cc.load(ROOT / "assets/digits-resnet.clado").layers.names
    file = tmp_path / "chosen.json"
    file.write_text(json.dumps(dict.fromkeys(names, 8)))
    return file


def test_evaluate_the_shipped_artifact(capsys, eight_bits):
    code, result, _ = call(
        capsys,
        "evaluate",
        str(ROOT / "assets/digits-resnet.clado"),
        "--assignment",
        str(eight_bits),
    )
    assert code == 0
    assert {"top1", "loss", "n", "ci95", "float_top1", "float_loss"} <= result.keys()
    assert result["n"] == 539 and result["top1"] >= 0.97 and result["float_top1"] >= 0.97
    assert result["ci95"][0] < result["top1"] < result["ci95"][1]


@pytest.mark.parametrize(
    ("split", "seen", "said"),
    [
        ("held-out", 0, None),
        ("train", 1024, "1,024 of these 1,258 images were also measured on"),
        ("all", 1024, "1,024 of these 1,797 images were also measured on"),
    ],
)
def test_evaluating_on_images_that_were_measured_on_says_so(capsys, eight_bits, split, seen, said):
    artifact = str(ROOT / "assets/digits-resnet.clado")
    words = ("evaluate", artifact, "--assignment", str(eight_bits), "--split", split)
    code, result, _ = call(capsys, *words)
    assert code == 0 and result["measured_on"] == seen
    text = show_evaluation(result)
    assert ("also measured on" in text) == (said is not None) and (said or "") in text
    assert "All of these 1,258 images were also" in show_evaluation(result | {"n": 1258,
        "measured_on": 1258})  # fmt: skip
    assert "also measured on" not in show_evaluation(result | {"measured_on": None})


@pytest.mark.parametrize("size", ["0", "-5", "many"])
def test_a_batch_of_no_images_is_refused(capsys, eight_bits, size):
    artifact = str(ROOT / "assets/digits-resnet.clado")
    words = ("evaluate", artifact, "--assignment", str(eight_bits), "--batch-size", size)
    code, _, error = call(capsys, *words)
    assert code == 2 and f"'{size}' is not a whole number of 1 or more" in error


def test_other_weights_are_refused_naming_the_field(tmp_path, capsys, eight_bits):
    from safetensors.torch import load_file, save_file

    state = load_file(ROOT / "assets/digits-resnet.safetensors")
    save_file({name: value + 1 for name, value in state.items()}, tmp_path / "o.safetensors")
    code, _, error = call(
        capsys, "evaluate", str(ROOT / "assets/digits-resnet.clado"), "--assignment",
        str(eight_bits), "--weights", str(tmp_path / "o.safetensors"),
    )  # fmt: skip
    assert code == 2 and "'weights_sha256'" in error and error.count("\n") == 1


@pytest.mark.parametrize("name", ARTIFACTS)
def test_shipped_artifacts_belong_to_the_shipped_weights(name):
    from clado_core.networks.load import load_model, require_weights

    matrix = cc.load(ROOT / f"assets/{name}.clado")
    require_weights(load_model(name), matrix)
    assert matrix.bit_widths == (2, 4, 8) and matrix.n_layers >= 10
    assert (matrix.single_loss_increase[:, 0].mean()) > 0.005
    interactions = np.abs(matrix.G[~matrix.same_layer()])
    assert interactions.max() > 0.1 * np.abs(matrix.G.diagonal()).max()


def test_models_lists_networks_and_artifacts(tmp_path, capsys):
    shutil.copy(ROOT / "assets/digits-vit.clado", tmp_path / "good.clado")
    (tmp_path / "bad.clado").write_bytes(b"nonsense")
    code, result, _ = call(capsys, "models", "--artifacts", str(tmp_path))
    assert code == 0
    assert [model["name"] for model in result["models"]] == list(BUILTIN_NETWORKS)
    assert all(model["weights"] for model in result["models"] if model["name"] in ARTIFACTS)
    bad, good = result["artifacts"]
    assert "not a complete artifact" in bad["problem"] and good["n_layers"] == 20


def test_models_does_not_import_torch():
    code = (
        "import sys; from clado_core.cli import main; "
        "main(['models']); print('torch' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert out.stdout.splitlines()[-1] == "False"


def test_training_is_reproducible(tmp_path, capsys):
    files = [tmp_path / f"{k}.safetensors" for k in range(2)]
    for file in files:
        code, result, _ = call(capsys, "train", "digits-vit", "--epochs", "1", "--out", str(file))
        assert code == 0 and 0 < result["held_out_accuracy"] < 1
    assert files[0].read_bytes() == files[1].read_bytes()
    code, _, error = call(capsys, "train", "digits-cnn", "--out", str(files[0]))
    assert code == 2 and "choose one of digits-resnet, digits-vit" in error

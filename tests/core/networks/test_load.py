"""Networks by name, their weights and digests."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from clado_core.data.sources import load_data
from clado_core.errors import InputError
from clado_core.networks.builtin import BUILTIN_NETWORKS
from clado_core.networks.discovery import find_layers
from clado_core.networks.load import load_model, state_digest

FACTORY = """
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def number():
    return 3

def broken():
    raise RuntimeError("no luck")
"""


@pytest.fixture
def factory(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FACTORY)
    return file


@pytest.mark.parametrize(
    "name", [name for name, network in BUILTIN_NETWORKS.items() if network.data == "digits"]
)
def test_shipped_weights_reach_97_percent_held_out(name):
    held_out = load_data("digits").split("held-out")
    module = load_model(name).module
    assert not module.training
    with torch.no_grad():
        right = (module(held_out.x).argmax(1) == held_out.y).double().mean()
    assert right >= 0.97


@pytest.mark.parametrize("name", BUILTIN_NETWORKS)
def test_every_network_takes_its_inputs(name):
    model = load_model(name, "none")
    assert model.data == BUILTIN_NETWORKS[name].data
    with torch.no_grad():
        assert model.module(torch.zeros(2, *model.input_shape)).shape == (2, 10)


def test_cifar10_networks_of_the_expected_kinds():
    kinds = {}
    for name in ("resnet20", "mobilenetv2", "vit"):
        module = load_model(f"cifar10-{name}", "none").module
        layers = find_layers(module, torch.zeros(1, 3, 32, 32))
        kinds[name] = (len(layers), {layer.kind for layer in layers.layers})
    assert kinds["resnet20"][0] == 20 and kinds["mobilenetv2"][0] == 24
    assert kinds["vit"][0] == 34 and "attention" in " ".join(kinds["vit"][1])


def test_torchvision_random_weights_are_the_same_each_time():
    first, again = (load_model("torchvision:resnet18", "none") for _ in range(2))
    assert first.weights_sha256 == again.weights_sha256 and not first.module.training


def test_own_file_with_and_without_checkpoint(factory, tmp_path):
    spec = f"{factory}:net"
    plain = load_model(spec)
    assert plain.weights_sha256 == load_model(spec).weights_sha256
    state = {name: value + 1 for name, value in plain.module.state_dict().items()}
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"state_dict": state}, tmp_path / "a.pt")
    digests = {
        load_model(spec, str(tmp_path / f)).weights_sha256 for f in ("a.safetensors", "a.pt")
    }
    assert len(digests) == 1 and plain.weights_sha256 not in digests


def test_digest_sees_every_bit_of_every_entry():
    model = nn.BatchNorm2d(3)
    before = state_digest(model)
    model.num_batches_tracked += 1
    assert state_digest(model) != before


@pytest.mark.parametrize(
    ("spec", "weights", "sentence"),
    [
        ("resnet", None, "choose one of digits-resnet, digits-vit"),
        ("torchvision:resnet51", None, "did you mean resnet5"),
        ("torchvision:resnet18", "IMAGENET9", "choose one of IMAGENET1K_V1, DEFAULT"),
        ("digits-vit", "absent.safetensors", "no weights file absent"),
        (
            "digits-vit",
            "assets/digits-resnet.safetensors",
            "do not fit this network: the file lacks",
        ),
        ("nowhere.py:net", None, "no file nowhere.py"),
        ("{file}:absent", None, "no function 'absent'"),
        ("{file}:number", None, "returned int"),
        ("{file}:broken", None, "failed: RuntimeError: no luck"),
    ],
)
def test_wrong_names_are_one_sentence(factory, spec, weights, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        load_model(spec.format(file=factory), weights)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_never_opened(factory, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"weight": Trap()}, tmp_path / "trap.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Trap()))
    for name in ("trap.pt", "raw.pt"):
        with pytest.raises(InputError):
            load_model(f"{factory}:net", str(tmp_path / name))
    assert not (tmp_path / "sprung").exists()


def test_damaged_checkpoint_is_one_sentence(factory, tmp_path):
    for name in ("bad.safetensors", "bad.pt"):
        (tmp_path / name).write_bytes(b"\x00" * 20)
        with pytest.raises(InputError, match=r"bad\.") as caught:
            load_model(f"{factory}:net", str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_torchvision_weights_bring_their_own_preparation(tmp_path, monkeypatch):
    """The file stands where torch would have downloaded it to."""
    from torchvision.models import ResNet18_Weights, resnet18

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    entry = ResNet18_Weights.IMAGENET1K_V1
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    name = entry.url.rpartition("/")[2]
    torch.save(resnet18().state_dict(), tmp_path / "hub" / "checkpoints" / name)
    model = load_model("torchvision:resnet18", "IMAGENET1K_V1")
    folder = tmp_path / "images"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / label / "1.png")
    own = load_data(str(folder), prepare=model.prepare).split("all").x
    with Image.open(folder / "a" / "1.png") as image:
        assert torch.equal(own[0], entry.transforms()(image))
    assert load_model("torchvision:resnet18", "none").prepare is None

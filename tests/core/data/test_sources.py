"""Data sources, their splits, and the sensitivity set."""

import hashlib
import inspect
import io
import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.datasets import CIFAR10, MNIST, VisionDataset

from clado_core.data.cifar10 import MEAN, STD
from clado_core.data.sources import load_data
from clado_core.errors import InputError


def test_digits_split_is_fixed_stratified_and_disjoint():
    digits = load_data("digits")
    train, held_out = digits.indices("train"), digits.indices("held-out")
    assert (len(train), len(held_out)) == (1258, 539)
    assert not set(train) & set(held_out)
    shares = np.bincount(digits.labels[held_out]) / np.bincount(digits.labels)
    assert (abs(shares - 0.3) < 0.01).all()


def test_sensitivity_set_is_drawn_from_training_by_seed():
    digits = load_data("digits")
    first, again = (digits.sensitivity_set(64, seed=3) for _ in range(2))
    assert first.x.shape == (64, 1, 8, 8) and first.x.min() >= 0 and first.x.max() <= 1
    assert first.digest == again.digest != digits.sensitivity_set(64, seed=4).digest
    with pytest.raises(InputError, match="ask for 1 to 1258, not 5000"):
        digits.sensitivity_set(5000, seed=0)


def test_npz(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, x=np.ones((10, 1, 4, 4)), y=np.arange(10) % 2)
    assert len(load_data(str(file)).split("all")) == 10
    assert load_data(str(file)).class_names == ()


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x": np.ones((2, 1, 4, 4))}, "arrays named x and y"),
        ({"x": np.ones((2, 4, 4)), "y": np.zeros(2, int)}, "expected numbers of shape"),
        ({"x": np.ones((2, 1, 4, 4)), "y": np.zeros(3, int)}, "class indices"),
        ({"x": np.full((2, 1, 4, 4), np.nan), "y": np.zeros(2, int)}, "NaN"),
        ({"x": np.array([None, 1]), "y": np.zeros(2, int)}, "cannot be read"),
    ],
)
def test_bad_npz_is_one_sentence(tmp_path, arrays, sentence):
    file = tmp_path / "bad.npz"
    np.savez(file, **arrays)
    with pytest.raises(InputError, match=sentence):
        load_data(str(file))


def test_image_folder(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for k in range(3):
            Image.new("RGB", (300, 260), (k, 10, 20)).save(tmp_path / label / f"{k}.png")
    samples = load_data(str(tmp_path)).split("all")
    assert samples.x.shape == (6, 3, 224, 224)
    assert samples.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert samples.class_names == ("cat", "dog")
    (tmp_path / "dog" / "3.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="cannot be read"):
        load_data(str(tmp_path)).split("all")


def test_unknown_data_and_empty_folder(tmp_path):
    with pytest.raises(InputError, match="There is no data 'nothing'"):
        load_data("nothing")
    with pytest.raises(InputError, match="holds no images"):
        load_data(str(tmp_path))


def _images(n, seed):
    random = np.random.default_rng(seed)
    colours = random.integers(0, 256, (n, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(colours, (n, 32, 32, 3)).copy(), random.integers(0, 10, n)


def _jpeg_folder(folder, n_train=12, n_test=5):
    """Single-coloured images, which JPEG keeps to a step or two."""
    for seed, (name, n) in enumerate((("train", n_train), ("test", n_test))):
        images, labels = _images(n, seed)
        files = []
        for image in images:
            stream = io.BytesIO()
            Image.fromarray(image).save(stream, "JPEG", quality=95)
            files.append(np.frombuffer(stream.getvalue(), dtype=np.uint8))
        offsets = np.concatenate([[0], np.cumsum([len(file) for file in files])])
        arrays = {"jpeg": np.concatenate(files), "offsets": offsets}
        np.savez(folder / f"cifar10_jpeg_{name}.npz", labels=labels.astype(np.uint8), **arrays)
    return folder


def _expected(images):
    return ((images / 255 - np.array(MEAN)) / np.array(STD)).transpose(0, 3, 1, 2)


def test_cifar10_jpeg_files_keep_the_official_split_and_are_normalized(tmp_path):
    source = load_data(f"cifar10:{_jpeg_folder(tmp_path)}")
    train, held_out = source.split("train"), source.split("held-out")
    assert (len(train), len(held_out), source.name) == (12, 5, "cifar10")
    assert source.class_names[:3] == ("airplane", "automobile", "bird")
    assert len(source.class_names) == 10
    for seed, samples in enumerate((train, held_out)):
        images, labels = _images(len(samples), seed)
        assert samples.y.tolist() == labels.tolist()
        assert abs(samples.x.numpy() - _expected(images)).max() < 3 / 255 / min(STD)
    by_file = load_data(f"cifar10:{tmp_path / 'cifar10_jpeg_test.npz'}")
    assert by_file.split("held-out").digest == held_out.digest


def test_original_cifar10_is_read_through_torchvision(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    names = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
    stored = {}
    for seed, name in enumerate(names):
        images, labels = _images(4, seed)
        stored[name] = images
        flat = images.transpose(0, 3, 1, 2).reshape(4, -1)
        content = pickle.dumps({"data": flat, "labels": labels.tolist()})
        (folder / name).write_bytes(content)
    meta = pickle.dumps({"label_names": list("abcdefghij")})
    (folder / "batches.meta").write_bytes(meta)
    md5 = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5[name]] for name in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [[names[5], md5[names[5]]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5["batches.meta"]})
    for spec in (tmp_path, folder):
        source = load_data(f"cifar10:{spec}")
        assert (len(source.indices("train")), len(source.indices("held-out"))) == (20, 4)
        assert source.class_names == tuple("abcdefghij")
        x = source.split("held-out").x.numpy()
        assert np.allclose(x, _expected(stored["test_batch"]), atol=1e-5)
    (folder / "test_batch").write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be read as the original CIFAR-10"):
        load_data(f"cifar10:{tmp_path}")


def test_bad_cifar10_is_one_sentence(tmp_path):
    for spec in ("cifar10", "cifar10:"):
        with pytest.raises(InputError, match="Say where CIFAR-10 is: cifar10:FOLDER"):
            load_data(spec)
    with pytest.raises(InputError, match="holds no CIFAR-10"):
        load_data(f"cifar10:{tmp_path}")
    _jpeg_folder(tmp_path)
    with np.load(tmp_path / "cifar10_jpeg_test.npz") as arrays:
        damaged = dict(arrays)
    damaged["jpeg"][:200] = 0
    np.savez(tmp_path / "cifar10_jpeg_test.npz", **damaged)
    with pytest.raises(InputError, match="an image cannot be read"):
        load_data(f"cifar10:{tmp_path}").split("held-out")
    (tmp_path / "cifar10_jpeg_test.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is not CIFAR-10 as JPEG files"):
        load_data(f"cifar10:{tmp_path}")


def write_mnist(folder, n: int = 6) -> np.ndarray:
    """Files as torchvision's MNIST reads them; returns the training pictures, then the test's."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pictures = np.random.default_rng(0).integers(0, 255, (n + 4, 28, 28), dtype=np.uint8)
    for part, found in (("train", pictures[:n]), ("t10k", pictures[n:])):
        header = b"".join(k.to_bytes(4, "big") for k in (2051, len(found), 28, 28))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + found.tobytes())
        header = b"".join(k.to_bytes(4, "big") for k in (2049, len(found)))
        labels = bytes(k % 2 for k in range(len(found)))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels)
    return pictures


def as_gray(image) -> torch.Tensor:
    return torch.tensor(np.array(image)[None, ..., 0]).float()


def test_a_data_set_of_torchvision(tmp_path):
    pictures = write_mnist(tmp_path)
    spec = f"torchvision:MNIST:{tmp_path}"
    found = load_data(spec, prepare=as_gray)
    assert found.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert found.class_names[:2] == ("0 - zero", "1 - one") and len(found.class_names) == 10
    assert np.array_equal(found.split("all").x[2, 0].numpy(), pictures[2])
    assert load_data(spec).split("all").x.shape == (10, 3, 224, 224)


def test_held_out_of_a_data_set_of_torchvision_is_its_test_part(tmp_path):
    pictures = write_mnist(tmp_path)
    found = load_data(f"torchvision:MNIST:{tmp_path}", prepare=as_gray)
    assert np.array_equal(found.split("train").x[:, 0].numpy(), pictures[:6])
    held_out = found.split("held-out")
    assert np.array_equal(held_out.x[:, 0].numpy(), pictures[6:])
    assert held_out.y.tolist() == [0, 1, 0, 1]
    drawn = {x.numpy().tobytes() for x in found.sensitivity_set(6, seed=0).x}
    assert drawn == {x.numpy().tobytes() for x in found.split("train").x}


class Parts(VisionDataset):
    """A stand-in for data sets with named parts; each image is as bright as its part says."""

    KNOWN: ClassVar[dict[str, int]] = {}
    MISSING: ClassVar[tuple[str, ...]] = ()

    def __init__(self, root, split="train"):
        super().__init__(root)
        if split not in self.KNOWN:
            raise ValueError(f"Unknown value '{split}' for argument split.")
        if split in self.MISSING:
            raise RuntimeError("Dataset not found.\nYou can use download=True.")
        self.value = self.KNOWN[split]
        self._samples = [("x.png", 1), ("y.png", 0)]

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return Image.new("L", (2, 2), self.value), self._samples[index][1]


@pytest.mark.parametrize(
    ("known", "missing", "default", "train", "held_out"),
    [
        (("train", "test"), (), "train", "train", "test"),
        (("train", "val", "test"), (), "train", "train", "test"),
        (("train", "val"), (), "train", "train", "val"),  # as ImageNet
        (("train", "trainval", "test"), (), "trainval", "trainval", "test"),  # as OxfordIIITPet
        (("trainval", "test"), (), "10fold", "trainval", "test"),
        (("train-standard", "val"), (), "train-standard", "train-standard", "val"),
        (("train", "val", "test"), ("test",), "train", "train", "val"),
        (("train", "test"), ("test",), "train", "train", None),
        (("train", "val"), ("train",), "train", None, "val"),
    ],
)
def test_named_parts_of_torchvisions_data_sets(
    tmp_path, monkeypatch, caplog, known, missing, default, train, held_out
):
    values = {name: 10 * (k + 1) for k, name in enumerate(known)}
    made = type("Made", (Parts,), {"KNOWN": values, "MISSING": missing})
    made.__signature__ = inspect.Signature(
        [inspect.Parameter("root", inspect.Parameter.POSITIONAL_OR_KEYWORD),
         inspect.Parameter("split", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)]
    )  # fmt: skip
    monkeypatch.setattr(datasets, "Made", made, raising=False)
    found = load_data(f"torchvision:Made:{tmp_path}", prepare=as_gray)
    for split, part in (("train", train), ("held-out", held_out)):
        if part is None:
            with pytest.raises(InputError, match=f"The {split} part of .* is empty"):
                found.split(split)
            with pytest.raises(InputError, match=f"The {split} part of .* is empty"):
                found.sensitivity_set(1, seed=0, split=split)
        else:
            samples = found.split(split)
            assert samples.y.tolist() == [1, 0] and (samples.x == values[part]).all()
    what = "training" if train is None else "test"
    told = f"Made has no {what} part in {tmp_path} (Dataset not found)"
    assert (told in caplog.text) == (None in (train, held_out))


def test_a_data_set_of_torchvision_without_parts_has_a_drawn_held_out_part(tmp_path, monkeypatch):
    class Whole(VisionDataset):
        def __init__(self, root):
            super().__init__(root)
            self.targets = [0] * 10 + [1] * 10

        def __len__(self):
            return 20

        def __getitem__(self, index):
            return Image.new("L", (2, 2), index), self.targets[index]

    monkeypatch.setattr(datasets, "Whole", Whole, raising=False)
    found = load_data(f"torchvision:Whole:{tmp_path}", prepare=as_gray)
    assert [len(found.indices(split)) for split in ("train", "held-out", "all")] == [14, 6, 20]
    assert not set(found.indices("train")) & set(found.indices("held-out"))


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([("tench", "Tinca tinca"), ("goldfish",)], ("tench", "goldfish")),  # as ImageNet's
        (["only one of two"], ()),
        (None, ()),
    ],
)
def test_names_of_torchvisions_classes(tmp_path, monkeypatch, classes, expected):
    write_mnist(tmp_path)
    monkeypatch.setattr(MNIST, "classes", classes)
    assert load_data(f"torchvision:MNIST:{tmp_path}").class_names == expected


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("torchvision:MNISTT:/", "did you mean MNIST"),
        ("torchvision:MNIST", "no folder '' for MNIST"),
        ("torchvision:MNIST:{tmp}", "does not hold MNIST as torchvision reads it"),
    ],
)
def test_torchvision_data_that_is_not_there_is_one_sentence(tmp_path, spec, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        load_data(spec.format(tmp=tmp_path))
    assert "\n" not in str(caught.value)

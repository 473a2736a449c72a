"""Data sources, their splits, and the sensitivity set."""

import numpy as np
import pytest
from PIL import Image

from clado_core.datasets import load_data
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
    (tmp_path / "dog" / "3.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="cannot be read"):
        load_data(str(tmp_path)).split("all")


def test_unknown_data_and_empty_folder(tmp_path):
    with pytest.raises(InputError, match="There is no data 'nothing'"):
        load_data("nothing")
    with pytest.raises(InputError, match="holds no images"):
        load_data(str(tmp_path))

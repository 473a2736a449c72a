"""Folders of images: which subfolders are classes, which are parts, and what is left out."""

import logging
import os

import numpy as np
import pytest
import torch
from PIL import Image

from clado_core.data.folder import find_images
from clado_core.data.sources import load_data
from clado_core.errors import InputError


@pytest.fixture
def said(caplog):
    """What was warned of, as text."""
    caplog.set_level(logging.WARNING)
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


def _write(folder, *paths):
    """Tiny images at these paths; what ends in "/" is an empty folder."""
    for path in paths:
        file = folder / path
        (file if path.endswith("/") else file.parent).mkdir(parents=True, exist_ok=True)
        if file.suffix in (".png", ".tif", ".gif", ".jpeg", ".JPG"):
            Image.new("RGB", (2, 2)).save(file)
        elif not path.endswith("/"):
            file.write_bytes(b"something else")
    return folder


def _found(folder):
    """Class and path of every image."""
    images = find_images(folder, "mine")
    return [
        (images.class_names[label], str(file.relative_to(folder)))
        for file, label in zip(images.files, images.labels, strict=True)
    ]


def test_classes_and_files_are_sorted_as_torchvision_sorts_classes(tmp_path, said):
    from torchvision.datasets import ImageFolder

    _write(tmp_path, "dog/2.png", "dog/10.png", "Zebra/1.png", "cat/b/1.png", "cat/a.JPG")
    images = find_images(tmp_path, "mine")
    assert images.class_names == tuple(ImageFolder(str(tmp_path)).classes)
    assert _found(tmp_path) == [
        ("Zebra", "Zebra/1.png"),
        ("cat", "cat/a.JPG"),
        ("cat", "cat/b/1.png"),
        ("dog", "dog/10.png"),
        ("dog", "dog/2.png"),
    ]
    assert images.labels.tolist() == [0, 1, 1, 2, 2] and images.n_train is None and not said()


@pytest.mark.parametrize("junk", [".git/", ".ipynb_checkpoints/", "__MACOSX/", "__pycache__/"])
def test_hidden_folders_are_no_classes_and_go_without_saying(tmp_path, said, junk):
    _write(tmp_path, "a/1.png", "z/1.png", junk)
    assert [name for name, _ in _found(tmp_path)] == ["a", "z"]
    assert not said()


def test_hidden_folders_with_images_are_named_and_hidden_files_skipped(tmp_path, said):
    _write(tmp_path, "a/1.png", "z/1.png", "__extra__/1.png", ".old/1.png")
    _write(tmp_path, "z/.ipynb_checkpoints/1.png", "a/.DS_Store")
    (tmp_path / "a" / "._1.png").write_bytes(b"what a Mac keeps beside a file")
    assert _found(tmp_path) == [("a", "a/1.png"), ("z", "z/1.png")]
    assert said() == "In mine these folders are left out: .old, __extra__."


def test_folders_without_images_are_no_classes_and_are_named(tmp_path, said):
    _write(tmp_path, "b/1.png", "d/1.png", "a/", "c/notes.txt")
    assert [name for name, _ in _found(tmp_path)] == ["b", "d"]
    assert "no classes; class indices count without them: a, c." in said()
    _write(tmp_path, *(f"empty{k:02}/" for k in range(15)))
    _found(tmp_path)
    assert "empty07 and 7 more." in said()


def test_formats_that_are_not_read_are_counted(tmp_path, said):
    _write(tmp_path, "a/1.png", "a/2.tif", "b/1.gif", "b/README")
    _write(tmp_path, *(f"a/{k}.heic" for k in range(10)), "b/x.txt", "b/y.TXT")
    assert [file for _, file in _found(tmp_path)] == ["a/1.png", "a/2.tif", "b/1.gif"]
    assert said() == (
        "13 files of mine were left out, as their format is not read "
        "(.heic: 10, .txt: 2, without suffix: 1)."
    )


def test_images_in_no_class_folder_are_counted(tmp_path, said):
    _write(tmp_path, "a/1.png", "b/1.png", "1.png", "2.png", "list.csv")
    assert len(_found(tmp_path)) == 2
    assert said() == "In mine images in no class folder are left out: 2."


def test_nothing_to_read_is_one_sentence(tmp_path):
    _write(tmp_path, "1.png", "a/1.heic", "b/")
    with pytest.raises(InputError, match=r"mine holds no images .*\(only \.heic: 1\): expected"):
        find_images(tmp_path, "mine")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_cannot_be_listed_is_one_sentence(tmp_path):
    _write(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "b").chmod(0)
    try:
        with pytest.raises(InputError, match=r"mine cannot be listed: .*Permission denied"):
            find_images(tmp_path, "mine")
    finally:
        (tmp_path / "b").chmod(0o700)


@pytest.mark.parametrize("held_out", ["val", "validation", "valid", "test", "Testing"])
def test_a_data_set_with_parts_keeps_its_split(tmp_path, said, held_out):
    for k, name in enumerate(("cat", "dog")):
        _write(tmp_path, f"train/{name}/1.png", f"train/{name}/2.png")
        (tmp_path / held_out / name).mkdir(parents=True)
        Image.new("RGB", (2, 2), (k + 1, 0, 0)).save(tmp_path / held_out / name / "1.png")
    source = load_data(
        str(tmp_path), prepare=lambda image: torch.tensor([[[image.getpixel((0, 0))[0] * 1.0]]])
    )
    assert source.n_train == 4
    assert source.split("train").y.tolist() == [0, 0, 1, 1]
    assert source.split("train").x.flatten().tolist() == [0, 0, 0, 0]
    assert source.split("held-out").y.tolist() == [0, 1]
    assert source.split("held-out").x.flatten().tolist() == [1, 2]
    assert not said()


def test_test_is_held_out_before_val_and_what_is_left_out_is_named(tmp_path, said):
    _write(tmp_path, "train/a/1.png", "val/a/1.png", "test/a/1.png", "unlabelled/1.png", "doc/")
    _write(tmp_path, "train/b/", "test/b/", "train/stray.png")
    assert [file for _, file in _found(tmp_path)] == ["train/a/1.png", "test/a/1.png"]
    assert "left out: unlabelled, val." in said() and "no class folder are left out: 1" in said()
    assert "count without them: train/b, test/b." in said()


def test_a_test_part_without_classes_leaves_val_held_out(tmp_path):
    _write(tmp_path, "train/a/1.png", "val/a/1.png", "test/1.png", "test/2.png")
    assert [file for _, file in _found(tmp_path)] == ["train/a/1.png", "val/a/1.png"]


def test_parts_with_other_classes_are_one_sentence_that_names_them(tmp_path):
    _write(tmp_path, "train/a/1.png", "train/b/1.png", "train/c/1.png", "val/a/1.png")
    _write(tmp_path, "val/b/", "val/d/1.png")
    with pytest.raises(
        InputError, match=r"train and val of mine .* only train has b, c and only val has d; rename"
    ):
        find_images(tmp_path, "mine")


@pytest.mark.parametrize(
    ("paths", "advice"),
    [
        (["train/a/1.png", "train/b/1.png"], "mine/train"),
        (["train/a/1.png", "train/b/1.png", "test/1.png"], "mine/train"),
        (["val/a/1.png", "val/b/1.png", "doc/notes.txt"], "mine/val"),
        (["train/1.png", "val/1.png"], "each with one subfolder per class"),
    ],
)
def test_half_a_split_is_one_sentence(tmp_path, paths, advice):
    _write(tmp_path, *paths)
    with pytest.raises(InputError, match=rf"mine looks like a data set with splits .*{advice}"):
        find_images(tmp_path, "mine")


def test_train_may_be_a_class(tmp_path):
    _write(tmp_path, "bus/1.png", "train/1.png", "train/steam/1.png")
    assert [name for name, _ in _found(tmp_path)] == ["bus", "train", "train"]


def test_the_default_split_is_as_it_was_beside_a_hidden_folder(tmp_path):
    _write(tmp_path, *(f"{name}/{k}.png" for name in "abc" for k in range(10)))
    plain = load_data(str(tmp_path))
    _write(tmp_path, ".git/", "__MACOSX/", "aa/")
    again = load_data(str(tmp_path))
    for split in ("train", "held-out"):
        assert np.array_equal(plain.indices(split), again.indices(split))
    assert np.array_equal(plain.labels, again.labels)

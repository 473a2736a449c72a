"""Whether images were measured on, found by drawing those again."""

import dataclasses

import numpy as np
import pytest
import torch

from clado_core.data.seen import measured_on, redrawn
from clado_core.data.sources import Samples, load_data
from clado_core.records.provenance import Provenance


@pytest.fixture
def files(tmp_path):
    """Forty images in a file, and the same ones shuffled in another."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 1, 3, 3)).astype(np.float32), np.arange(40) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y)
    order = random.permutation(40)
    np.savez(tmp_path / "b.npz", x=x[order], y=y[order])
    np.savez(tmp_path / "c.npz", x=x + 1, y=y)
    return [str(tmp_path / f"{name}.npz") for name in "abc"]


def about(samples: Samples, seed: int) -> Provenance:
    return Provenance(
        data=samples.name,
        data_sha256=samples.digest,
        n_samples=len(samples),
        seed=seed,
        split=samples.split,
    )


@pytest.mark.parametrize("split", ["train", "held-out", "all"])
def test_images_of_every_split_are_counted(files, split):
    source = load_data(files[0])
    drawn = source.sensitivity_set(9, seed=3, split=split)
    assert drawn.split == split
    counts = {
        part: measured_on(source.split(part), about(drawn, 3), source=source)
        for part in ("train", "held-out", "all")
    }
    indices = {part: set(source.indices(part)) for part in counts}
    chosen = set(np.random.default_rng(3).permutation(source.indices(split))[:9])
    assert counts == {part: len(chosen & members) for part, members in indices.items()}
    assert counts["all"] == 9 and counts[split] == 9


def test_the_split_need_not_be_recorded(files):
    source = load_data(files[0])
    for split in ("train", "held-out", "all"):
        drawn = source.sensitivity_set(9, seed=3, split=split)
        old = dataclasses.replace(about(drawn, 3), split=None)
        assert torch.equal(redrawn(source, old).x, drawn.x)


def test_the_same_images_in_another_file_are_known_while_the_first_one_is_there(files, tmp_path):
    first, second, other = map(load_data, files)
    drawn = first.sensitivity_set(9, seed=3)
    assert measured_on(second.split("all"), about(drawn, 3), source=second) == 9
    assert measured_on(other.split("all"), about(drawn, 3), source=other) == 0
    (tmp_path / "a.npz").unlink()
    assert measured_on(second.split("all"), about(drawn, 3), source=second) is None


def test_of_images_in_memory_what_can_be_known_is(files):
    source = load_data(files[0])
    drawn = source.sensitivity_set(9, seed=3)
    held = Samples(drawn.x, drawn.y, "in memory")
    here = Provenance(data="in memory", data_sha256=held.digest, n_samples=9)
    assert measured_on(held, here) == 9
    assert measured_on(Samples(drawn.x[:5], drawn.y[:5], "in memory"), here) is None
    assert measured_on(source.split("all"), about(drawn, 3)) == 9, "its name says where"
    assert measured_on(held, Provenance()) is None

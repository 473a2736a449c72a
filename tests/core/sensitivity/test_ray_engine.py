"""Measuring on a real local Ray cluster of two nodes; needs requirements-ray.txt."""

import json
import os
import sys

import numpy as np
import pytest
import torch

import clado_core as cc
from clado_core.cli import main
from clado_core.errors import InputError, MeasurementError
from clado_core.sensitivity import MeasurementSettings, RayEngine, measure
from clado_core.sensitivity.ray_engine import groups
from tests.core.small_networks import convolutional

NETWORK = """
import os, signal
from pathlib import Path
import torch
from torch import nn

class Fuse(nn.Module):
    # Kills its process once, where a file asks for it and it is not the process that wrote it.
    calls = 0

    def forward(self, x):
        wish = Path({folder!r}) / "kill-me"
        self.calls += 1
        # Asking for a value keeps this module from being traced, so it is called every time.
        if float(x.sum()) and self.calls > 5 and wish.exists():
            try:
                if int(wish.read_text()) == os.getpid():
                    return x
                wish.unlink()
            except FileNotFoundError:  # Another worker was first.
                return x
            os.kill(os.getpid(), signal.SIGKILL)
        return x

def net():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), Fuse(), nn.Flatten(), nn.Linear(16, 3)
    )
"""


def test_groups_share_their_first_candidate():
    assert groups([(), (0,), (0, 4), (1,), (0, 5)]) == [[()], [(0,), (0, 4), (0, 5)], [(1,)]]


def test_without_ray_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install -r requirements-ray\.txt"):
        RayEngine()


@pytest.fixture(scope="module")
def address():
    """Of a running cluster with two nodes of one core each."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


ray_test = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("default::ResourceWarning", "default::FutureWarning"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A network of the user's own and 24 samples."""
    (tmp_path / "mine.py").write_text(NETWORK.replace("{folder!r}", repr(str(tmp_path))))
    x = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(40) % 3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str) -> int:
    base = ["measure", "mine.py:net", "--data", "data.npz", "--batch-size", "10"]
    return main([*base, "--device", "cpu", "--samples", "24", *words])


class TestCluster:
    """What needs the cluster, one after another."""

    pytestmark = ray_test

    def test_same_numbers_as_local_though_a_worker_is_lost(self, folder, address):
        for estimator in ("pairwise", "adaptive"):
            words = ["--estimator", estimator, "--act-bits", "8"]
            assert call(*words, "--out", "here.clado") == 0
            (folder / "kill-me").write_text(str(os.getpid()))
            assert call(*words, "--out", "ray.clado", "--engine", "ray", "--address", address) == 0
            assert not (folder / "kill-me").exists(), "a worker has killed itself"
            here, there = cc.load("here.clado"), cc.load("ray.clado")
            assert here.G.tobytes() == there.G.tobytes() and np.abs(here.G).max() > 0
            assert here.provenance.details == there.provenance.details
            assert not list(folder.glob("*.partial"))

    def test_repaired_weights_give_the_same_numbers_too(self, folder, address):
        words = ["--rounding", "gptq", "--estimator", "pairwise", "--calibration-images", "8"]
        assert call(*words, "--out", "here.clado") == 0
        assert call(*words, "--out", "ray.clado", "--engine", "ray", "--address", address) == 0
        here, there = cc.load("here.clado"), cc.load("ray.clado")
        assert here.G.tobytes() == there.G.tobytes() and np.abs(here.G).max() > 0
        assert here.provenance.calibration == there.provenance.calibration is not None
        assert call("--out", "nearest.clado") == 0
        assert not np.array_equal(cc.load("nearest.clado").G, here.G)

    def test_what_is_known_is_not_measured_again(self, folder, address, capsys):
        words = ["--out", "a.clado", "--engine", "ray", "--address", address, "--json"]
        assert call(*words) == 0
        whole = cc.load("a.clado").G
        total = json.loads(capsys.readouterr().out)["forwards"]
        model, layers, samples = convolutional()
        journal, seen = folder / "j", []
        how = MeasurementSettings((2, 4), batch_size=7)

        def stop(done: int, of: int) -> None:
            seen.append(done)
            if done == 9:
                raise KeyboardInterrupt

        with RayEngine(address) as cluster, pytest.raises(KeyboardInterrupt):
            measure(
                model, layers, samples, settings=how, journal=journal, on_progress=stop,
                cluster=cluster,
            )  # fmt: skip
        seen.clear()
        again = measure(
            model, layers, samples, settings=how, journal=journal,
            on_progress=lambda done, _: seen.append(done),
        )  # fmt: skip
        assert seen[0] == 9
        assert np.array_equal(again.G, measure(model, layers, samples, settings=how).G)
        assert total == 1 + 9 + 27 and np.isfinite(whole).all()

    def test_faults_on_a_worker_are_named(self, address):
        model, layers, samples = convolutional()
        with torch.no_grad():
            model[3].weight[0] = 3e38
        how = MeasurementSettings((2, 4), batch_size=7)
        with RayEngine(address) as cluster, pytest.raises(MeasurementError, match="The loss is"):
            measure(model, layers, samples, settings=how, cluster=cluster)

    def test_no_cluster_is_one_sentence(self, folder, capsys):
        words = ["--out", "a.clado", "--engine", "ray", "--address", "127.0.0.1:1"]
        assert call(*words) == 2
        error = capsys.readouterr().err.splitlines()
        assert "There is no Ray cluster at '127.0.0.1:1'" in error[-1]
        assert not list(folder.glob("*.clado"))

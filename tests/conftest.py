"""Shared fixtures; array shapes in annotations of clado_core are checked while tests run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from jaxtyping import install_import_hook

import tests.runtime_types  # noqa: F401  (the hook finds the checker by name, without importing)

# Before torch is imported here, and for every command that a test starts: workers share the cores,
# and threads of small networks cost more by waiting for each other than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before the first import of the package: only modules imported after this are checked. Left out are
# the problem and the scheme, which check what users give and answer in sentences of their own.
CHECKED = [
    "records.assignment",
    "records.matrix",
    "records.sizes",
    "problem.program",
    "problem.solution",
    "solvers",
    "allocation",
    "quantization.statistics",
    "quantization.weights",
]
install_import_hook([f"clado_core.{name}" for name in CHECKED], "tests.runtime_types.check")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

import clado_core as cc  # noqa: E402

# A busy machine is no fault of what is tested.
settings.register_profile("no deadline", settings.default, deadline=None)
settings.load_profile("no deadline")

ROOT = Path(__file__).resolve().parent.parent

MatrixFactory = Callable[..., cc.SensitivityMatrix]


def make_matrix(
    n_layers: int = 4,
    bit_widths: tuple[int, ...] = (2, 4, 8),
    *,
    seed: int = 0,
    G: np.ndarray | None = None,
    monotone: bool = False,
) -> cc.SensitivityMatrix:
    """A small matrix with distinct layer sizes; indefinite unless G is given."""
    n = n_layers * len(bit_widths)
    rng = np.random.default_rng(seed)
    if G is None:
        G = rng.normal(scale=0.3, size=(n, n))
        G = (G + G.T) / 2
        decreasing = np.sort(rng.uniform(0.5, 4.0, size=(n_layers, len(bit_widths))))[:, ::-1]
        G[np.diag_indices(n)] = decreasing.ravel()
        layer = np.repeat(np.arange(n_layers), len(bit_widths))
        same = np.equal.outer(layer, layer) & ~np.eye(n, dtype=bool)
        G[same] = 0.0
        if monotone:
            G[~np.eye(n, dtype=bool)] = 0.0
    layers = cc.LayerTable(
        tuple(
            cc.LayerInfo(
                f"block{i // 2}.conv{i}",
                "conv2d",
                (4, 3 + i, 3, 3),
                macs=100 * (i + 1),
                block=f"block{i // 2}",
                parameter=f"block{i // 2}.conv{i}.weight",
            )
            for i in range(n_layers)
        ),
        other_bytes=64,
    )
    return cc.SensitivityMatrix("toy", G, layers, bit_widths, base_loss=0.5)


@pytest.fixture
def matrix_factory() -> MatrixFactory:
    """Makes small matrices; see ``make_matrix``."""
    return make_matrix


@pytest.fixture
def toy_matrix() -> cc.SensitivityMatrix:
    """Four layers × three bit-widths, indefinite."""
    return make_matrix()


@pytest.fixture
def worked_example() -> cc.SensitivityMatrix:
    """Three layers × {2, 4} bits, 4 weights each, with pair losses typed by hand.

    Optima of x'Gx: cap 24 bits → (2,2,2) 5.80; 32 → (2,2,4) 2.64; 40 → (4,2,4) 2.18;
    48 → (4,4,4) 0.48. The diagonal alone chooses (4,2,2) at 32 bits.
    """
    single = np.array([[1.00, 0.10], [0.80, 0.05], [0.90, 0.08]])
    pairs = {
        (0, 1): [[1.10, 1.05], [0.95, 0.16]],
        (0, 2): [[2.60, 1.15], [1.05, 0.17]],
        (1, 2): [[1.90, 0.95], [0.97, 0.14]],
    }
    G = np.diag(2 * single.ravel())
    for (i, j), joint in pairs.items():
        block = np.array(joint) - single[i][:, None] - single[j][None, :]
        G[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = block
        G[2 * j : 2 * j + 2, 2 * i : 2 * i + 2] = block.T
    layers = cc.LayerTable(tuple(cc.LayerInfo(f"layer{i}", "linear", (2, 2)) for i in range(3)))
    return cc.SensitivityMatrix("worked example", G, layers, (2, 4))

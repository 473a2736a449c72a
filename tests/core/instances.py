"""Problems that tests of solvers share: random ones, hand-made ones, and the measured matrices."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from clado_core import AllocationProblem, LayerInfo, LayerTable, SensitivityMatrix
from clado_core.files.npz_import import matrix_from_npz

SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def table(
    n_weights: list[int], *, macs: list[int] | None = None, block_size: int = 2
) -> LayerTable:
    """Layers l0, l1, ... in blocks of ``block_size``."""
    macs = macs or [0] * len(n_weights)
    return LayerTable(
        tuple(
            LayerInfo(f"l{i}", "linear", (n,), macs=m, block=f"b{i // block_size}")
            for i, (n, m) in enumerate(zip(n_weights, macs, strict=True))
        )
    )


def random_matrix(
    rng: np.random.Generator, *, n_layers: int, bits: tuple[int, ...], kind: str = "indefinite"
) -> SensitivityMatrix:
    """Errors that shrink with the bit-width, with interactions of either sign.

    Args:
        rng: Source of randomness.
        n_layers: Layers.
        bits: The menu.
        kind: "indefinite", "psd" or "sparse" (four of five interactions zero).
    """
    n = n_layers * len(bits)
    size = np.exp(rng.normal(size=n_layers))[:, None] * 2.0 ** -np.array(bits)
    scale = size.ravel()
    A = rng.normal(size=(n, n))
    core = A @ A.T / n if kind == "psd" else (A + A.T) / 2
    if kind == "sparse":
        keep = np.triu(rng.random((n, n)) < 0.2)
        core = np.where(keep | keep.T, core, 0.0)
    G = core * np.outer(scale, scale)
    G[np.diag_indices(n)] = np.abs(G.diagonal()) + scale**2
    layers = table(
        rng.integers(1, 1000, size=n_layers).tolist(),
        macs=rng.integers(1, 10**6, size=n_layers).tolist(),
    )
    return SensitivityMatrix("random", G, layers, bits)


def random_problem(seed: int) -> AllocationProblem:
    """One of a family: 1–5 bit choices, all kinds of G, with and without wishes and budgets."""
    rng = np.random.default_rng(seed)
    menus = [(2, 4), (2, 4, 8), (2, 3, 4, 8), (2, 3, 4, 6, 8), (4,)]
    bits = menus[rng.choice(5, p=[0.2, 0.45, 0.15, 0.15, 0.05])]
    n_layers = int(rng.integers(1, {1: 6, 2: 13, 3: 9, 4: 7, 5: 6}[len(bits)]))
    kind = str(rng.choice(["indefinite", "psd", "sparse"]))
    matrix = random_matrix(rng, n_layers=n_layers, bits=bits, kind=kind)
    names = matrix.layers.names
    wishes: dict[str, object] = {}
    if n_layers > 2 and rng.random() < 0.3:
        wishes["pins"] = {str(names[0]): int(rng.choice(bits))}
    if n_layers > 3 and rng.random() < 0.3:
        wishes["ties"] = ((names[1], names[3]),)
    if n_layers > 2 and rng.random() < 0.2:
        wishes["allowed"] = {names[2]: bits[-2:]}
    free = AllocationProblem(matrix, **wishes)  # type: ignore[arg-type]
    low, high = free.extremes()
    if rng.random() < 0.9:
        wishes["budget_bits"] = _between(rng, low.size_bits, high.size_bits)
    if rng.random() < 0.3:
        wishes["budget_bops"] = _between(rng, low.bops, high.bops)
    if rng.random() < 0.2:
        wishes["budget_bytes"] = _between(rng, low.size_bytes, high.size_bytes)
    return AllocationProblem(matrix, **wishes)  # type: ignore[arg-type]


def worked_example() -> SensitivityMatrix:
    """The three layers of 4 weights at {2, 4} bits in design/method.md, section 5."""
    D = np.array([[1.00, 0.10], [0.80, 0.05], [0.90, 0.08]])
    pairs = {
        (0, 1): [[1.10, 1.05], [0.95, 0.16]],
        (0, 2): [[2.60, 1.15], [1.05, 0.17]],
        (1, 2): [[1.90, 0.95], [0.97, 0.14]],
    }
    G = np.diag(2 * D.ravel())
    for (i, j), losses in pairs.items():
        block = np.array(losses) - D[i][:, None] - D[j][None, :]
        G[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = block
        G[2 * j : 2 * j + 2, 2 * i : 2 * i + 2] = block.T
    return SensitivityMatrix("worked example", G, table([4, 4, 4]), (2, 4))


def measured(name: str) -> SensitivityMatrix:
    """R20 (``matrix_r20_pairwise``) or R56 (``matrix_r56_gram``); skips the test without them."""
    return matrix_from_npz(shared_file(f"{name}.npz"), name=name)


def shared_file(name: str) -> Path:
    """A file of the development data, or a visible skip."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"needs {path}, which is not part of the repository")
    return path


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    return int(low + rng.random() * (high - low))


def resnet50() -> SensitivityMatrix:
    """The published single-layer losses of ResNet-50 as an additive matrix; skips without them."""
    with shared_file("resnet50_single_layer_loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    D = np.array([[float(row[f"w{b}a8"]) for b in (2, 4, 8)] for row in rows])
    shapes = _resnet50_shapes()
    layers = LayerTable(
        tuple(LayerInfo(row["layer"], "conv2d", shapes[row["layer"]]) for row in rows)
    )
    return SensitivityMatrix("resnet50", np.diag(2 * D.ravel()), layers, (2, 4, 8))


def _resnet50_shapes() -> dict[str, tuple[int, ...]]:
    """Weight shapes of torchvision's ResNet-50 without its first convolution and classifier."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 64
    for stage, n_blocks in enumerate((3, 4, 6, 3), start=1):
        width = 32 * 2**stage
        for block in range(n_blocks):
            name = f"layer{stage}.{block}"
            shapes[f"{name}.conv1"] = (width, channels, 1, 1)
            shapes[f"{name}.conv2"] = (width, width, 3, 3)
            shapes[f"{name}.conv3"] = (4 * width, width, 1, 1)
            if block == 0:
                shapes[f"{name}.downsample.0"] = (4 * width, channels, 1, 1)
            channels = 4 * width
    return shapes

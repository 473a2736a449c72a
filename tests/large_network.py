"""Made-up networks of many layers, whose interactions are as strong as measured ones."""

from __future__ import annotations

import numpy as np

import clado_core as cc

MENUS = {3: (2, 4, 8), 5: (2, 3, 4, 6, 8)}
"""By the number of bit-widths."""


def large_matrix(n_layers: int, n_bits: int, *, seed: int = 7) -> cc.SensitivityMatrix:
    """Four stages; slightly indefinite, as measured matrices are."""
    rng, bits = np.random.default_rng(seed), MENUS[n_bits]
    layers, loudness, n = [], [], n_layers * n_bits
    for i in range(n_layers):
        stage = 4 * i // n_layers
        width = 72 if i % 3 else 288
        name = f"stage{stage}.block{i}.conv"
        block = f"stage{stage}.block{i}"
        layers.append(cc.LayerInfo(name, "unknown", (16 * 2**stage, width), block=block))
        loudness.append(0.5 ** (stage / 2) * np.exp(0.6 * rng.normal()))
    step = np.array([2.0 ** (2 - b) for b in bits])
    error = np.multiply.outer(np.array(loudness), step).ravel() * 0.4 * (16 / n_layers) ** 0.5
    factors = rng.normal(size=(n, 24)) + np.repeat(rng.normal(size=(n_layers, 24)), n_bits, axis=0)
    factors /= np.linalg.norm(factors, axis=1, keepdims=True)
    noise = rng.normal(size=(n, n)) * 0.15 / n**0.5
    G = 0.7 * np.eye(n) + 0.3 * factors @ factors.T + (noise + noise.T) / 2
    layer = np.repeat(np.arange(n_layers), n_bits)
    G[np.equal.outer(layer, layer) & ~np.eye(n, dtype=bool)] = 0.0
    G *= np.outer(error, error)
    return cc.SensitivityMatrix(
        name=f"{n_layers}x{n_bits}",
        G=(G + G.T) / 2,
        layers=cc.LayerTable(tuple(layers)),
        bit_widths=bits,
        base_loss=0.5,
        provenance=cc.Provenance(model="synthetic", estimator="imported"),
    )

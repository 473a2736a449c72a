"""A made-up network, so that the pages can be tried without measuring anything."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

import clado_core as cc
from clado_core.files.artifact import SUFFIX

SAMPLE = "sample"


def sample_folder() -> Path:
    """Where "Load the sample" puts its file; per user, outside the project."""
    return Path(tempfile.gettempdir()) / f"clado-explorer-{os.getuid()}"


def write_sample() -> None:
    """Make the file of the sample."""
    sample_folder().mkdir(exist_ok=True)
    cc.save_matrix(sample_matrix(), sample_folder() / f"{SAMPLE}{SUFFIX}")


def sample_matrix() -> cc.SensitivityMatrix:
    """A made-up network of 16 layers whose errors add up within stages."""
    rng = np.random.default_rng(7)
    stages = [("stem", 1), ("stage1", 5), ("stage2", 5), ("stage3", 4), ("head", 1)]
    layers, loudness = [], []
    for depth, (stage, count) in enumerate(stages):
        for i in range(count):
            name = stage if count == 1 else f"{stage}.{i}.conv"
            layers.append(cc.LayerInfo(name, "unknown", (16 * 2**depth, 72), block=stage))
            loudness.append(0.5 ** (depth / 2) * rng.uniform(0.5, 1.5))
    bits = (2, 4, 8)
    step = np.array([2.0 ** (2 - b) for b in bits])
    error = np.multiply.outer(np.array(loudness), step).ravel() * 0.4
    factors = rng.normal(size=(len(error), 6)) + np.repeat(rng.normal(size=(16, 6)), 3, axis=0)
    factors /= np.linalg.norm(factors, axis=1, keepdims=True)
    G = (0.7 * np.eye(len(error)) + 0.3 * factors @ factors.T) * np.outer(error, error)
    return cc.SensitivityMatrix(
        name=SAMPLE,
        G=(G + G.T) / 2,
        layers=cc.LayerTable(tuple(layers)),
        bit_widths=bits,
        base_loss=0.5,
        provenance=cc.Provenance(model="synthetic sample", estimator="imported"),
    )

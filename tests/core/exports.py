"""Choices of the shipped networks at any menu, and the fake-quantized networks they stand for."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
from torch import nn

import clado_core as cc
from clado_core import export
from clado_core.builtin import BUILTIN_NETWORKS
from clado_core.models import ASSETS, load_model
from clado_core.weight_swap import WeightSwap

SHIPPED = tuple(name for name in BUILTIN_NETWORKS if (ASSETS / f"{name}.clado").is_file())
DIGITS = ("digits-resnet", "digits-vit")
WIDE_MENU = (2, 3, 4, 5, 6, 7, 8)


def with_menu(name: str, menu: tuple[int, ...]) -> cc.SensitivityMatrix:
    """A shipped network's layers and provenance, with made-up sensitivities of another menu."""
    matrix = cc.load(ASSETS / f"{name}.clado")
    n = len(matrix.layers) * len(menu)
    return dataclasses.replace(
        matrix,
        G=np.eye(n),
        bit_widths=menu,
        diagonals={},
        part_G=None,
        part_weights=None,
        input_ranges=None,
    )


def choice(name: str, menu: tuple[int, ...], seed: int = 0) -> export.Configuration:
    """A random choice from a menu; every width of the menu stands in it."""
    matrix = with_menu(name, menu)
    rng = random.Random(seed)
    bits = list(menu) + [rng.choice(menu) for _ in range(len(matrix.layers) - len(menu))]
    rng.shuffle(bits)
    assignment = cc.Assignment(matrix.layers, tuple(bits), matrix.scheme)
    return export.Configuration(matrix, assignment, artifact_sha256="ab" * 32)


def fake_quantized(name: str, configuration: export.Configuration) -> nn.Module:
    """The network with the choice's weights swapped in."""
    module = load_model(name).module
    swap = WeightSwap(module, configuration.matrix.layers, configuration.matrix.scheme)
    swap.apply(dict(enumerate(configuration.assignment.bits)))
    return module

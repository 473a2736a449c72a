"""Choices of the shipped networks at any menu, and the fake-quantized networks they stand for."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import nn

import clado_core as cc
from clado_core import exports
from clado_core.data.sources import Samples, load_data
from clado_core.errors import InputError
from clado_core.exports.network import quantize_weights
from clado_core.networks.builtin import ASSETS, BUILTIN_NETWORKS
from clado_core.networks.discovery import find_layers
from clado_core.networks.load import RANDOM_WEIGHTS, LoadedModel, load_model
from clado_core.quantization.weight_swap import WeightSwap

SHIPPED = tuple(name for name in BUILTIN_NETWORKS if (ASSETS / f"{name}.clado").is_file())
DIGITS = ("digits-resnet", "digits-vit")
WIDE_MENU = (2, 3, 4, 5, 6, 7, 8)
N_INPUTS = 256


def load(name: str) -> LoadedModel:
    """A built-in network with its trained weights, or random ones where none are shipped yet."""
    trained = (ASSETS / f"{name}.safetensors").is_file()
    return load_model(name, *([] if trained else [RANDOM_WEIGHTS]))


def choice(name: str, menu: tuple[int, ...], seed: int = 0) -> exports.Configuration:
    """A random choice for a network, sensitivities made up; all of the menu stands in it."""
    model = load(name)
    assert model.input_shape is not None
    layers = find_layers(model.module, torch.zeros(1, *model.input_shape))
    matrix = cc.SensitivityMatrix(
        name,
        np.eye(len(layers) * len(menu)),
        layers,
        menu,
        provenance=cc.Provenance(model=name, weights_sha256=model.weights_sha256),
    )
    rng = random.Random(seed)
    bits = [*menu, *(rng.choice(menu) for _ in range(len(layers) - len(menu)))]
    rng.shuffle(bits)
    assignment = cc.Assignment(layers, tuple(bits), matrix.scheme)
    return exports.Configuration(matrix, assignment, artifact_sha256="ab" * 32)


def job(
    name: str, target: str, menu: tuple[int, ...], *, upcast: bool = False
) -> exports.ExportJob:
    """An export of such a choice."""
    configuration = choice(name, menu)
    if not exports.FORMATS[target].needs_network:
        return exports.ExportJob(configuration, upcast=upcast)
    model = load(name)
    assert model.input_shape is not None
    weights = quantize_weights(model.module, configuration)
    network = exports.QuantizedNetwork(model.module, weights, model.input_shape)
    return exports.ExportJob(configuration, network, upcast)


def fake_quantized(name: str, configuration: exports.Configuration) -> nn.Module:
    """The network with the choice's weights swapped in."""
    module = load(name).module
    swap = WeightSwap(module, configuration.matrix.layers, configuration.matrix.scheme)
    swap.apply(dict(enumerate(configuration.assignment.bits)))
    return module


def held_out(name: str) -> Samples:
    """Held-out images of a network, all digits or the first 256; noise where there is no data."""
    network = BUILTIN_NETWORKS[name]
    try:
        source = load_data(network.data)
        indices = source.indices("held-out")
        return source.samples(indices if name in DIGITS else indices[:N_INPUTS])
    except InputError:
        random_generator = torch.Generator().manual_seed(0)
        noise = torch.randn(N_INPUTS, *network.input_shape, generator=random_generator)
        return Samples(noise, torch.zeros(N_INPUTS, dtype=torch.int64), "noise")

"""Name the residual or transformer block that each layer stands in."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def block_names(model: nn.Module, layers: Sequence[str], /) -> dict[str, str]:
    """Layer name → name of its block; a layer outside all blocks is a block of its own.

    A block is the outermost module that is no mere container and is an item of one: torchvision's
    ``layer1.0``, ``features.3`` or ``encoder.layers.encoder_layer_0``. A module around more than
    half of all layers wraps the network and is no block.

    Args:
        model: The network.
        layers: Names as in ``LayerInfo``, dotted.
    """
    modules = dict(model.named_modules())

    def is_block(name: str) -> bool:
        parent, module = modules[name.rpartition(".")[0]], modules[name]
        return (
            isinstance(parent, _CONTAINERS)
            and not isinstance(module, _CONTAINERS)
            and 2 * sum(layer.startswith(f"{name}.") for layer in layers) <= max(len(layers), 2)
        )

    known: dict[str, bool] = {}
    blocks = {}
    for layer in layers:
        parts = layer.split(".")
        outer = [".".join(parts[:depth]) for depth in range(1, len(parts))]
        for name in outer:
            if name not in known:
                known[name] = is_block(name)
        blocks[layer] = next((name for name in outer if known[name]), layer)
    return blocks

"""Bytes that no bit-width changes; the promised size counts them.

A packed file's own header is one part of them. It names every layer with its bit-width and says
where the file comes from. Its length depends on the layers' names alone, not on the chosen
bit-widths, so that a budget in bytes stays exact: ``exports/packed.py`` fills it up with spaces to
this length.
"""

from __future__ import annotations

import json

from clado_core.records.layers import LayerTable
from clado_core.records.scheme import QuantizationScheme

FIXED_BYTES = 880
"""Room for everything but the layers: lengths, digests, the network's name, tensor positions."""

ALIGNMENT = 8


def fixed_bytes(layers: LayerTable, scheme: QuantizationScheme, /) -> int:
    """Bytes that no bit-width changes: scales, everything that stays float32, the file's header."""
    scales = sum(scheme.scale_bytes(layer.out_channels) for layer in layers.layers)
    return scales + layers.other_bytes + container_bytes(layers)


def container_bytes(layers: LayerTable, /) -> int:
    """Length of a packed file's header, a multiple of 8; see ``layer_entry_bytes``."""
    length = FIXED_BYTES + sum(layer_entry_bytes(name) for name in layers.names)
    return -(-length // ALIGNMENT) * ALIGNMENT


def layer_entry_bytes(name: str, /) -> int:
    """Bytes of ``"name":b,`` in JSON that stands as a string in JSON, and of its input's bits."""
    entry = json.dumps({name: 8}, separators=(",", ":"))[1:-1] + ","
    return len(json.dumps(entry)) - 2 + 1

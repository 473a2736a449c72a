"""Bytes that a packed file takes for its own header; the promised size counts them.

The header names every layer with its bit-width and says where the file comes from. Its length
depends on the layers' names alone, not on the chosen bit-widths, so that a budget in bytes stays
exact: ``export/packed.py`` fills it up with spaces to this length.
"""

from __future__ import annotations

import json

from clado_core.layers import LayerTable

FIXED_BYTES = 880
"""Room for everything but the layers: lengths, digests, the network's name, tensor positions."""

ALIGNMENT = 8


def container_bytes(layers: LayerTable, /) -> int:
    """Length of a packed file's header, a multiple of 8; see ``layer_entry_bytes``."""
    length = FIXED_BYTES + sum(layer_entry_bytes(name) for name in layers.names)
    return -(-length // ALIGNMENT) * ALIGNMENT


def layer_entry_bytes(name: str, /) -> int:
    """Bytes of ``"name":b,`` in JSON that stands as a string in JSON, and of its input's bits."""
    entry = json.dumps({name: 8}, separators=(",", ":"))[1:-1] + ","
    return len(json.dumps(entry)) - 2 + 1

"""What a network is made of: its state dict, which may hold more than tensors.

A module's ``get_extra_state`` may give anything: a dictionary, None, a file in memory. Sizes and
packed files count tensors alone; the digest tells plain values apart too.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

EXTRA_STATE = "_extra_state"
"""How the names of such entries end."""


def tensor_state(module: nn.Module, /, *, keep_vars: bool = False) -> dict[str, Tensor]:
    """The entries of the state dict that are tensors, in its order.

    Args:
        module: Not changed.
        keep_vars: Give parameters themselves, as ``state_dict`` does.
    """
    state: Mapping[str, object] = module.state_dict(keep_vars=keep_vars)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def state_digest(module: nn.Module, /) -> str:
    """Hexadecimal SHA-256 over the state dict: names, types, shapes and bytes, sorted by name."""
    digest = hashlib.sha256()
    state: Mapping[str, object] = module.state_dict()
    for name in sorted(state):
        for part in _parts(name, state[name]):
            digest.update(part)
    return digest.hexdigest()


def _parts(name: str, value: object) -> Iterator[bytes]:
    """What is digested of an entry; of values that have no bytes of their own, their type."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        yield f"{name} {value.dtype} {tuple(value.shape)}".encode()
        yield value.reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from _parts(f"{name}.{key}", value[key])
    elif isinstance(value, list | tuple):
        for k, each in enumerate(value):
            yield from _parts(f"{name}.{k}", each)
    elif isinstance(value, bytes | bytearray | io.BytesIO):
        contents = value.getvalue() if isinstance(value, io.BytesIO) else bytes(value)
        yield f"{name} bytes {len(contents)}".encode() + contents
    elif value is None or isinstance(value, bool | int | float | str):
        yield f"{name} {value!r}".encode()
    else:
        yield f"{name} {type(value).__qualname__}".encode()

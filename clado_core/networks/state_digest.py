"""A digest of everything that a network's state dict holds."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clado_core.errors import InputError
from clado_core.networks.ordinary import require_ordinary


def state_digest(module: nn.Module, /) -> str:
    """Hexadecimal SHA-256 over the state dict: names, types, shapes and bytes, sorted by name.

    What modules keep beside tensors (``get_extra_state``) counts by its values.

    Raises:
        InputError: An entry has no values or is of a type without any, or there are none that
            belong to layers.
    """
    require_ordinary(module)
    digest = hashlib.sha256()
    state: Mapping[str, Any] = module.state_dict()
    for name in sorted(state):
        for piece in _pieces(name, state[name]):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(name: str, value: Any) -> Iterator[bytes]:
    """An entry as bytes."""
    if isinstance(value, Tensor):
        if value.is_meta:
            raise InputError(
                f"The network's '{name}' is on the meta device, so it has no values; load weights "
                "into the network first."
            )
        value = value.detach().cpu().contiguous()
        yield f"{name} {value.dtype} {tuple(value.shape)}".encode()
        yield value.reshape(-1).view(torch.uint8).numpy().tobytes()
    elif value is None or isinstance(value, bool | int | float | str | bytes | torch.dtype):
        yield f"{name} {value!r}".encode()
    elif isinstance(value, io.BytesIO):
        yield f"{name} {value.getvalue()!r}".encode()
    elif isinstance(value, Mapping):
        yield f"{name} {len(value)} named entries".encode()
        for key, inner in value.items():
            yield from _pieces(f"{name}[{key!r}]", inner)
    elif isinstance(value, list | tuple):
        yield f"{name} {len(value)} entries".encode()
        for k, inner in enumerate(value):
            yield from _pieces(f"{name}[{k}]", inner)
    else:
        raise InputError(
            f"The network's state '{name}' is of type {type(value).__name__}, whose values cannot "
            "be told; keep tensors, numbers and texts there, or none."
        )

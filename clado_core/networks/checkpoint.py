"""Read weights from files without executing anything in them."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from clado_core.errors import InputError

NESTED_KEYS = ("state_dict", "model_state_dict", "model")
"""Under these, training scripts store the weights beside optimizer state."""


def load_checkpoint(path: Path, /) -> Mapping[str, Tensor]:
    """Read a state dict.

    Args:
        path: ``.safetensors``, or ``.pt``/``.pth`` that holds tensors only.

    Raises:
        InputError: No such file, another format, or it holds more than tensors.
    """
    if not path.is_file():
        raise InputError(f"There is no weights file {path}.")
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise InputError(f"{path} is no checkpoint: expected .safetensors, .pt or .pth.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            # torch warns of an unusual pickle protocol just before it refuses the file.
            warnings.simplefilter("ignore", UserWarning)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} holds Python objects, which could run code, so it is not opened; store the "
            "state dict alone, best as .safetensors."
        ) from None
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as problem:
        reason = (str(problem) or type(problem).__name__).splitlines()[0]
        raise InputError(f"{path} cannot be read as a checkpoint: {reason}") from None
    for key in NESTED_KEYS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path} holds no state dict (names and tensors).")
    return state


def load_state(module: nn.Module, state: Mapping[str, Tensor], source: str, /) -> None:
    """Copy a state dict into a network; every entry must fit.

    Args:
        module: Changed in place.
        state: Name → tensor.
        source: Where it comes from, for the sentence.

    Raises:
        InputError: An entry is missing, unknown, or of another shape.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    unknown = [name for name in state if name not in own]
    if missing or unknown:
        what = f"lacks {_some(missing)}" if missing else f"has the unknown entries {_some(unknown)}"
        raise InputError(f"The weights {source} do not fit this network: the file {what}.")
    for name, value in own.items():
        if value.shape != state[name].shape:
            raise InputError(
                f"The weights {source} do not fit this network: '{name}' has shape "
                f"{tuple(state[name].shape)}, expected {tuple(value.shape)}."
            )
    module.load_state_dict(state)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more

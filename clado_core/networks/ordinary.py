"""Is a network one whose modules can be looked into, and whose weights are there?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from clado_core.errors import InputError


def require_ordinary(model: nn.Module, /) -> None:
    """Make sure that a network's layers can be found and quantized in place.

    Raises:
        InputError: It was turned into TorchScript or exported, so that it has no layers any more,
            or the shapes of its weights are not known yet.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(
            "The network is TorchScript, in which layers cannot be told apart; give the "
            "torch.nn.Module that it was made from."
        )
    lazy = [name or "of the network" for name, module in model.named_modules() if _is_lazy(module)]
    if lazy:
        raise InputError(
            f"The layers {', '.join(lazy)} are lazy: their shapes are not known before a first "
            "input; run the network on one where it is made."
        )
    try:
        with evaluating(model):
            pass
    except NotImplementedError:
        raise InputError(
            "The network is an exported program, in which layers cannot be told apart; give the "
            "torch.nn.Module that it was exported from."
        ) from None


@contextmanager
def evaluating(model: nn.Module, /) -> Iterator[None]:
    """Eval mode; every module is in its own mode again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


def _is_lazy(module: nn.Module) -> bool:
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return any(is_lazy(value) for value in own)

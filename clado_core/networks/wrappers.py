"""Networks without what only spreads or compiles them: ``nn.DataParallel``, ``torch.compile``."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn


class _Holder(nn.Module):
    """Calls its one child, whose name keeps the names of its parameters what they were."""

    def __init__(self, name: str, child: nn.Module) -> None:
        super().__init__()
        self.add_module(name, child)
        self._held = name

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self._held)(*args, **kwargs)


def without_wrappers(model: nn.Module, /) -> nn.Module:
    """The same network, run by its own code in one process; names of parameters stay.

    Args:
        model: It is not changed; a copy is made where a wrapper stands inside it.
    """
    if held := _held_by_wrapper(model):
        own = _Holder(held, without_wrappers(getattr(model, held)))
        return own.train(model.training)
    if not any(map(_held_by_wrapper, model.modules())):
        return model
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if _held_by_wrapper(child):
                parent.add_module(name, without_wrappers(child))
    return model


def _held_by_wrapper(module: nn.Module) -> str:
    """Name of the child that a wrapper runs, "" for other modules."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return "module"
    # Importing the class would load the compiler.
    return "_orig_mod" if type(module).__name__ == "OptimizedModule" else ""

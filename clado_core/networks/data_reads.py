"""Notice values that a network's own code takes out of tensors and into Python."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

_VALUES = frozenset(
    ("item", "tolist", "numpy", "equal", "allclose", "is_nonzero", "__array__", "__contains__")
)
_CONVERSIONS = frozenset(
    ("__bool__", "__int__", "__index__", "__float__", "__complex__", "__format__")
)
"""Functions of tensors that give Python values, as ``_VALUES`` do."""
_SIZES = frozenset(("nonzero", "argwhere", "masked_select", "unique", "unique_consecutive"))
"""Functions whose result has a size that depends on values."""
_TORCH = str(Path(torch.__file__).parent)


class DataReads(TorchFunctionMode):
    """Follows what is computed from an input while active, and where that is read by Python.

    A graph recorded from one run holds such a value as a constant, and one branch of an ``if`` on
    it. A size that depends on values counts too. Values read from parameters and buffers alone are
    constants already and do not count.

    Args:
        x: The input.
    """

    def __init__(self, x: Tensor, /) -> None:
        super().__init__()
        self.places: list[str] = []
        """``file.py:line`` of each read, in their order."""
        # Views share a storage, so a change of one is a change of all. The references keep a
        # freed storage's identity from being given to another.
        self._followed: set[StorageWeakRef] = set()
        self._follow(x)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        follows = any(_storage(tensor) in self._followed for tensor in given)
        if follows and _reads(func, args, given):
            self.places.append(_place())
        result = func(*args, **(kwargs or {}))
        if follows:
            self._follow(result, (kwargs or {}).get("out"))
            if _writes(func):
                self._follow(args[:1])
        return result

    def _follow(self, *values: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
        self._followed.update(_storage(tensor) for tensor in tensors)


def data_reads(model: nn.Module, x: Tensor, /) -> list[str]:
    """Where a network reads what depends on its input as a Python value, as ``file.py:line``.

    Args:
        model: In eval mode; it is run once.
        x: One batch, on the network's device.
    """
    reads = DataReads(x)
    with torch.no_grad(), reads:
        model(x)
    return reads.places


def _storage(tensor: Tensor) -> StorageWeakRef:
    reference: Any = StorageWeakRef  # it has no types
    found: StorageWeakRef = reference(tensor.untyped_storage())
    return found


def _name(func: Callable[..., Any]) -> str:
    return str(getattr(func, "__name__", ""))


def _reads(func: Callable[..., Any], args: tuple[Any, ...], given: list[Tensor]) -> bool:
    name = _name(func)
    masked = name == "__getitem__" and any(mask.dtype == torch.bool for mask in given[1:])
    return name in _VALUES | _CONVERSIONS | _SIZES or masked or (name == "where" and len(args) == 1)


def _writes(func: Callable[..., Any]) -> bool:
    """Whether a method changes its first argument: ``add_``, ``x[0] = …``, ``x += …``."""
    name = _name(func)
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name == "__setitem__" or (name.startswith("__i") and name.endswith("__"))


def _place() -> str:
    frames = traceback.extract_stack()
    own = [f for f in frames if not f.filename.startswith(_TORCH) and f.filename != __file__]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "unknown"

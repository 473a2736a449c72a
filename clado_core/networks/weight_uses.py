"""What a network multiplies its data with, and whether it does so with parameters as stored.

Seen from below torch's functions, where only elementary operations are left: it makes no
difference whether a module, ``F.linear``, ``einsum``, an attention function or TorchScript asks for
a product. A weight may also be made on the way (scaled, standardized, masked): it is then followed
back to the parameters it was made from.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_aten: Any = torch.ops.aten

CONVOLUTION = "convolution"
_OPERANDS: dict[Any, tuple[int, int]] = {
    _aten.convolution: (0, 1),
    **dict.fromkeys((_aten.mm, _aten.bmm, _aten.mv, _aten.dot, _aten.vdot), (0, 1)),
    **dict.fromkeys((_aten.addmm, _aten.baddbmm, _aten.addbmm, _aten.addmv), (1, 2)),
    _aten._addmm_activation: (1, 2),
}
"""Elementary product → positions of its two factors among the arguments."""

_MOVES = {
    *(_aten.clone, _aten._to_copy, _aten.copy_, _aten.cat, _aten.stack, _aten.repeat, _aten.flip),
    *(_aten.constant_pad_nd, _aten.roll, _aten.index_select, _aten.index, _aten.tril, _aten.triu),
    *(_aten._unsafe_view, _aten.lift_fresh, _aten._reshape_copy),
}
"""Operations whose result holds the values of their inputs, unchanged, and zeros at most."""


class Origin(NamedTuple):
    """What a tensor that no input had a part in was made from.

    Args:
        names: Parameters and buffers.
        as_stored: Whether it holds their values, if in another order.
    """

    names: frozenset[str] = frozenset()
    as_stored: bool = True


class Use(NamedTuple):
    """A product with one parameter, or with what was made from it.

    Args:
        operation: "convolution", "mm", ...
        as_stored: Whether the parameter's own values were multiplied.
        macs: Multiply-accumulates, over all samples.
        rows: First row of the parameter that was used, and the one after the last.
    """

    operation: str
    as_stored: bool
    macs: int
    rows: tuple[int, int]


class _Entry(NamedTuple):
    """A parameter or buffer and where it lies in its memory, in bytes."""

    name: str
    value: Tensor
    start: int
    stop: int


class WeightUses(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows parameters and buffers through everything that runs while it is active.

    Args:
        model: Whose parameters and buffers.
        inputs: What the network is called with.
    """

    def __init__(self, model: nn.Module, inputs: Tensor, /) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: dict[str, list[Use]] = defaultdict(list)
        """Name → the products with it."""
        self.others: dict[str, set[str]] = defaultdict(set)
        """Name → other operations on it, or on what was made from it, together with data."""
        self._entries: dict[int, list[_Entry]] = defaultdict(list)
        self._parameters = {name for name, _ in model.named_parameters()}
        for name, value in (*model.named_parameters(), *model.named_buffers()):
            self._entries[_memory(value)].append(_Entry(name, value, *_extent(value)))
        self._made: dict[int, Origin | None] = {_memory(inputs): None}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        # In inference mode, whole functions arrive here before they are taken apart.
        with self:
            result = func.decompose(*args, **given)
        if result is not NotImplemented:
            return result
        result = func(*args, **given)
        inputs, outputs = _tensors((args, given)), _tensors(result)
        if not func._schema.is_mutable:  # a view stays what it is a view of
            looked_at = set(map(_memory, inputs))
            outputs = [tensor for tensor in outputs if _memory(tensor) not in looked_at]
        packet = func.overloadpacket
        if packet in _OPERANDS:
            bound = dict(zip(_argument_names(func), args, strict=False)) | given
            self._note_product(packet, [bound.get(name) for name in _argument_names(func)], outputs)
        self._note(packet, inputs, outputs)
        return result

    def macs(self, name: str, rows: tuple[int, int], /) -> int:
        """Multiply-accumulates with these rows of a parameter as stored, over all samples."""
        found = 0.0
        for use in self.products.get(name, ()):
            shared = min(rows[1], use.rows[1]) - max(rows[0], use.rows[0])
            if use.as_stored and shared > 0:
                found += use.macs * shared / (use.rows[1] - use.rows[0])
        return round(found)

    def _note(self, packet: Any, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        origins = [self._origin(tensor) for tensor in inputs]
        if None in origins and packet not in _OPERANDS:
            for origin in origins:
                for name in origin.names if origin else ():
                    self.others[name].add(str(packet).removeprefix("aten."))
        made = None
        if all(origin is not None for origin in origins):
            known = [origin for origin in origins if origin is not None]
            moved = packet in _MOVES and all(origin.as_stored for origin in known)
            made = Origin(frozenset().union(*(origin.names for origin in known)), moved)
        for tensor in outputs:
            if (memory := _memory(tensor)) not in self._entries:
                self._made[memory] = made

    def _note_product(self, packet: Any, args: Sequence[Any], outputs: list[Tensor]) -> None:
        left, right = (args[position] for position in _OPERANDS[packet])
        (output,) = outputs
        macs = output.numel() * left.shape[-1]
        if packet is _aten.convolution:
            transposed = args[6]
            macs = (left if transposed else output).numel() * right[0].numel()
        operation = str(packet).removeprefix("aten.")
        for tensor, other in ((left, right), (right, left)):
            origin = self._origin(tensor)
            if origin is not None and self._multiplies(origin, self._origin(other)):
                shares = dict(self._shares(tensor, origin))
                total = sum(size for size, _ in shares.values())
                for name, (size, rows) in shares.items():
                    use = Use(operation, origin.as_stored, round(macs * size / total), rows)
                    self.products[name].append(use)

    def _multiplies(self, factor: Origin, other: Origin | None) -> bool:
        """Whether a factor is a weight: of data, or of what is computed without any.

        Two parameters, as stored, are a weight in the making, such as one of low rank.
        """
        if other is None:
            return bool(factor.names)
        making = other.as_stored and bool(other.names & self._parameters)
        return factor.as_stored and bool(factor.names & self._parameters) and not making

    def _origin(self, tensor: Tensor) -> Origin | None:
        """Where a tensor comes from; None where the input has a part in it."""
        memory = _memory(tensor)
        if memory in self._entries:
            return Origin(frozenset(entry.name for entry, _ in self._touched(tensor)))
        return self._made.get(memory, Origin())

    def _shares(
        self, tensor: Tensor, origin: Origin
    ) -> Iterator[tuple[str, tuple[int, tuple[int, int]]]]:
        """Of each parameter in a factor: how large its part is, and its rows."""
        if _memory(tensor) in self._entries:
            for entry, rows in self._touched(tensor):
                yield entry.name, (rows[1] - rows[0], rows)
            return
        for entry in (entry for entries in self._entries.values() for entry in entries):
            if entry.name in origin.names:
                yield entry.name, (entry.value.numel(), (0, len(_rows_of(entry.value))))

    def _touched(self, view: Tensor) -> Iterator[tuple[_Entry, tuple[int, int]]]:
        """The parameters that a view reaches into, with the rows that it reaches."""
        first, after = _extent(view)
        for entry in self._entries[_memory(view)]:
            start, stop = max(first, entry.start), min(after, entry.stop)
            if start < stop:
                yield entry, _rows(entry, start, stop)


def _argument_names(func: Any) -> list[str]:
    return [argument.name for argument in func._schema.arguments]


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _memory(tensor: Tensor) -> int:
    """Equal for tensors that share their memory; also on the meta device, which has none."""
    try:
        storage: Any = tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # of layouts without one, such as sparse
        return -id(tensor)
    return int(storage._cdata)


def _extent(tensor: Tensor) -> tuple[int, int]:
    """First byte of a tensor in its memory, and the one after the last."""
    try:
        steps = [(n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True)]
        start = int(tensor.storage_offset()) * tensor.element_size()
    except (NotImplementedError, RuntimeError):
        return 0, 1
    return start, start + (int(sum(steps)) + 1) * tensor.element_size() * bool(tensor.numel())


def _rows_of(value: Tensor) -> range:
    return range(value.shape[0] if value.ndim else 1)


def _rows(entry: _Entry, start: int, stop: int) -> tuple[int, int]:
    """Rows of a parameter that lie in a part of its memory; all where rows are interleaved."""
    value, n = entry.value, len(_rows_of(entry.value))
    row = (value.stride(0) if value.ndim else 1) * value.element_size()
    _, inner = _extent(value[0]) if value.ndim else (0, row)
    if row == 0 or inner - entry.start > row:
        return 0, n
    return (start - entry.start) // row, min(math.ceil((stop - entry.start) / row), n)

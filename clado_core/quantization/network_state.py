"""What a network keeps beside its weights, by name, some rows of a parameter at a time.

A name is that of a parameter or buffer, or, where several layers share one, that with the rows that
are meant: "attention.in_proj_bias[64:128]" holds the bias of the key projection alone. So what
single layers change never overlaps, and a network's is what its layers change, taken together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from clado_core.errors import InputError
from clado_core.networks.searchable import PROJECTIONS, join
from clado_core.records.layers import LayerInfo

_ROWS = re.compile(r"(?P<entry>.+)\[(?P<start>\d+):(?P<stop>\d+)\]")


def state_entries(model: nn.Module, /) -> dict[str, Tensor]:
    """Parameters and buffers by name, all names of those that have several; as views."""
    entries = {name: p.data for name, p in model.named_parameters(remove_duplicate=False)}
    return entries | dict(model.named_buffers(remove_duplicate=False))


def state_views(model: nn.Module, names: Iterable[str], /) -> dict[str, Tensor]:
    """What stands under each name; writing to it changes the network.

    Raises:
        InputError: The network has no such parameter, buffer or rows.
    """
    entries = state_entries(model)
    return {name: _view(entries, name) for name in names}


def entry_of(name: str, /) -> str:
    """The parameter or buffer that a name is of, without its rows."""
    found = _ROWS.fullmatch(name)
    return found["entry"] if found else name


def bias_name(model: nn.Module, layer: LayerInfo, /) -> str | None:
    """Name of a layer's own bias, shape (out_channels,); None where it has none."""
    owner, _, parameter = layer.parameter.rpartition(".")
    entry, rows = "bias", ""
    if layer.kind == "attention" and parameter != "weight":
        # One bias for q, k and v, whether or not their weights are one parameter.
        start = PROJECTIONS.index(layer.name.rpartition(".")[2]) * layer.out_channels
        entry, rows = "in_proj_bias", f"[{start}:{start + layer.out_channels}]"
    found = getattr(model.get_submodule(owner), entry, None)
    return join(owner, entry) + rows if isinstance(found, Tensor) else None


@contextmanager
def using_state(model: nn.Module, state: Mapping[str, Tensor], /) -> Iterator[None]:
    """The network holds these values for as long as this lasts; then its own, whatever happens.

    Args:
        model: Written in place.
        state: Name → value, as of ``norm_buffers`` or ``reestimate_batch_norm``.

    Raises:
        InputError: The network has nothing of this name, or it has another shape.
    """
    views = state_views(model, state)
    for name, value in state.items():
        if views[name].shape != value.shape:
            raise InputError(
                f"'{name}' has shape {tuple(views[name].shape)}, not {tuple(value.shape)}; give "
                "the network it is of."
            )
    before = {name: view.clone() for name, view in views.items()}
    with torch.no_grad():
        try:
            for name, view in views.items():
                view.copy_(state[name])
            yield
        finally:
            for name, view in views.items():
                view.copy_(before[name])


def _view(entries: Mapping[str, Tensor], name: str) -> Tensor:
    if name in entries:
        return entries[name]
    if (found := _ROWS.fullmatch(name)) and (whole := entries.get(found["entry"])) is not None:
        start, stop = int(found["start"]), int(found["stop"])
        if whole.ndim and start < stop <= len(whole):
            return whole[start:stop]
    raise InputError(f"The network has no '{name}'; give the network it is of.")

"""What every step of a network costs, and where the network may be cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from clado_core.networks.discovery import attention_fast_path_off
from clado_core.sensitivity.graph import INPUT, NetworkGraph, Values, tensors


@dataclass(frozen=True, slots=True, eq=False)
class NetworkProfile:
    """Costs per sample of a graph of S steps.

    Args:
        macs: Multiply-accumulates of each step (convolutions and matrix products), shape (S,).
        live_bytes: Size of the values that have to be known at each cut, shape (S,).
        working_bytes: Size of all values held while each step runs, shape (S,).
        changed: For each cut, the live values that a later step overwrites in place.
        legal: Whether a network can be resumed at each cut, shape (S,).
    """

    macs: npt.NDArray[np.int64]
    live_bytes: npt.NDArray[np.float64]
    working_bytes: npt.NDArray[np.float64]
    changed: tuple[tuple[int, ...], ...]
    legal: npt.NDArray[np.bool_]


@torch.no_grad()
def profile_graph(graph: NetworkGraph, example: Tensor, /) -> NetworkProfile:
    """Run a network once, step by step.

    Args:
        graph: Of a network in eval mode.
        example: Shape (n, C, H, W), n ≥ 1, on the network's device; not changed.
    """
    last = graph.last_reads
    values: Values = {INPUT: example.clone()}
    macs, live, working = [], [], []
    overwritten: list[set[int]] = []
    aliases: list[set[int]] = []
    counter = FlopCounterMode(display=False)
    with attention_fast_path_off(), counter:
        for k, step in enumerate(graph.steps):
            live.append(_bytes(values))
            aliases.append(_aliased(values))
            before, flops = _versions(values), counter.get_total_flops()
            values[k] = step.call(values)
            macs.append((counter.get_total_flops() - flops) // 2)
            overwritten.append({v for v, n in before.items() if _version(values[v]) != n})
            working.append(_bytes(values))
            values = {v: value for v, value in values.items() if last[v] > k}
    changed = tuple(
        tuple(v for v in graph.live(k) if any(v in o for o in overwritten[k:]))
        for k in range(len(graph))
    )
    legal = [not aliases[k].intersection(changed[k]) for k in range(len(graph))]
    n = len(example)
    return NetworkProfile(
        np.array(macs, dtype=np.int64) // n,
        np.array(live, dtype=np.float64) / n,
        np.array(working, dtype=np.float64) / n,
        changed,
        np.array(legal),
    )


def _version(value: object) -> tuple[int, ...]:
    """Counts in-place changes; views of one tensor share the count."""
    return tuple(t._version for t in tensors(value))


def _versions(values: Values) -> dict[int, tuple[int, ...]]:
    return {v: _version(value) for v, value in values.items()}


def _storages(value: object) -> dict[int, int]:
    """Address → bytes of the memory behind a value."""
    storages = (t.untyped_storage() for t in tensors(value))
    return {s.data_ptr(): s.nbytes() for s in storages}


def _bytes(values: Values) -> int:
    return sum(_storages(tuple(values.values())).values())


def _aliased(values: Values) -> set[int]:
    """Values that share their memory with another value, which copies would tear apart."""
    owners: dict[int, list[int]] = {}
    for v, value in values.items():
        for address in _storages(value):
            owners.setdefault(address, []).append(v)
    return {v for shared in owners.values() if len(shared) > 1 for v in shared}

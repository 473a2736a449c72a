"""In which order to measure, so that no part of the network is run twice without need.

Per batch two sets of live values are held: those of the float network before the layer whose
candidates are measured, and those with one such candidate in place. Both only ever move forward,
so each part of the network is run once for them, and a pair costs only what follows its later
layer. The schedule is also the exact forecast of the cost.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from clado_core.sensitivity.plan import Unit
from clado_core.sensitivity.profile import NetworkProfile


@dataclass(frozen=True, slots=True)
class Move:
    """Run the steps from one cut to another.

    Args:
        kind: "base" moves the float network's values on, "held" those with one candidate in
            place, and "measure" runs to the end and gives the outputs of ``unit``.
        start: Cut to start from; ``end`` likewise, the number of steps for the end.
        unit: Candidates in place.
        source: Whose values are read: "base" or "held".
    """

    kind: Literal["base", "held", "measure"]
    start: int
    end: int
    unit: Unit
    source: Literal["base", "held"]


def schedule(
    units: Iterable[Unit], starts: tuple[int, ...], n_bits: int, n_steps: int, /
) -> Iterator[Move]:
    """Moves that measure all units on one batch, in the order of the network.

    Args:
        units: What to measure, in any order; each gets one "measure" move.
        starts: Cut before each layer, shape (L,).
        n_bits: Size of the menu.
        n_steps: Steps of the network.
    """

    def place(a: int) -> tuple[int, int]:
        return starts[a // n_bits], a

    rest: dict[int, list[tuple[tuple[int, int], Unit]]] = defaultdict(list)
    for unit in units:
        if not unit:
            yield Move("measure", 0, n_steps, (), "base")
            continue
        first, *others = sorted(unit, key=place)
        rest[first].append((place(others[0]) if others else (n_steps, first), unit))
    base = 0
    for first in sorted(rest, key=place):
        if (cut := place(first)[0]) > base:
            yield Move("base", base, cut, (), "base")
            base = cut
        held = base
        for (second, _), unit in sorted(rest[first]):
            if base <= held < second < n_steps:
                yield Move("held", held, second, (first,), "base" if held == base else "held")
                held = second
            yield Move("measure", held, n_steps, unit, "base" if held == base else "held")


def scheduled_cost(
    units: Iterable[Unit],
    starts: tuple[int, ...],
    n_bits: int,
    per_step: npt.NDArray[np.int64] | npt.NDArray[np.float64],
    /,
) -> float:
    """Cost of measuring all units, in the unit of ``per_step``, exactly as they will be run.

    Args:
        units: As for ``schedule``, likewise ``starts`` and ``n_bits``.
        starts: Cut before each layer, shape (L,).
        n_bits: Size of the menu.
        per_step: Multiply-accumulates or seconds of each step, shape (steps,).
    """
    upto: list[float] = [0, *per_step.cumsum().tolist()]
    moves = schedule(units, starts, n_bits, len(per_step))
    return sum(upto[move.end] - upto[move.start] for move in moves)


def siblings(
    moves: Iterable[Move], starts: tuple[int, ...], n_bits: int, /
) -> Iterator[tuple[int, list[Move]]]:
    """Join consecutive measurements that differ in the bit-width of one layer alone.

    Args:
        moves: As of ``schedule``.
        starts: Cut before each layer, shape (L,).
        n_bits: Size of the menu.

    Yields:
        The layer that differs, and its moves; −1 and one move where nothing can be joined.
    """

    def shared(move: Move) -> tuple[object, ...]:
        if move.kind != "measure" or not move.unit:
            return (move.kind, move.end, move.unit)
        *held, last = sorted(move.unit, key=lambda a: (starts[a // n_bits], a))
        return ("measure", move.start, move.source, tuple(held), last // n_bits)

    for key, group in itertools.groupby(moves, key=shared):
        joined = list(group)
        if len(joined) > 1:
            yield int(str(key[-1])), joined
        else:
            yield -1, joined


def choose_starts(
    first_uses: tuple[int, ...], profile: NetworkProfile, /, *, largest_bytes: float = math.inf
) -> tuple[int, ...]:
    """The cut to start each layer from: the last legal one before its weight is used.

    Args:
        first_uses: Step that first uses each layer's weight, shape (L,).
        profile: Of the network.
        largest_bytes: A cut with more live bytes per sample is not used; the start is.
    """
    usable = [
        k
        for k in range(len(profile.macs))
        if k == 0 or (profile.legal[k] and profile.live_bytes[k] <= largest_bytes)
    ]
    return tuple(max(k for k in usable if k <= step) for step in first_uses)

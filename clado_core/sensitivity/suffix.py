"""Measure by running only what lies after the quantized layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from clado_core.errors import CladoError, InputError
from clado_core.networks.inference import require_scores, running
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.records.layers import LayerTable
from clado_core.sensitivity.graph import INPUT, NetworkGraph, Values, tensors, trace, whole_graph
from clado_core.sensitivity.plan import Unit
from clado_core.sensitivity.profile import NetworkProfile, profile_graph
from clado_core.sensitivity.schedule import Move, choose_starts, schedule, siblings

CHECKED_SAMPLES = 4
"""Samples on which the traced steps must give the network's own outputs, bit for bit."""
GROUP_TOLERANCE = 1e-5
"""Within which outputs in a larger batch must be those in a smaller one, which sums differently."""


@dataclass(frozen=True, slots=True, eq=False)
class SuffixRunner:
    """A network cut before each of its layers.

    Args:
        graph: Its steps.
        profile: What they cost.
        starts: Cut before each layer, shape (L,).
        n_bits: Size of the menu.
        ends: Cut after the last use of each layer's weight, shape (L,).
        grouped: Whether bit-widths of one layer are run as one batch after that cut.
    """

    graph: NetworkGraph
    profile: NetworkProfile
    starts: tuple[int, ...]
    n_bits: int
    ends: tuple[int, ...] = ()
    grouped: bool = False

    def within(self, bytes_per_sample: float, /) -> SuffixRunner:
        """The same network held to a memory, in bytes per sample of a batch.

        Cuts with so many live values that two sets of them do not fit beside what a forward needs
        are given up: layers after them start from an earlier cut.

        Raises:
            InputError: Not even whole forwards fit.
        """
        working = self._working_bytes
        if working > bytes_per_sample:
            raise InputError(
                f"One forward needs {working / 1e6:.3g} MB per sample, and the memory allows "
                f"{max(bytes_per_sample, 0) / 1e6:.3g}; lower the batch size or raise the memory."
            )
        largest = (bytes_per_sample - working) / 2
        return replace(self, starts=choose_starts(self.starts, self.profile, largest_bytes=largest))

    def with_more(self, working_bytes: float, /) -> SuffixRunner:
        """The same network where every step needs this much more, in bytes per sample."""
        working = self.profile.working_bytes + working_bytes
        return replace(self, profile=replace(self.profile, working_bytes=working))

    @property
    def bytes_per_sample(self) -> float:
        """Most memory held at once per sample of a batch, activations only."""
        largest = max(self.profile.live_bytes[k] if k else 0.0 for k in self.starts)
        return float(2 * largest + self._working_bytes)

    @property
    def _working_bytes(self) -> float:
        """Of one forward, or of one for every bit-width at once."""
        return float(self.profile.working_bytes.max()) * (self.n_bits if self.grouped else 1)

    def outputs(
        self, x: Tensor, units: Iterable[Unit], place: Callable[[Unit], None], /
    ) -> Iterator[tuple[Unit, Tensor]]:
        """Class scores of each unit on one batch, in the schedule's order.

        Equal to running the whole network each time: the same steps see the same values.

        Args:
            x: Inputs, shape (n, C, H, W); not changed.
            units: What to measure.
            place: Puts exactly these candidates into the network.

        Raises:
            MeasurementError: The network cannot run these inputs, or gives no class scores.
        """
        held: dict[str, Values] = {"base": {INPUT: x}}
        for layer, moves in self._moves(units):
            move = moves[0]
            place(move.unit)
            if move.source == "base":
                held.pop("held", None)  # the candidate it belonged to is done
            # Until the base has moved it holds the caller's own inputs.
            moved = held["base"].keys() != {INPUT}
            owned = move.kind == move.source and (move.kind == "held" or moved)
            source = held.pop(move.source) if owned else held[move.source]
            with running(x):
                if layer >= 0:
                    found = self._run_together(source, moves, layer, place)
                else:
                    values = self._run(source, move, owned)
            if layer >= 0:
                yield from zip((m.unit for m in moves), found, strict=True)
            elif move.kind == "measure":
                yield move.unit, require_scores(values[len(self.graph) - 1])
            else:
                held[move.kind] = values

    def _moves(self, units: Iterable[Unit]) -> Iterator[tuple[int, list[Move]]]:
        moves = schedule(units, self.starts, self.n_bits, len(self.graph))
        if self.grouped:
            return siblings(moves, self.starts, self.n_bits)
        return ((-1, [move]) for move in moves)

    def _run_together(
        self, source: Values, moves: list[Move], layer: int, place: Callable[[Unit], None]
    ) -> Sequence[Tensor]:
        """Outputs of bit-widths of one layer: up to its last use in turn, then at once."""
        join = max(self.ends[layer], moves[0].start)
        parts = []
        for move in moves:
            place(move.unit)
            parts.append(self._run(source, replace(move, end=join), False))
        values = {v: _stack([part[v] for part in parts]) for v in parts[0]}
        rest = Move("measure", join, len(self.graph), (), "base")
        outputs = require_scores(self._run(values, rest, True)[len(self.graph) - 1])
        return outputs.chunk(len(moves))

    def _run(self, source: Values, move: Move, owned: bool) -> Values:
        """Values at the end of a move; those of the source survive unless they are owned."""
        values = source if owned else dict(source)
        if not owned:
            for v in self.profile.changed[move.start]:
                values[v] = _copy(values[v])
        last = self.graph.last_reads
        for k in range(move.start, move.end):
            step = self.graph.steps[k]
            values[k] = step.call(values)
            for v in (*step.reads, k):
                if last[v] <= k:
                    values.pop(v, None)
        return values


def prepare_runner(
    model: nn.Module,
    layers: LayerTable,
    example: Tensor,
    swap: WeightSwap,
    /,
    *,
    n_bits: int,
    lowest_bits: int,
    reuse: bool = True,
    grouped: bool = False,
) -> SuffixRunner:
    """Trace a network and make sure that its steps do what the network does.

    Where they do not, or where tracing fails, the network stays one step: every measurement is
    then a whole forward. ``runner.graph.opaque`` says what could not be traced.

    Args:
        model: In eval mode.
        layers: Its searched layers.
        example: A few inputs, shape (n, C, H, W).
        swap: Holds the model's weights.
        n_bits: Size of the menu; ``lowest_bits`` is its smallest bit-width.
        lowest_bits: Used for all layers at once to check that the steps see swapped weights.
        reuse: False for whole forwards.
        grouped: Run bit-widths of one layer as one batch, where that gives the same outputs.
    """
    example = example[:CHECKED_SAMPLES]
    with running(example):
        graph = trace(model) if reuse else whole_graph(model)
        uses = graph.uses(layers, swap.beside)
        if graph.is_whole or uses is None or not _agrees(model, graph, example, swap, lowest_bits):
            graph, uses = whole_graph(model), ((0, 0),) * len(layers)
        profile = profile_graph(graph, example)
    starts = choose_starts(tuple(first for first, _ in uses), profile)
    ends = tuple(last + 1 for _, last in uses)
    runner = SuffixRunner(graph, profile, starts, n_bits, ends)
    if grouped and not graph.is_whole and _groups_agree(runner, example, swap, lowest_bits):
        return replace(runner, grouped=True)
    return runner


def _agrees(
    model: nn.Module, graph: NetworkGraph, example: Tensor, swap: WeightSwap, lowest_bits: int
) -> bool:
    """Whether the steps give the network's own outputs, also with every layer quantized."""

    def same() -> bool:
        expected = model(example.clone())
        values: Values = {INPUT: example.clone()}
        try:
            for k, step in enumerate(graph.steps):
                values[k] = step.call(values)
        except Exception:  # what tracing misunderstood may fail in any way
            return False
        pairs = list(zip(tensors(expected), tensors(values[len(graph) - 1]), strict=True))
        return all(torch.equal(a, b) or not torch.isfinite(a).all() for a, b in pairs)

    if not same():
        return False
    if not all(torch.isfinite(t).all() for t in tensors(model(example.clone()))):
        return True
    swap.apply(dict.fromkeys(range(swap.n_layers), lowest_bits))
    try:
        return same()
    finally:
        swap.apply({})


def _groups_agree(
    runner: SuffixRunner, example: Tensor, swap: WeightSwap, lowest_bits: int
) -> bool:
    """Whether samples do not notice that others stand in their batch."""
    grouped = replace(runner, grouped=True)
    units = [(a,) for a in range(swap.n_layers * runner.n_bits)]

    def place(unit: Unit) -> None:
        swap.apply({a // runner.n_bits: lowest_bits for a in unit if a % runner.n_bits})

    try:
        expected = dict(runner.outputs(example, units, place))
        found = dict(grouped.outputs(example, units, place))
    except CladoError:  # what a larger batch does to the network's own code may fail in any way
        return False
    finally:
        swap.apply({})
    return all(
        torch.allclose(found[u], expected[u], rtol=GROUP_TOLERANCE, atol=GROUP_TOLERANCE)
        for u in units
    )


def _stack(values: Sequence[Any]) -> Any:
    """One value for several batches, one after another; what does not depend on them stays."""
    first = values[0]
    if isinstance(first, Tensor) and first.ndim:
        return torch.cat(list(values))
    if isinstance(first, tuple | list):
        return type(first)([_stack(part) for part in zip(*values, strict=True)])
    return first


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, tuple | list):
        return type(value)([_copy(part) for part in value])
    return value

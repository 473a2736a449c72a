"""What a solve gives back: an assignment, how good it is, and who says so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from clado_core.container import container_bytes
from clado_core.errors import InputError
from clado_core.layers import LayerTable
from clado_core.matrix import LOSS_PER_OBJECTIVE
from clado_core.scheme import (
    BitWidths,
    QuantizationScheme,
    bits_to_json,
    input_bits,
    menu_entries,
    weight_bits,
)


class SolveStatus(Enum):
    """How a solve ended; the value is the sentence shown to users, ``code`` the one in files."""

    OPTIMAL = "Proven optimal."
    GAP_LIMIT = "Proven to be within the gap that was asked for."
    TIME_LIMIT = "Best found within the time limit; the gap says how far the optimum can be."
    HEURISTIC = "Approximate: a good answer that is not proven optimal."

    @property
    def code(self) -> str:
        """Name in JSON: "optimal", "gap_limit", "time_limit" or "heuristic"."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Assignment:
    """One bit-width per layer.

    Args:
        layers: The searched layers.
        bits: Bit-widths in the same order, shape (L,).
        scheme: The quantizer, which decides how many bytes the scales take.
    """

    layers: LayerTable
    bits: BitWidths
    scheme: QuantizationScheme

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", menu_entries(self.bits))
        if len(self.bits) != len(self.layers):
            raise InputError(
                f"The assignment has {len(self.bits)} bit-widths for {len(self.layers)} layers."
            )

    @property
    def size_bits(self) -> int:
        """Bits of the searched weights: Σ n_i·b_i."""
        return sum(
            layer.n_weights * weight_bits(b)
            for layer, b in zip(self.layers.layers, self.bits, strict=True)
        )

    @property
    def avg_bits(self) -> float:
        """Average bits per searched weight."""
        return self.size_bits / self.layers.total_weights

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole packed file: weights, scales, all that stays float32, its header."""
        packed = sum(
            layer.weight_bytes(weight_bits(b))
            for layer, b in zip(self.layers.layers, self.bits, strict=True)
        )
        return packed + fixed_bytes(self.layers, self.scheme)

    @property
    def bops(self) -> int:
        """Bit operations per sample: Σ MACs·b_weight·b_activation (0 where MACs are unknown)."""
        return sum(
            layer.macs * weight_bits(b) * (input_bits(b) or self.scheme.activation_bits)
            for layer, b in zip(self.layers.layers, self.bits, strict=True)
        )

    def by_layer(self) -> dict[str, int]:
        """Layer name → bits."""
        return dict(zip(self.layers.names, self.bits, strict=True))

    def changes_from(self, other: Assignment, /) -> dict[str, tuple[int, int]]:
        """Layer name → (bits in other, bits here), only where they differ."""
        return {
            name: (before, after)
            for name, before, after in zip(self.layers.names, other.bits, self.bits, strict=True)
            if before != after
        }


def fixed_bytes(layers: LayerTable, scheme: QuantizationScheme, /) -> int:
    """Bytes that no bit-width changes: scales, everything that stays float32, the file's header."""
    scales = sum(scheme.scale_bytes(layer.out_channels) for layer in layers.layers)
    return scales + layers.other_bytes + container_bytes(layers)


def assignment_from_mapping(
    layers: LayerTable, scheme: QuantizationScheme, bits: Mapping[str, int], /
) -> Assignment:
    """Order a layer name → bits mapping by the layer table.

    Raises:
        InputError: A layer is unknown or missing.
    """
    for name in bits:
        layers.index(name)
    missing = [name for name in layers.names if name not in bits]
    if missing:
        raise InputError(f"The assignment gives no bit-width for {', '.join(missing)}.")
    return Assignment(layers, tuple(int(bits[name]) for name in layers.names), scheme)


@dataclass(frozen=True, slots=True)
class Solution:
    """One assignment and what is proven about it, always in terms of the measured G.

    Args:
        assignment: The chosen bit-widths.
        status: How the solve ended.
        objective: x'Gx of the assignment on the measured G, recomputed from the assignment.
        bound: No feasible assignment has a smaller x'Gx; −inf where nothing is proven.
        method: "clado", "diagonal", "block", "uniform", ...: what was minimized.
        solver: Who found it and, where proven, who proved it, such as "scip".
        runtime_s: Wall time of the whole solve.
        first_answer_s: Wall time until the first feasible assignment.
    """

    assignment: Assignment
    status: SolveStatus
    objective: float
    bound: float
    method: str
    solver: str
    runtime_s: float
    first_answer_s: float

    @property
    def predicted_loss_increase(self) -> float:
        """Half of x'Gx: a quadratic prediction, not a measured loss."""
        return LOSS_PER_OBJECTIVE * self.objective

    @property
    def gap(self) -> float | None:
        """Relative optimality gap (objective − bound)/|objective|; None without a bound."""
        return relative_gap(self.objective, self.bound)

    def to_json(self) -> dict[str, Any]:
        """As plain values; the keys are listed in the README."""
        chosen = self.assignment
        return {
            "assignment": {k: bits_to_json(b) for k, b in chosen.by_layer().items()},
            "status": self.status.code,
            "objective": self.objective,
            "predicted_loss_increase": self.predicted_loss_increase,
            "bound": self.bound if math.isfinite(self.bound) else None,
            "gap": self.gap,
            "size_bits": chosen.size_bits,
            "size_bytes": chosen.size_bytes,
            "avg_bits": chosen.avg_bits,
            "bops": chosen.bops,
            "runtime_s": self.runtime_s,
            "first_answer_s": self.first_answer_s,
            "solver": self.solver,
            "method": self.method,
        }


def relative_gap(objective: float, bound: float, /) -> float | None:
    """(objective − bound)/|objective|, 0 where both are equal, None where it is not finite."""
    if objective == bound:
        return 0.0
    if objective == 0 or not math.isfinite(bound):
        return None
    return (objective - bound) / abs(objective)

"""The allocation problem as a user states it: a matrix, budgets, and wishes about layers."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from clado_core.errors import InfeasibleBudgetError, InputError
from clado_core.records.assignment import Assignment
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.portable import Portable
from clado_core.records.scheme import BitWidths, bits_to_json, input_bits, weight_bits

BUDGETS = {
    "budget_bits": ("size_bits", "bits of searched weights"),
    "budget_bytes": ("size_bytes", "bytes of the whole file"),
    "budget_bops": ("bops", "bit operations per sample"),
}
"""Budget field → (property of Assignment that it limits, unit)."""

Groups: TypeAlias = tuple[tuple[tuple[int, ...], BitWidths], ...]


@dataclass(frozen=True, slots=True)
class AllocationProblem(Portable):
    """Choose one bit-width per layer: minimize x'Gx within the budgets.

    Args:
        matrix: The sensitivities to minimize.
        budget_bits: Σ n_i·b_i may not exceed this; None for no limit (likewise below).
        budget_bytes: The whole file, scales and unquantized parts included.
        budget_bops: Bit operations per sample.
        pins: Layer name → its only bit-width.
        ties: Groups of layer names that must share one bit-width.
        min_bits: Layer name pattern (``*`` and ``?`` as in file names) → smallest bit-width; of a
            joint one (4a8) both parts hold.
        allowed: Layer name → its own menu, a part of the matrix's.

    Raises:
        InputError: Unknown layer, bit-width outside the menu, or wishes that contradict.
        InfeasibleBudgetError: Even the smallest allowed bit-widths exceed a budget.
    """

    matrix: SensitivityMatrix
    budget_bits: int | None = None
    budget_bytes: int | None = None
    budget_bops: int | None = None
    pins: Mapping[str, int] = field(default_factory=dict)
    ties: tuple[tuple[str, ...], ...] = ()
    min_bits: Mapping[str, int] = field(default_factory=dict)
    allowed: Mapping[str, BitWidths] = field(default_factory=dict)
    _groups: Groups = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in BUDGETS:
            object.__setattr__(self, name, _whole_number(name, getattr(self, name)))
        for name in ("pins", "min_bits", "allowed"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        object.__setattr__(self, "ties", tuple(tuple(group) for group in self.ties))
        for tie in self.ties:
            if len(tie) < 2:
                raise InputError(
                    f"A tie joins two layers or more; given: {', '.join(tie) or 'none'}."
                )
        if self.budget_bops is not None and not self.matrix.layers.macs.all():
            raise InputError(
                f"A limit on bit operations needs the multiply-accumulates of every layer, and "
                f"'{self.matrix.name}' does not carry them: measure the network again."
            )
        object.__setattr__(self, "_groups", self._find_groups())
        for name, limit in self.budgets.items():
            measure, unit = BUDGETS[name]
            smallest, largest = self.extremes(measure)
            minimum = getattr(smallest, measure)
            if limit < minimum:
                maximum = getattr(largest, measure)
                raise InfeasibleBudgetError(
                    f"A budget of {limit:,} {unit} is infeasible: the smallest feasible size is "
                    f"{minimum:,} (every layer at its lowest allowed bit-width), the largest is "
                    f"{maximum:,}.{_in_user_units(measure, smallest)}",
                    constraint=name,
                    requested=limit,
                    minimum=minimum,
                    maximum=maximum,
                )

    @property
    def budgets(self) -> dict[str, int]:
        """The budgets that are set: field name → limit."""
        limits = {name: getattr(self, name) for name in BUDGETS}
        return {name: limit for name, limit in limits.items() if limit is not None}

    @property
    def rules(self) -> dict[str, Any]:
        """The ties, smallest bit-widths and menus that are set, as plain values for JSON."""
        every = {
            "ties": [list(group) for group in self.ties],
            "min_bits": {pattern: bits_to_json(b) for pattern, b in self.min_bits.items()},
            "allowed": {name: list(map(bits_to_json, menu)) for name, menu in self.allowed.items()},
        }
        return {name: values for name, values in every.items() if values}

    def groups(self) -> Groups:
        """The decisions left: (positions of the layers that share it, bit-widths allowed).

        Tied layers are one decision; its menu is what all of its layers allow. In network order.
        """
        return self._groups

    def _find_groups(self) -> Groups:
        menus = self._menus()
        layers = self.matrix.layers
        leader = list(range(len(layers)))
        for tie in self.ties:
            roots = [leader[layers.index(name)] for name in tie]
            leader = [min(roots) if root in roots else root for root in leader]
        groups = []
        for root in dict.fromkeys(leader):
            members = tuple(i for i, r in enumerate(leader) if r == root)
            shared = tuple(b for b in self.matrix.bit_widths if all(b in menus[i] for i in members))
            if not shared:
                names = ", ".join(f"'{layers.names[i]}'" for i in members)
                raise InputError(
                    f"The wishes for {names} contradict: no bit-width satisfies all of them."
                )
            groups.append((members, shared))
        return tuple(groups)

    def extremes(self, measure: str = "size_bits", /) -> tuple[Assignment, Assignment]:
        """The smallest and the largest assignment that pins, ties and menus allow.

        Args:
            measure: The property of Assignment that counts: with joint choices, fewer bits can be
                more bit operations (3a8 against 4a4).
        """
        key = _bit_operations if measure == "bops" else int
        low = np.zeros(self.matrix.n_layers, dtype=np.int64)
        high = low.copy()
        for members, menu in self.groups():
            low[list(members)], high[list(members)] = min(menu, key=key), max(menu, key=key)
        return self.assignment(tuple(low.tolist())), self.assignment(tuple(high.tolist()))

    def assignment(self, bits: BitWidths, /) -> Assignment:
        """An assignment of this problem's layers under its quantizer."""
        return Assignment(self.matrix.layers, bits, self.matrix.scheme)

    def is_feasible(self, assignment: Assignment, /) -> bool:
        """Whether an assignment satisfies every budget and wish."""
        within = all(
            getattr(assignment, BUDGETS[name][0]) <= limit for name, limit in self.budgets.items()
        )
        return within and all(
            len({assignment.bits[i] for i in members}) == 1 and assignment.bits[members[0]] in menu
            for members, menu in self.groups()
        )

    def _menus(self) -> list[BitWidths]:
        layers, full = self.matrix.layers, self.matrix.bit_widths
        menus = [full] * len(layers)

        def restrict(i: int, keep: BitWidths, wish: str) -> None:
            menus[i] = tuple(b for b in menus[i] if b in keep)
            if not menus[i]:
                raise InputError(
                    f"{wish} leaves no bit-width for '{layers.names[i]}': the matrix was measured "
                    f"at {', '.join(map(str, full))} bits, and other wishes must hold too."
                )

        for name, menu in self.allowed.items():
            restrict(layers.index(name), tuple(menu), f"The menu {name}={_shown(*menu)}")
        for pattern, least in self.min_bits.items():
            matched = [i for i, n in enumerate(layers.names) if fnmatch.fnmatchcase(n, pattern)]
            if not matched:
                raise InputError(f"No layer name matches the pattern '{pattern}'.")
            for i in matched:
                keep = tuple(b for b in full if _is_at_least(b, least))
                restrict(i, keep, f"A minimum of {_shown(least)} bits for '{pattern}'")
        for name, bits in self.pins.items():
            restrict(layers.index(name), (bits,), f"The pin {name}={_shown(bits)}")
        return menus


def bits_for_average(avg_bits: float, layers: LayerTable, /) -> int:
    """The budget in bits that an average over the searched weights stands for."""
    if not _is_finite(avg_bits) or avg_bits <= 0:
        raise InputError(f"The average bits per weight must be a positive number, not {avg_bits}.")
    return whole_units(avg_bits, layers.total_weights)


def whole_units(amount: float, units: int, /) -> int:
    """⌊amount · units⌋ of the decimal that an amount is written as, however large.

    With room for the rounding of an average that was computed, such as 10/3: two halves of a last
    digit, one of the quotient and one of its decimal.

    Args:
        amount: Finite, such as 4.1 bits on average.
        units: Whole units in one of the amount.
    """
    exact = Fraction(str(amount)) * units
    return math.floor(exact + exact / 2**52 + Fraction(1, 10**6))


def _is_at_least(bits: int, least: int) -> bool:
    """Whether an entry's weights, and its inputs where a minimum names them, are no smaller."""
    inputs, least_inputs = input_bits(bits) or 0, input_bits(least) or 0
    return weight_bits(bits) >= weight_bits(least) and inputs >= least_inputs


def _shown(*bits: int) -> str:
    """Entries as users write them, also those that came as plain numbers."""
    return ",".join(str(bits_to_json(b)) for b in bits)


def _bit_operations(bits: int) -> int:
    """Per multiply-accumulate, up to the factor of an input that all entries share."""
    return weight_bits(bits) * (input_bits(bits) or 1)


def _whole_number(name: str, value: float | None) -> int | None:
    if value is None:
        return None
    if not _is_finite(value) or value < 0:
        raise InputError(f"{name} must be a number of zero or more, not {value}.")
    return int(value)


def _is_finite(value: float) -> bool:
    # Whole numbers can be larger than any float.
    return isinstance(value, int) or math.isfinite(value)


def _in_user_units(measure: str, smallest: Assignment) -> str:
    if measure == "size_bits":
        least = _rounded_up(smallest.size_bits, smallest.layers.total_weights)
        return f" Ask for at least {least} bits on average."
    if measure == "size_bytes":
        return f" Ask for at least {_rounded_up(smallest.size_bytes, 10**6)} MB (10⁶ bytes)."
    return ""


def _rounded_up(numerator: int, denominator: int) -> str:
    """A ratio in six digits that is feasible when it is typed back: never below the ratio."""
    context = Context(prec=6, rounding=ROUND_CEILING)
    return f"{context.divide(Decimal(numerator), Decimal(denominator)).normalize():f}"

"""What a visitor wants of single layers: locked bit-widths, layers that share one, minimums."""

from __future__ import annotations

from dataclasses import dataclass, replace

from clado_core import AllocationProblem, SensitivityMatrix
from clado_core.errors import CladoError, InputError


@dataclass(frozen=True, slots=True)
class Rules:
    """Wishes about layers; hashable, so that answers can be kept by them.

    Args:
        locks: (layer, its only bit-width), sorted.
        ties: Layers that share one bit-width, each group in network order.
        least: (layer, its smallest bit-width), sorted.
    """

    locks: tuple[tuple[str, int], ...] = ()
    ties: tuple[tuple[str, ...], ...] = ()
    least: tuple[tuple[str, int], ...] = ()

    def problem(
        self, matrix: SensitivityMatrix, /, budget_bits: int | None = None
    ) -> AllocationProblem:
        """The allocation under these rules; raises where they contradict each other."""
        return AllocationProblem(
            matrix,
            budget_bits=budget_bits,
            pins=dict(self.locks),
            ties=self.ties,
            min_bits=dict(self.least),
        )

    def with_lock(self, layer: str, bits: int | None, /) -> Rules:
        """Fix a layer's bit-width, or free it."""
        return replace(self, locks=_changed(self.locks, layer, bits))

    def with_least(self, layer: str, bits: int | None, /) -> Rules:
        """Give a layer a smallest bit-width, or none."""
        return replace(self, least=_changed(self.least, layer, bits))

    def with_tie(self, layers: tuple[str, ...], /) -> Rules:
        """Join layers; groups that share a layer become one."""
        apart = [group for group in self.ties if not set(group) & set(layers)]
        joined = [name for group in self.ties if set(group) & set(layers) for name in group]
        return replace(self, ties=(*apart, tuple(dict.fromkeys([*joined, *layers]))))

    def without_tie(self, layers: tuple[str, ...], /) -> Rules:
        """Take one group apart."""
        return replace(self, ties=tuple(group for group in self.ties if group != layers))

    def keeps(self, other: Rules, /) -> bool:
        """Whether all that follows these rules follows the others, as far as wishes tell."""
        joined = [set(group) for group in self.ties]
        return (
            set(other.locks) <= set(self.locks)
            and set(other.least) <= set(self.least)
            and all(any(set(group) <= mine for mine in joined) for group in other.ties)
        )

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.locks) + len(self.ties) + len(self.least)

    @property
    def counted(self) -> str:
        """For the end of a phrase: ", 2 rules"; "" without any."""
        return "" if not self.count else ", 1 rule" if self.count == 1 else f", {self.count} rules"

    def each(self) -> list[tuple[str, Rules]]:
        """(what it says, all the others) for every rule."""
        return [
            *((f"{name} at {b} bits", self.with_lock(name, None)) for name, b in self.locks),
            *((f"{' = '.join(group)}", self.without_tie(group)) for group in self.ties),
            *(
                (f"{name} at {b} bits or more", self.with_least(name, None))
                for name, b in self.least
            ),
        ]

    def options(self) -> list[str]:
        """As options of the command line."""
        return [
            *(part for name, b in self.locks for part in ("--pin", f"{name}={b}")),
            *(part for group in self.ties for part in ("--tie", ",".join(group))),
            *(part for name, b in self.least for part in ("--min-bits", f"{name}={b}")),
        ]

    def to_query(self) -> dict[str, str]:
        """As query parameters: ``locks=conv1:8,fc:4``, ``ties=a+b``, ``least=head:4``."""
        parts = {
            "locks": ",".join(f"{name}:{b}" for name, b in self.locks),
            "ties": ",".join("+".join(group) for group in self.ties),
            "least": ",".join(f"{name}:{b}" for name, b in self.least),
        }
        return {key: text for key, text in parts.items() if text}


NO_RULES = Rules()
KEYS = ("locks", "ties", "least")


def first_and_last(matrix: SensitivityMatrix, rules: Rules, /) -> Rules:
    """The usual preset: the first and the last layer at the menu's highest bit-width."""
    high = matrix.bit_widths[-1]
    names = matrix.layers.names
    return rules.with_lock(names[0], high).with_lock(names[-1], high)


def from_query(matrix: SensitivityMatrix, parts: dict[str, str], /) -> tuple[Rules, list[str]]:
    """Rules of a link, and one sentence for every part that cannot be followed."""
    rules, problems = NO_RULES, []
    for key, part in _parts(parts):
        try:
            wanted = _followed(rules, key, part)
            wanted.problem(matrix)
            rules = wanted
        except CladoError as problem:
            problems.append(f"The link's rule “{part}” is left out: {problem}")
    return rules, problems


def _parts(parts: dict[str, str]) -> list[tuple[str, str]]:
    return [(key, part) for key in KEYS for part in parts.get(key, "").split(",") if part]


def _followed(rules: Rules, key: str, part: str) -> Rules:
    if key == "ties":
        return rules.with_tie(tuple(part.split("+")))
    name, _, bits = part.rpartition(":")
    if not name or not bits.isdigit():
        raise InputError("it is not of the form layer:bits.")
    change = rules.with_lock if key == "locks" else rules.with_least
    return change(name, int(bits))


def _changed(
    pairs: tuple[tuple[str, int], ...], layer: str, bits: int | None
) -> tuple[tuple[str, int], ...]:
    kept = {name: b for name, b in pairs if name != layer}
    return tuple(sorted((kept | ({layer: bits} if bits is not None else {})).items()))

"""The smallest size within a measured drop: what the command is asked for, and what it found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clado_core import SensitivityMatrix, Solution
from clado_core.errors import CladoError
from clado_core.problem.solution import solution_of
from clado_core.records.assignment import assignment_from_mapping
from clado_core.records.names import MEASURED_AS, MeasuredAs, Rounding
from clado_core.records.scheme import parse_bits
from dashboard.rules import Rules
from dashboard.workers.trials import DIGITS, SMALLEST, FrontTrial, keep_last, last_kept


@dataclass(frozen=True, slots=True, kw_only=True)
class FindSmallest(FrontTrial):
    """Search the front for the smallest choice within a measured drop.

    Args:
        max_drop: Of top-1, in percentage points.
        measured_as: Rounded or repaired.
        rounding: Of what is repaired.
    """

    max_drop: float
    measured_as: MeasuredAs
    rounding: Rounding

    @property
    def about(self) -> str:
        """For people."""
        most = f"a drop of at most {self.max_drop:g} points"
        return f"Searching {self.name} for {most}{self.rules.counted}"

    def arguments(self) -> list[str]:
        """As ``solve`` takes it."""
        return [
            *("solve", self._source, "--max-drop", repr(float(self.max_drop))),
            *("--as", self.measured_as, "--rounding", self.rounding),
            *self._front_options,
            *self.network.options(),
            "--json",
        ]

    def keep(self, result: dict[str, Any], /) -> None:
        """Keep the last answer about this network under these rules."""
        keep_last(Path(self.folder), _name(self.digest), self.rules, result)


@dataclass(frozen=True, slots=True)
class Drop:
    """A measured drop of top-1.

    Args:
        points: Percentage points below the float network on the same images.
        ci95: 95 % interval of that.
        n: Images.
        split: Which part of the data they are of.
    """

    points: float
    ci95: tuple[float, float]
    n: int
    split: str


@dataclass(frozen=True, slots=True)
class Smallest:
    """The answer of a search.

    Args:
        max_drop: What was asked for, in percentage points.
        measured_as: What choices were run as.
        chosen: The smallest that kept it.
        searched: Its drop on the images that were searched on.
        confirmed: On held-out images, of which nothing was chosen; None without.
        measured: How many choices were run.
        on_front: Of how many.
    """

    max_drop: float
    measured_as: MeasuredAs
    chosen: Solution
    searched: Drop
    confirmed: Drop | None
    measured: int
    on_front: int


def last_smallest(
    folder: Path, digest: str, matrix: SensitivityMatrix, rules: Rules, /
) -> Smallest | None:
    """The last answer about a network under these rules, None where there is none.

    Args:
        folder: Where files of trials are kept.
        digest: Of the artifact.
        matrix: Its sensitivities.
        rules: Wishes about layers.
    """
    try:
        kept = last_kept(folder, _name(digest), rules)
        return None if kept is None else smallest_from(matrix, kept)
    except (CladoError, ValueError, KeyError, TypeError):
        return None


def smallest_from(matrix: SensitivityMatrix, result: Mapping[str, Any], /) -> Smallest:
    """What ``solve --max-drop --json`` printed."""
    found = result["smallest"]
    bits = {name: parse_bits(str(b)) for name, b in result["assignment"].items()}
    bound = result["bound"]
    chosen = solution_of(
        matrix,
        assignment_from_mapping(matrix.layers, matrix.scheme, bits),
        solver=str(result["solver"]),
        bound=-math.inf if bound is None else float(bound),
    )
    (measured_as,) = (each for each in MEASURED_AS if each == found["measured_as"])
    return Smallest(
        max_drop=float(found["max_drop"]),
        measured_as=measured_as,
        chosen=chosen,
        searched=_drop(found["searched"]),
        confirmed=None if found["confirmed"] is None else _drop(found["confirmed"]),
        measured=len(found["choices"]),
        on_front=int(found["on_front"]),
    )


def _drop(values: Mapping[str, Any]) -> Drop:
    low, high = values["drop_ci95_points"]
    n, split = int(values["n"]), str(values["split"])
    return Drop(float(values["drop_points"]), (float(low), float(high)), n, split)


def _name(digest: str) -> str:
    return f"{digest[:DIGITS]}{SMALLEST}"

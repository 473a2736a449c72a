"""The least predicted loss within two budgets: what the command is asked for, and what it said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboard.rules import Rules
from dashboard.workers.trials import DIGITS, GRID, Trial, keep_last, last_kept

CELL_S = 5.0
"""Of each cell's proof; what is open then is shown as such."""

SHOWN = {"budget_bits", "budget_bops", "points", "reach"}
"""What the page needs of a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveGrid(Trial):
    """Solve every pair of a size and a limit on bit operations.

    Args:
        rules: Wishes about layers that all choices keep.
        folder: Where files of trials are kept.
    """

    rules: Rules
    folder: str

    @property
    def about(self) -> str:
        """For people."""
        return f"Solving {self.name} for sizes × bit operations{self.rules.counted}"

    def arguments(self) -> list[str]:
        """As ``frontier`` takes it."""
        return [
            *("frontier", self._source, "--grid", "bops", "--time-limit", repr(CELL_S)),
            *self.rules.options(),
            "--json",
        ]

    def keep(self, result: dict[str, Any], /) -> None:
        """Keep the last grid of this network."""
        keep_last(Path(self.folder), _name(self.digest), self.rules, result)


def last_grid(folder: Path, digest: str, rules: Rules, /) -> dict[str, Any] | None:
    """The last grid of a network under these rules, None where there is none.

    Args:
        folder: Where files of trials are kept.
        digest: Of the artifact.
        rules: Wishes about layers.
    """
    kept = last_kept(folder, _name(digest), rules)
    return kept if kept is not None and kept.keys() >= SHOWN else None


def _name(digest: str) -> str:
    return f"{digest[:DIGITS]}{GRID}"

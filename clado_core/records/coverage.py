"""How much of a matrix was measured, counted and in a sentence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from clado_core.records.matrix import Mask, SensitivityMatrix
from clado_core.records.names import FITTED

ZERO, UNKNOWN = "count as zero", "are not measured losses"
REST = {
    **dict.fromkeys(FITTED, "were fitted to them"),
    "logit-gram": "are estimates from output changes",
    "hvp": "are estimates from derivatives",
}
"""Estimator → what the entries are that were not measured, where they are not zero."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Entries of G that follow from losses that were run, of how many.

    Args:
        singles: Of single candidates; None where it is not recorded, likewise ``pairs``.
        n_singles: Candidates.
        pairs: Of two candidates of different layers.
        n_pairs: Such pairs.
        rest: What the others are, such as "count as zero"; "" where there are none.
        noise: How much the network's outputs differed from run to run, of the largest output.
    """

    singles: int | None
    n_singles: int
    pairs: int | None
    n_pairs: int
    rest: str
    noise: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether everything was measured."""
        return (self.singles, self.pairs) == (self.n_singles, self.n_pairs)

    @property
    def sentence(self) -> str:
        """The same for people."""
        return self._counted + (f" {noise_sentence(self.noise)}" if self.noise else "")

    @property
    def _counted(self) -> str:
        every = f"{self.n_singles:,} entries of single candidates and {self.n_pairs:,} of pairs"
        if self.singles is None or self.pairs is None:
            return f"It is not recorded which of the {every} were measured."
        if self.complete:
            return f"All {every} were measured."
        if not self.singles + self.pairs:
            return f"None of the {every} is a difference of measured losses: they {self.rest}."
        singles = f"{self.singles:,} of" if self.singles < self.n_singles else "All"
        return (
            f"{singles} {self.n_singles:,} entries of single candidates and {self.pairs:,} of "
            f"{self.n_pairs:,} pairs were measured; the others {self.rest}."
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values, with the sentence."""
        return asdict(self) | {"sentence": self.sentence}


def measured_cells(matrix: SensitivityMatrix, /) -> Mask:
    """Cells of G that a picture need not mark, shape (n, n): all but those that are known not to
    have been measured, where x'Gx can hold them."""
    measured = matrix.measured_entries()
    if measured is None:
        return np.ones(matrix.G.shape, dtype=np.bool_)
    never_used: Mask = matrix.same_layer() & ~np.eye(len(matrix.G), dtype=np.bool_)
    return measured | never_used


def noise_sentence(noise: float, /) -> str:
    """What a noise means for what was measured in it."""
    return (
        f"The network's outputs for the same images differed by up to {noise:.2g} times the "
        "largest from one run to the next: every number measured holds that noise."
    )


def noise_of(matrix: SensitivityMatrix, /) -> float:
    """The noise that a matrix was measured in, of the largest output; 0 where there was none."""
    noise = matrix.provenance.details.get("noise")
    return float(noise) if isinstance(noise, int | float) else 0.0


def coverage(matrix: SensitivityMatrix, /) -> Coverage:
    """Count what was measured."""
    upper = np.triu(~matrix.same_layer(), 1)
    n_singles, n_pairs = len(matrix.G), int(upper.sum())
    measured = matrix.measured_entries()
    if measured is None:
        return Coverage(None, n_singles, None, n_pairs, "", noise_of(matrix))
    singles, pairs = int(measured.diagonal().sum()), int((measured & upper).sum())
    missing = ~measured & (upper | np.eye(n_singles, dtype=np.bool_))
    rest = REST.get(str(matrix.provenance.estimator), UNKNOWN) if missing.any() else ""
    if missing.any() and not matrix.G[missing].any():
        rest = ZERO
    return Coverage(singles, n_singles, pairs, n_pairs, rest, noise_of(matrix))

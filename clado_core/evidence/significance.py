"""Whether two allocations differ on the same images, and whether predictions rank like losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """One allocation against another on the same images.

    Args:
        gained: Images that only the first classifies right.
        lost: Images that only the second classifies right.
        p: Two-sided p-value of McNemar's exact test; 1 where no image tells them apart.
    """

    gained: int
    lost: int
    p: float


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_], /) -> PairedComparison:
    """McNemar's exact test: of the images that tell them apart, each side gets half by chance.

    Args:
        first: Whether each image is classified right, shape (N,).
        second: Likewise for the other allocation, same images.

    Source: McNemar, 1947; the exact form is the binomial test on discordant pairs.
    """
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    p = 1.0 if gained + lost == 0 else float(stats.binomtest(gained, gained + lost).pvalue)
    return PairedComparison(gained, lost, p)


def rank_correlation(predicted: Sequence[float], measured: Sequence[float], /) -> float | None:
    """Spearman's rank correlation; None with fewer than three points or where all are equal."""
    if len(predicted) < 3 or len(set(predicted)) == 1 or len(set(measured)) == 1:
        return None
    return float(stats.spearmanr(predicted, measured).statistic)

"""Measure exactly the pairs that the choice of bit-widths depends on.

Start from a calibrated Gram matrix. At a grid of budgets, solve with it, and with an optimistic
copy in which every entry not yet measured is lower by its uncertainty: what might turn out better
than the solution is found there. Measure the pairs in both that are uncertain for the objective,
calibrate again, and repeat until none is left, or until the allowed share of all pairs is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.scheme import input_bits
from clado_core.sensitivity.calibrate import Calibration, calibrate, pairs_to_fit
from clado_core.sensitivity.estimators import Estimate, from_losses, gram_sums, per_part
from clado_core.sensitivity.pairwise import sensitivities
from clado_core.sensitivity.plan import Unit, forward_count, single_plan
from clado_core.sensitivity.workbench import Sums, Workbench
from clado_core.solvers.local_search import LocalSearchSolver

N_BUDGETS = 20
TOLERANCE = 0.0005
"""Uncertainty left in a solution's objective, relative to it."""
MAX_SHARE = 0.25
"""Of all pairs; for small networks the pairs that calibrate may be more."""
ROUND_SHARE = 0.05
"""Of all pairs, per round: each calibrates anew before the next pairs are chosen."""
MAX_ROUNDS = 12


def estimate_calibrated(bench: Workbench, /) -> Estimate:
    """The Gram matrix fitted to measured single losses and a few measured pairs."""
    gram, losses = _start(bench)
    return _put_together(bench, gram, losses)


def estimate_adaptive(bench: Workbench, /) -> Estimate:
    """As calibrated, then the pairs measured that decisions depend on."""
    gram, losses = _start(bench)
    rounds = 0
    wanted: list[Unit] = [()]
    allowed = int(MAX_SHARE * _n_pairs(bench))
    per_round = max(1, int(ROUND_SHARE * _n_pairs(bench)))
    while wanted and rounds < MAX_ROUNDS:
        rounds += 1
        room = allowed - sum(len(unit) == 2 for unit in losses)
        found = _uncertain_pairs(bench, _calibrated(bench, gram, losses))
        wanted = found[: min(per_round, max(room, 0))]
        losses |= bench.losses(wanted)
    estimate = _put_together(bench, gram, losses)
    return replace(estimate, details={**estimate.details, "rounds": rounds})


def budgets(matrix: SensitivityMatrix, /) -> list[AllocationProblem]:
    """Problems at evenly spaced sizes strictly between the smallest and the largest.

    Of joint choices sizes see the weights alone, so as many budgets of bit operations follow.
    """
    free = AllocationProblem(matrix)
    small, large = free.extremes("size_bits")
    found = [
        AllocationProblem(matrix, budget_bits=limit)
        for limit in _between(small.size_bits, large.size_bits)
    ]
    if input_bits(matrix.bit_widths[0]) is None or not matrix.layers.macs.all():
        return found
    few, many = free.extremes("bops")
    return found + [
        AllocationProblem(matrix, budget_bops=limit) for limit in _between(few.bops, many.bops)
    ]


def _between(smallest: int, largest: int) -> list[int]:
    return [int(limit) for limit in np.linspace(smallest, largest, N_BUDGETS + 2)[1:-1]]


def _start(bench: Workbench) -> tuple[npt.NDArray[np.float64], dict[Unit, Sums]]:
    """The Gram matrix of each batch, summed over its samples, shape (batches, n, n), and the
    losses of single candidates and of the pairs that calibrate."""
    losses = bench.losses(single_plan(len(bench.layers), len(bench.menu)))
    gram = gram_sums(bench)
    return gram, losses | bench.losses(pairs_to_fit(_mean(bench, gram), len(bench.menu)))


def _mean(bench: Workbench, gram: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    mean: npt.NDArray[np.float64] = gram.sum(axis=0) / bench.n_samples
    return mean


def _calibrated(
    bench: Workbench, gram: npt.NDArray[np.float64], losses: Mapping[Unit, Sums]
) -> Calibration:
    mean = {unit: float(sums.sum()) / bench.n_samples for unit, sums in losses.items()}
    pairs = [unit for unit in losses if len(unit) == 2]
    measured = sensitivities(mean, bench.n)
    return calibrate(_mean(bench, gram), measured, pairs, len(bench.menu))


def _uncertain_pairs(bench: Workbench, found: Calibration, /) -> list[Unit]:
    """Pairs to measure next, the most important first.

    A pair counts by its uncertainty relative to the objective of a solution that it is in, where
    it stands twice: x'Gx holds G_ab and G_ba. The pairs that together leave less than the
    tolerance are not asked for.
    """
    optimistic = found.G - found.uncertainty
    score: dict[Unit, float] = {}
    for chosen, other in zip(_solve(bench, found.G), _solve(bench, optimistic), strict=True):
        objective = max(abs(found.G[np.ix_(chosen, chosen)].sum()), np.finfo(float).tiny)
        pairs = {pair for x in (chosen, other) for pair in _pairs(x) if found.uncertainty[pair]}
        ordered = sorted(pairs, key=lambda pair: (-found.uncertainty[pair], pair))
        sigma = np.array([2 * found.uncertainty[pair] for pair in ordered])
        left = np.sqrt(np.append(np.cumsum(sigma[::-1] ** 2)[::-1], 0.0))
        for pair in ordered[: int(np.argmax(left <= TOLERANCE * objective))]:
            relative = 2 * found.uncertainty[pair] / objective
            score[pair] = max(score.get(pair, 0.0), relative)
    return sorted(score, key=lambda pair: (-score[pair], pair))


def _solve(bench: Workbench, G: npt.NDArray[np.float64]) -> list[npt.NDArray[np.int64]]:
    """Chosen candidates at every budget."""
    matrix = SensitivityMatrix("", G, bench.layers, bench.menu, scheme=bench.settings.scheme)
    first = np.arange(len(bench.layers)) * len(bench.menu)
    solver = LocalSearchSolver()
    return [
        first + matrix.choice(solver.solve(problem).assignment.bits) for problem in budgets(matrix)
    ]


def _pairs(chosen: npt.NDArray[np.int64]) -> Iterable[tuple[int, int]]:
    candidates = chosen.tolist()
    return ((a, b) for k, a in enumerate(candidates) for b in candidates[k + 1 :])


def _put_together(
    bench: Workbench, gram: npt.NDArray[np.float64], losses: Mapping[Unit, Sums]
) -> Estimate:
    """Measured entries, fitted ones elsewhere: in each part the part's Gram entry, scaled by the
    factor of the whole, so that they average to the fit; how well it fits stands beside them."""
    known = from_losses(bench, losses)
    found = _calibrated(bench, gram, losses)
    fitted = found.factor * per_part(bench, gram)
    n_measured = sum(len(unit) == 2 for unit in losses)
    share = n_measured / max(_n_pairs(bench), 1)
    return replace(
        known,
        G=found.G,
        part_G=np.where(known.measured, known.part_G, fitted),
        fit_error=found.uncertainty,
        details={"pairs_measured": n_measured, "share_of_pairs": share},
    )


def _n_pairs(bench: Workbench) -> int:
    return forward_count(len(bench.layers), len(bench.menu)) - bench.n - 1

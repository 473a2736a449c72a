"""The part of evidence that is shipped: choices by a matrix of the repaired quantizer, and repaired
networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from clado_core.evaluation.choice_runner import ChoiceRunner
from clado_core.evidence.choices import REFERENCES, random_assignments
from clado_core.evidence.record import Evidence, Outcome, Ranking, RepairedOutcome
from clado_core.evidence.significance import mcnemar, rank_correlation
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.measured_choice import MeasuredChoice
from clado_core.records.names import REPAIRED
from clado_core.records.scheme import BitWidths

OnProgress = Callable[[int, int], None]


def with_repaired(
    evidence: Evidence,
    repaired: SensitivityMatrix,
    runner: ChoiceRunner,
    /,
    *,
    on_progress: OnProgress | None = None,
) -> Evidence:
    """Evidence with every choice also shipped as repaired, and predicted as such.

    Args:
        evidence: Of choices rounded to nearest.
        repaired: Measured with a repair's candidates, on the same layers and menu.
        runner: Of the network, on the held-out images.
        on_progress: Called with (assignments done, assignments in all).
    """
    bits = list(dict.fromkeys(each.choice.bits for each in evidence.outcomes))
    runner.measure_all(bits, (REPAIRED,), on_progress=on_progress)
    found = {
        (each.choice.method, each.choice.budget): runner.measure(each.choice.bits, REPAIRED)
        for each in evidence.outcomes
    }
    outcomes = tuple(_shipped(each, repaired, found) for each in evidence.outcomes)
    return replace(evidence, outcomes=outcomes, repair=runner.repair_settings)


def _shipped(
    outcome: Outcome,
    repaired: SensitivityMatrix,
    found: Mapping[tuple[str, float], MeasuredChoice],
) -> Outcome:
    """One outcome with what was measured of its choice as repaired."""
    choice = outcome.choice
    mine = found[choice.method, choice.budget].outcomes
    paired = {
        method: mcnemar(found[method, choice.budget].outcomes.right, mine.right)
        for method in REFERENCES
        if method != choice.method and (method, choice.budget) in found
    }
    return replace(
        outcome,
        choice=replace(choice, predicted_repaired=repaired.predicted_loss_increase(choice.bits)),
        repaired=RepairedOutcome(mine.top1, mine.ci95, mine.loss, paired),
    )


def rankings(
    matrices: Mapping[str, SensitivityMatrix],
    runner: ChoiceRunner,
    sizes: Sequence[float],
    n: int,
    /,
    *,
    on_progress: OnProgress | None = None,
) -> tuple[Ranking, ...]:
    """How well matrices, with and without interactions, rank shipped networks of one size.

    Args:
        matrices: What to call each, and the matrix; of the same layers and menu.
        runner: Of the network, on held-out images.
        sizes: Average bits per searched weight.
        n: Random assignments of each size.
        on_progress: Called with (assignments done, assignments in all).
    """
    first = next(iter(matrices.values()))
    drawn = [random_assignments(first, avg_bits, n) for avg_bits in sizes]
    together = [bits for some in drawn for bits in some]
    runner.measure_all(together, (REPAIRED,), on_progress=on_progress)
    return tuple(
        _ranking(avg_bits, some, matrices, runner)
        for avg_bits, some in zip(sizes, drawn, strict=True)
    )


def _ranking(
    avg_bits: float,
    some: Sequence[BitWidths],
    matrices: Mapping[str, SensitivityMatrix],
    runner: ChoiceRunner,
) -> Ranking:
    measured = [runner.measure(bits, REPAIRED).outcomes for bits in some]
    losses = [each.loss for each in measured]
    by = {}
    for name, matrix in matrices.items():
        alone = matrix.with_G(np.diag(matrix.G.diagonal()))
        for which, predictor in ((name, matrix), (f"{name}, diagonal", alone)):
            predicted = [predictor.predicted_loss_increase(bits) for bits in some]
            by[which] = rank_correlation(predicted, losses)
    return Ranking(avg_bits, len(some), len(measured[0].right) if measured else 0, by)

"""Rows of stored evidence made again: which there are, and whether they are the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from clado_core.evidence.choices import Choice
from clado_core.evidence.record import Evidence, Outcome, RepairedOutcome
from clado_core.problem.solution import SolveStatus

LOSS_TOLERANCE, TOP1_TOLERANCE = 1e-4, 5e-4
"""Sums of floats may differ in their last digits on another processor, and few images with them."""
REPAIRED_TOLERANCE = 3e-3
"""A repair rounds by sums of floats: on another processor a few weights take the next integer."""
UNPROVEN = (SolveStatus.TIME_LIMIT.code, SolveStatus.GAP_LIMIT.code)


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Redone outcomes against the stored ones.

    Args:
        matches: Whether all that were redone equal the stored ones, of the same files and images.
        differing: Methods whose outcome is another.
        not_redone: Methods with a stored outcome at these budgets and no redone one.
        stored_refine_k: As ``Evidence.refine_k`` of the stored one.
    """

    matches: bool
    differing: tuple[str, ...]
    not_redone: tuple[str, ...]
    stored_refine_k: int | None


def of_stored_rows(
    choices: Sequence[Choice], stored: Evidence, budgets: Collection[float], /
) -> list[Choice]:
    """The choices at some budgets that have a stored row.

    Where time ran out, the stored one instead: solving again may take another as good.
    """
    before = {_row(each.choice): each.choice for each in stored.outcomes}
    known = [each for each in choices if each.budget in budgets and _row(each) in before]
    return [before[_row(each)] if before[_row(each)].status in UNPROVEN else each for each in known]


def compare(redone: Evidence, stored: Evidence, budgets: Collection[float], /) -> Reproduction:
    """Whether redone outcomes are those that were stored.

    Args:
        redone: Each of its outcomes has a stored one of the same method and budget.
        stored: What was made before.
        budgets: Those that were to be redone, average bits.
    """
    before = {_row(each.choice): each for each in stored.outcomes}
    after = {_row(each.choice): each for each in redone.outcomes}
    differing = [row[0] for row, each in after.items() if not _is_same(each, before[row])]
    left_out = [row[0] for row in before if row[1] in budgets and row not in after]
    return Reproduction(
        redone.digests == stored.digests and not differing,
        tuple(differing),
        tuple(left_out),
        stored.refine_k,
    )


def _row(choice: Choice) -> tuple[str, float]:
    return choice.method, choice.budget


def _is_same(redone: Outcome, stored: Outcome) -> bool:
    return (
        redone.choice.bits == stored.choice.bits
        and abs(redone.top1 - stored.top1) <= TOP1_TOLERANCE
        and abs(redone.loss - stored.loss) < LOSS_TOLERANCE
        and abs(redone.sensitivity_loss - stored.sensitivity_loss) < LOSS_TOLERANCE
        and _is_shipped_alike(redone.repaired, stored.repaired)
    )


def _is_shipped_alike(redone: RepairedOutcome | None, stored: RepairedOutcome | None) -> bool:
    """Whether the repaired network is too; what is not repaired this time is not compared."""
    if redone is None:
        return True
    return (
        stored is not None
        and abs(redone.top1 - stored.top1) <= REPAIRED_TOLERANCE
        and abs(redone.loss - stored.loss) < REPAIRED_TOLERANCE
    )

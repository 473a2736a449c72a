"""What the README says of the stored evidence; every number comes from ``assets/``."""

from __future__ import annotations

from pathlib import Path

from clado_core.evidence import Evidence, Outcome, load_evidence
from clado_core.evidence.record import SUFFIX
from clado_core.evidence.summary import gains, mean_points, significant, tight_budgets

SHOWN_BUDGETS = (2.25, 2.5, 3.0, 3.5, 4.0, 5.0)
COLUMNS = {
    "clado": "CLADO",
    "diagonal": "diagonal",
    "block": "block",
    "hawq": "HAWQ",
    "mpqco": "MPQCO",
    "logit-gram": "logit-gram",
    "clado-psd": "PSD (paper)",
    "clado-refined": "refined",
    "uniform": "uniform",
}


def stored_evidence(folder: Path, /) -> list[Evidence]:
    """All evidence of the CIFAR-10 networks in a folder, by name."""
    return [load_evidence(path) for path in sorted(folder.glob(f"cifar10-*{SUFFIX}"))]


def accuracy_table(several: list[Evidence], /) -> str:
    """Measured top-1 of every method at some budgets, as Markdown."""
    lines = [
        "| network, quantizer and menu | float | bits | " + " | ".join(COLUMNS.values()) + " |",
        "|---" * (len(COLUMNS) + 3) + "|",
    ]
    for evidence in several:
        for budget in SHOWN_BUDGETS:
            found = {
                each.choice.method: each
                for each in evidence.outcomes
                if each.choice.budget == budget
            }
            cells = [_cell(found.get(method)) for method in COLUMNS]
            lines.append(
                f"| {evidence.name} | {evidence.float_top1:.1%} | {budget:g} | "
                + " | ".join(cells)
                + " |"
            )
    return "\n".join(lines)


def sentences(several: list[Evidence], /) -> str:
    """What follows from each network's evidence, as a Markdown list."""
    return "\n".join(_sentence(evidence) for evidence in several)


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "–"
    return f"{outcome.top1:.1%}" + {1: "▼", 0: "", -1: "▲"}[significant(outcome)]


def _sentence(evidence: Evidence) -> str:
    parts = [
        f"{100 * gain.points:+.1f} over {COLUMNS[gain.against]} "
        f"({gain.wins} better, {gain.losses} worse)"
        for gain in gains(evidence)
        if gain.against in COLUMNS and gain.points is not None
    ]
    refined = mean_points(evidence, "clado-refined", "diagonal")
    also = "" if refined is None else f" Refined: {100 * refined:+.1f} over diagonal."
    correlation = evidence.rank_correlation()
    along = "not enough points" if correlation is None else f"{correlation:.3f}"
    return (
        f"- **{evidence.name}**: mean top-1 points of CLADO at the {len(tight_budgets(evidence))} "
        "budgets where diagonal or uniform loses 2 points or more (in brackets: at how many of all "
        f"budgets significantly): {', '.join(parts) or 'nothing to compare'}.{also} Rank "
        f"correlation of predicted and measured loss along CLADO's frontier: {along}."
    )

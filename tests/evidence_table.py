"""What the README says of the stored evidence; every number comes from ``assets/``."""

from __future__ import annotations

from pathlib import Path

from clado_core.evidence import Evidence, Outcome, load_evidence
from clado_core.evidence.record import SUFFIX
from clado_core.evidence.summary import gains, tight_budgets

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
    paired = outcome.against_clado
    mark = ""
    if paired is not None and paired.p < 0.05:
        mark = "▼" if paired.gained > paired.lost else "▲"
    return f"{outcome.top1:.1%}{mark}"


def _sentence(evidence: Evidence) -> str:
    tight = tight_budgets(evidence)
    parts = [
        f"{100 * gain.points:+.1f} points over {COLUMNS[gain.against]}"
        for gain in gains(evidence)
        if gain.against in COLUMNS and gain.points is not None
    ]
    worse = [COLUMNS[gain.against] for gain in gains(evidence) if gain.losses]
    correlation = evidence.rank_correlation()
    along = "not enough points" if correlation is None else f"{correlation:.3f}"
    return (
        f"- **{evidence.name}**: at the {len(tight)} tight budgets CLADO has "
        f"{', '.join(parts) or 'nothing to compare'}; somewhere significantly worse than "
        f"{', '.join(worse) or 'none'}. Rank correlation of predicted and measured loss along "
        f"the frontier: {along}."
    )

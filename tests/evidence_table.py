"""What the README says of the stored evidence; every number comes from ``assets/``."""

from __future__ import annotations

from pathlib import Path

from clado_core.evidence import Evidence, Outcome, load_evidence
from clado_core.evidence.choices import CLADO, REFINED
from clado_core.evidence.record import SUFFIX
from clado_core.evidence.summary import gains, mean_gain, significant, tight_budgets

SHOWN_BUDGETS = (2.1, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 5.0)
COLUMNS = {
    REFINED: "refined",
    CLADO: "CLADO",
    "clado-psd": "PSD (paper)",
    "logit-gram": "logit-gram",
    "diagonal": "diagonal",
    "block": "block",
    "hawq": "HAWQ",
    "mpqco": "MPQCO",
    "uniform": "uniform",
}
COMPARED = (
    (REFINED, "diagonal"),
    (CLADO, "diagonal"),
    (CLADO, "block"),
    (CLADO, "hawq"),
    (CLADO, "mpqco"),
    (CLADO, "clado-psd"),
    (CLADO, "logit-gram"),
)
"""(method, what it is compared with) of the summary."""


def stored_evidence(folder: Path, /) -> list[Evidence]:
    """All evidence of the CIFAR-10 networks in a folder, by name."""
    return [load_evidence(path) for path in sorted(folder.glob(f"cifar10-*{SUFFIX}"))]


def summary_table(several: list[Evidence], /) -> str:
    """Mean differences at the tight budgets, one row per network and setting, as Markdown."""
    heads = [f"{COLUMNS[method]} − {COLUMNS[against]}" for method, against in COMPARED]
    lines = [
        f"| network, quantizer, menu | float | tight budgets | {' | '.join(heads)} | predicted ~ "
        "measured |",
        "|---" * (len(COMPARED) + 4) + "|",
        *(_summary_row(evidence) for evidence in several),
    ]
    if len(several) > 1:
        means = [mean_gain(several, *pair) for pair in COMPARED]
        cells = ["–" if mean is None else f"**{100 * mean:+.1f}**" for mean in means]
        lines.append(f"| mean of the rows | | | {' | '.join(cells)} | |")
    return "\n".join(lines)


def verdict(several: list[Evidence], /) -> str:
    """What the refined choices and the predicted optima gain over diagonal, in one sentence."""
    parts = []
    for method in (REFINED, CLADO):
        mean = mean_gain(several, method, "diagonal")
        won = [g for e in several for g in gains(e, method) if g.against == "diagonal"]
        if mean is not None:
            parts.append(
                f"{COLUMNS[method]} {100 * mean:+.1f} points, significantly better at "
                f"{sum(g.wins for g in won)} budgets and worse at {sum(g.losses for g in won)}"
            )
    return f"Over diagonal, mean of the rows: {'; '.join(parts)}."


def accuracy_table(several: list[Evidence], /) -> str:
    """Measured top-1 of every method at some budgets, as Markdown."""
    lines = [
        "| network, quantizer, menu | bits | " + " | ".join(COLUMNS.values()) + " |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    for evidence in several:
        for budget in SHOWN_BUDGETS:
            found = {
                each.choice.method: each
                for each in evidence.outcomes
                if each.choice.budget == budget
            }
            cells = [_cell(found.get(method)) for method in COLUMNS]
            lines.append(f"| {label(evidence)} | {budget:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def label(evidence: Evidence, /) -> str:
    """Network, quantizer and menu as people write them, from the artifact's name."""
    network, _, setting = evidence.name.removeprefix("cifar10-").partition("-per-")
    granularity, menu, *others = setting.split("-")
    return ", ".join([network, f"per {granularity}", "/".join(menu), *others])


def _summary_row(evidence: Evidence) -> str:
    cells = []
    for method, against in COMPARED:
        gain = next((g for g in gains(evidence, method) if g.against == against), None)
        known = gain is not None and gain.points is not None
        cells.append(f"{100 * gain.points:+.1f} ({gain.wins}:{gain.losses})" if known else "–")
    correlation = evidence.rank_correlation()
    along = "–" if correlation is None else f"{correlation:.3f}"
    return (
        f"| {label(evidence)} | {evidence.float_top1:.1%} | {len(tight_budgets(evidence))} | "
        f"{' | '.join(cells)} | {along} |"
    )


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "–"
    return f"{outcome.top1:.1%}" + {1: "▼", 0: "", -1: "▲"}[significant(outcome)]

"""What the README says of other solvers; every number comes from ``assets/peers.json``."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any, TypeAlias

from tests.benchmarks.peer_run import OURS, verdict

SHOWN = 5e-5
"""Relative difference that a cell still shows: a hundredth of a percent when rounded."""

Run: TypeAlias = dict[str, Any]


def peers_table(path: Path, /) -> str:
    """One line per matrix, and the sentences that go with it."""
    results = json.loads(path.read_text())
    rows, names = results["rows"], list(results["versions"])
    lines = [
        f"| matrix (layers × choices) | ours, CPU s | {' | '.join(names)} |",
        "|---" * (len(names) + 2) + "|",
    ]
    for matrix in dict.fromkeys(row["matrix"] for row in rows):
        of_it = [row for row in rows if row["matrix"] == matrix]
        cells = [_cell([row["peers"][name] for row in of_it]) for name in names]
        lines.append(
            f"| {_label(of_it[0])} | {_ours([r[OURS] for r in of_it])} | {' | '.join(cells)} |"
        )
    low, *_, high = sorted(row["avg_bits"] for row in rows)
    budgets = len(rows) // len(lines[2:])
    about = [
        f"CPU seconds over ours, geometric mean over {budgets} budgets, {low:g} to {high:g} bits;",
        f"where some stayed open at {results['time_limit_s']:g} s of the clock, ≥, and in brackets",
        "how many were proven; then how far the worst answer is above ours. One thread each; our",
        "certificate was computed before.",
        verdict(rows),
        _faster(rows, names),
    ]
    return "\n".join([*lines, "", " ".join(about)])


def _label(row: dict[str, Any]) -> str:
    name = row["matrix"].removeprefix("cifar10-")
    return f"{name} ({row['layers']} × {row['choices']})"


def _ours(runs: list[Run]) -> str:
    return f"{median(run['cpu_s'] for run in runs):.2f}{_proven(runs)}"


def _cell(runs: list[Run]) -> str:
    ratios = [run["cpu_ratio"] for run in runs if run["cpu_ratio"] is not None]
    mean = f"{_number(geometric_mean(ratios))} ×" if ratios else "ended"
    sign = "" if all(run["is_proven"] for run in runs) else "≥ "
    above = [run["difference"] for run in runs if run["difference"] is not None]
    worst = max(above, default=0.0)
    words = [f"{sign}{mean}{_proven(runs)}"]
    if worst > SHOWN:
        words.append(f"+{worst:.2%}" if worst < 0.1 else f"+{worst:,.0%}")
    if len(above) < len(runs):
        words.append(f"{len(runs) - len(above)} without an answer")
    return ", ".join(words)


def _number(ratio: float) -> str:
    """Two digits."""
    return f"{ratio:.2g}" if ratio < 99.5 else f"{float(f'{ratio:.2g}'):,.0f}"


def _proven(runs: list[Run]) -> str:
    """Nothing where all are."""
    proven = sum(run["is_proven"] for run in runs)
    return "" if proven == len(runs) else f" ({proven})"


def _faster(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Who proves something sooner than we do."""
    parts = []
    for name in names:
        runs = [row["peers"][name] for row in rows]
        sooner = [r["cpu_ratio"] for r in runs if r["is_proven"] and (r["cpu_ratio"] or 1) < 1]
        if sooner:
            parts.append(
                f"{name} in {len(sooner)} of {len(rows)} (at best {_number(min(sooner))} ×)"
            )
    return f"Proven in less time than ours: {'; '.join(parts) if parts else 'none'}."

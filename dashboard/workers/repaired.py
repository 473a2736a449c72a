"""Repaired files that are there, what each step of their making brought, and what they measured."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clado_core.records.scheme import BitWidths
from dashboard.workers.repair import ACCURACY, RESULT, SUFFIX, Recipe
from dashboard.workers.trials import choice_name


class RepairStep(NamedTuple):
    """One thing that was tried.

    Args:
        name: Such as "gptq".
        divergence: Mean KL divergence from the float network's outputs, in nats.
        kept: Whether it is part of the result.
        seconds: What it took.
    """

    name: str
    divergence: float
    kept: bool
    seconds: float


class FileAccuracy(NamedTuple):
    """What a repaired file was measured at.

    Args:
        top1: Share of images classified correctly.
        ci95: Its 95 % interval.
        n: Images.
        split: Which part of the data they are.
    """

    top1: float
    ci95: tuple[float, float]
    n: int
    split: str


@dataclass(frozen=True, slots=True)
class RepairedFile:
    """A repaired network on disk.

    Args:
        path: The packed file.
        recipe: How it was made.
        steps: What was tried, in order; the first is rounding to nearest alone.
        judged_on: Training images that the divergences are of; the repair was not made with them.
        measured: What it was measured at; None before that.
    """

    path: Path
    recipe: Recipe
    steps: tuple[RepairStep, ...]
    judged_on: int
    measured: FileAccuracy | None

    @property
    def rounded(self) -> float:
        """Divergence with weights rounded to nearest, in nats."""
        return self.steps[0].divergence

    @property
    def divergence(self) -> float:
        """Its own: the least of all that was tried."""
        return min(step.divergence for step in self.steps)


def repaired_file(folder: Path, digest: str, bits: BitWidths, /) -> RepairedFile | None:
    """The repaired file of a choice, the one that diverges least; None where there is none.

    Args:
        folder: Where files of trials are kept.
        digest: Of the artifact.
        bits: The choice, shape (L,).
    """
    start = f"{choice_name(digest, bits)}-"
    found = []
    for path in sorted(folder.glob(f"{start}*{SUFFIX}")):
        recipe = Recipe.named(path.name.removeprefix(start).removesuffix(SUFFIX))
        if recipe is not None and (file := _read(path, recipe)) is not None:
            found.append(file)
    return min(found, key=lambda file: file.divergence, default=None)


def _read(path: Path, recipe: Recipe) -> RepairedFile | None:
    try:
        values = json.loads(path.with_suffix(RESULT).read_text(encoding="utf-8"))
        steps = tuple(
            RepairStep(str(s["name"]), float(s["divergence"]), bool(s["kept"]), float(s["seconds"]))
            for s in values["steps"]
        )
        judged_on = int(values["judged_on"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not steps or any(math.isnan(step.divergence) for step in steps):
        return None
    return RepairedFile(path, recipe, steps, judged_on, _accuracy(path))


def _accuracy(path: Path) -> FileAccuracy | None:
    try:
        values = json.loads(path.with_suffix(ACCURACY).read_text(encoding="utf-8"))
        low, high = map(float, values["ci95"])
        of = int(values["n"]), str(values["split"])
        return FileAccuracy(float(values["top1"]), (low, high), *of)
    except (OSError, ValueError, KeyError, TypeError):
        return None

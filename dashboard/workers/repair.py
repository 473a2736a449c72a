"""Repairing a choice: what the command is asked for, and its file, which stays.

A file's name says of which artifact, choice and rounding it is.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from clado_core.files.atomic import write_atomically
from clado_core.records.names import ROUNDINGS, Rounding
from clado_core.records.scheme import BitWidths
from dashboard.workers.trials import ChoiceTrial, choice_name

SUFFIX, RESULT = ".safetensors", ".result.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair(ChoiceTrial):
    """Repair one choice.

    Args:
        rounding: How weights become integers.
    """

    rounding: Rounding

    @property
    def about(self) -> str:
        """For people."""
        return f"Repairing {self.name} at {self.assignment.avg_bits:.2f} bits"

    @property
    def out(self) -> Path:
        """The packed file that is written."""
        return _place(Path(self.folder), self.digest, self.assignment.bits, self.rounding)

    def arguments(self) -> list[str]:
        """As ``repair`` takes it."""
        return [
            *("repair", self._source, "--assignment", str(self.choice), "--out", str(self.out)),
            *("--rounding", self.rounding),
            *self.network.options(),
            "--json",
        ]

    def keep(self, result: dict[str, Any], /) -> None:
        """Keep what the command printed beside its file, which counts from then on."""
        write_atomically(self.out.with_suffix(RESULT), json.dumps(result).encode())


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


@dataclass(frozen=True, slots=True)
class RepairedFile:
    """A repaired network on disk.

    Args:
        path: The packed file.
        rounding: How its weights became integers.
        steps: What was tried, in order; the first is rounding to nearest alone.
        judged_on: Training images that the divergences are of; the repair was not made with them.
    """

    path: Path
    rounding: Rounding
    steps: tuple[RepairStep, ...]
    judged_on: int

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
    files = [_read(_place(folder, digest, bits, rounding), rounding) for rounding in ROUNDINGS]
    return min((f for f in files if f is not None), key=lambda f: f.divergence, default=None)


def _place(folder: Path, digest: str, bits: BitWidths, rounding: Rounding) -> Path:
    return folder / f"{choice_name(digest, bits)}-{rounding}{SUFFIX}"


def _read(path: Path, rounding: Rounding) -> RepairedFile | None:
    try:
        values = json.loads(path.with_suffix(RESULT).read_text(encoding="utf-8"))
        steps = tuple(
            RepairStep(str(s["name"]), float(s["divergence"]), bool(s["kept"]), float(s["seconds"]))
            for s in values["steps"]
        )
        judged_on = int(values["judged_on"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = path.is_file() and steps and not any(math.isnan(s.divergence) for s in steps)
    return RepairedFile(path, rounding, steps, judged_on) if whole else None

"""Repairing a choice: what the command is asked for, and where its file is kept.

The file lies in a folder of the app, so that every visitor of the choice finds it, after a restart
of the server too; its name says of which artifact, choice and rounding it is.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from clado_core import Assignment
from clado_core.files.atomic import write_atomically
from clado_core.records.names import ROUNDINGS, Rounding
from clado_core.records.scheme import BitWidths, bits_to_json
from dashboard.workers.commands import NetworkWords

SUFFIX, CHOICE, RESULT = ".safetensors", ".choice.json", ".result.json"
DIGITS = 16
"""Of a SHA-256, in a file's name."""


class RepairWish(NamedTuple):
    """Which choice to repair, as ``repair`` takes it.

    Args:
        name: Of the artifact, for people.
        artifact: Its path.
        digest: Of its contents.
        assignment: The choice.
        rounding: How weights become integers.
        folder: Where repaired files are kept.
        network: Where the network is.
    """

    name: str
    artifact: str
    digest: str
    assignment: Assignment
    rounding: Rounding
    folder: str
    network: NetworkWords = NetworkWords()

    @property
    def about(self) -> str:
        """For people."""
        return f"Repairing {self.name} at {self.assignment.avg_bits:.2f} bits"

    @property
    def out(self) -> Path:
        """The packed file that is written."""
        return place(Path(self.folder), self.digest, self.assignment.bits, self.rounding)

    def arguments(self) -> list[str]:
        """The command line after ``python -m clado_core``; writes the choice for it."""
        choice = self.out.with_suffix(CHOICE)
        choice.parent.mkdir(parents=True, exist_ok=True)
        chosen = {name: bits_to_json(b) for name, b in self.assignment.by_layer().items()}
        write_atomically(choice, json.dumps({"assignment": chosen}).encode())
        return [
            *("repair", str(Path(self.artifact).resolve())),
            *("--assignment", str(choice), "--out", str(self.out)),
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


def repaired_files(folder: Path, digest: str, bits: BitWidths, /) -> tuple[RepairedFile, ...]:
    """The repaired files of a choice, the one that diverges least first."""
    found = []
    for rounding in ROUNDINGS:
        path = place(folder, digest, bits, rounding)
        if path.is_file() and (file := _read(path, rounding)) is not None:
            found.append(file)
    return tuple(sorted(found, key=lambda file: file.divergence))


def place(folder: Path, digest: str, bits: BitWidths, rounding: Rounding, /) -> Path:
    """Where the repaired file of a choice is kept."""
    text = ",".join(str(bits_to_json(b)) for b in bits)
    choice = hashlib.sha256(text.encode()).hexdigest()
    return folder / f"{digest[:DIGITS]}-{choice[:DIGITS]}-{rounding}{SUFFIX}"


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
    known = steps and not math.isnan(steps[0].divergence)
    return RepairedFile(path, rounding, steps, judged_on) if known else None

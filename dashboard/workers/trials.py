"""Running the quantized network for the page: repairs, and measurements of choices.

All of it takes the whole machine, so one runs at a time. Repaired files are kept in a folder of the
app and measurements beside the artifact, by the commands themselves, so a run that was stopped goes
on where it was, and every visitor sees what came of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from clado_core import Assignment, Solution
from clado_core.allocation.frontier import Frontier
from clado_core.allocation.stored import save_frontier
from clado_core.files.atomic import write_atomically
from clado_core.records.names import MeasuredAs, Rounding
from clado_core.records.scheme import BitWidths, bits_to_json
from dashboard.rules import Rules
from dashboard.workers.commands import AS_MEASURED, CommandService, CommandState, NetworkWords

CHOICE, FRONT, SMALLEST, GRID = ".choice.json", ".front.json", ".smallest.json", ".grid.json"
DIGITS = 16
"""Of a SHA-256, in a file's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is to be run.

    Args:
        name: Of the artifact, for people.
        artifact: Its path.
        digest: Of its contents.
        network: Where the network is.
    """

    name: str
    artifact: str
    digest: str
    network: NetworkWords = AS_MEASURED

    @property
    def about(self) -> str:
        """For people, without a full stop."""
        raise NotImplementedError

    def arguments(self) -> list[str]:
        """The command line after ``python -m clado_core``."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Write what the command reads; raises ArtifactError or OSError where that fails."""

    def keep(self, result: dict[str, Any], /) -> None:
        """Keep what the command printed, where it does not do so itself."""

    @property
    def _source(self) -> str:
        return str(Path(self.artifact).resolve())


def keep_last(folder: Path, name: str, rules: Rules, result: Mapping[str, Any], /) -> None:
    """Keep what a command printed under some rules, instead of the last time's.

    Args:
        folder: Where files of trials are kept.
        name: Of the file.
        rules: Wishes about layers that it kept.
        result: What it printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"rules": list(rules.options()), "result": result}
    write_atomically(folder / name, json.dumps(kept).encode())


def last_kept(folder: Path, name: str, rules: Rules, /) -> dict[str, Any] | None:
    """What ``keep_last`` kept, None where that was under other rules or cannot be read."""
    try:
        kept = json.loads((folder / name).read_text(encoding="utf-8"))
        found: dict[str, Any] = kept["result"]
        return found if kept["rules"] == list(rules.options()) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


TrialState: TypeAlias = CommandState[Trial]
TrialService: TypeAlias = CommandService[Trial]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceTrial(Trial):
    """A trial of one choice.

    Args:
        assignment: The choice.
        folder: Where files of trials are kept.
    """

    assignment: Assignment
    folder: str

    @property
    def choice(self) -> Path:
        """The file that the command reads the choice from."""
        name = choice_name(self.digest, self.assignment.bits)
        return Path(self.folder, f"{name}{CHOICE}")

    def prepare(self) -> None:
        """Write the choice."""
        self.choice.parent.mkdir(parents=True, exist_ok=True)
        chosen = {name: bits_to_json(b) for name, b in self.assignment.by_layer().items()}
        write_atomically(self.choice, json.dumps({"assignment": chosen}).encode())


def choice_name(digest: str, bits: BitWidths, /) -> str:
    """Names the files of a choice of an artifact."""
    text = ",".join(str(bits_to_json(b)) for b in bits)
    return f"{digest[:DIGITS]}-{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureChoice(ChoiceTrial):
    """Measure one choice on held-out images.

    Args:
        measured_as: Rounded, repaired or both.
        rounding: Of what is repaired.
    """

    measured_as: Sequence[MeasuredAs]
    rounding: Rounding

    @property
    def about(self) -> str:
        """For people."""
        return f"Measuring {self.name} at {self.assignment.avg_bits:.2f} bits"

    def arguments(self) -> list[str]:
        """As ``evaluate`` takes it."""
        return [
            *("evaluate", self._source, "--assignment", str(self.choice)),
            *("--as", ",".join(self.measured_as), "--rounding", self.rounding),
            *self.network.options(),
            "--json",
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontTrial(Trial):
    """A trial of the front that the page shows.

    Args:
        front: Its choices by ascending size.
        rules: Wishes about layers that all of them keep.
        folder: Where files of trials are kept.
    """

    front: tuple[Solution, ...]
    rules: Rules
    folder: str

    @property
    def front_file(self) -> Path:
        """The file that the command reads the front from; one for each set of rules."""
        rules = hashlib.sha256(" ".join(self.rules.options()).encode()).hexdigest()
        return Path(self.folder, f"{self.digest[:DIGITS]}-{rules[:DIGITS]}{FRONT}")

    def prepare(self) -> None:
        """Write the front."""
        self.front_file.parent.mkdir(parents=True, exist_ok=True)
        budgets = tuple(each.assignment.size_bits for each in self.front)
        save_frontier(Frontier(budgets, self.front), self.artifact, self.front_file)

    @property
    def _front_options(self) -> list[str]:
        return ["--front-from", str(self.front_file), *self.rules.options()]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureFront(FrontTrial):
    """Measure choices along the front on held-out images.

    Args:
        measured_as: Rounded, repaired or both.
        rounding: Of what is repaired.
    """

    measured_as: Sequence[MeasuredAs]
    rounding: Rounding

    @property
    def about(self) -> str:
        """For people."""
        return f"Measuring the front of {self.name}{self.rules.counted}"

    def arguments(self) -> list[str]:
        """As ``evaluate`` takes it."""
        return [
            *("evaluate", self._source, *self._front_options),
            *("--as", ",".join(self.measured_as), "--rounding", self.rounding),
            *self.network.options(),
            "--json",
        ]

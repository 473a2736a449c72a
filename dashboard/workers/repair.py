"""Repairing a choice: what the command is asked for, what that costs, and where its file stays.

A file's name says of which artifact, choice and recipe it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from clado_core.errors import CladoError
from clado_core.files.atomic import write_atomically
from clado_core.records.names import ROUNDINGS, Rounding
from dashboard.workers.commands import COMMAND, ask
from dashboard.workers.trials import ChoiceTrial, choice_name

SUFFIX, RESULT, ACCURACY = ".safetensors", ".result.json", ".accuracy.json"
ESTIMATE_LIMIT_S = 120.0
BLOCKS, EPOCHS = "blocks", "epochs"


class Recipe(NamedTuple):
    """How a choice is repaired.

    Args:
        rounding: How weights become integers.
        reconstruct: Whether blocks are reconstructed then.
        epochs: Of fine-tuning after that; 0 without.
    """

    rounding: Rounding
    reconstruct: bool = False
    epochs: int = 0

    @property
    def goes_on(self) -> bool:
        """Whether something is learned after the repair itself."""
        return self.reconstruct or self.epochs > 0

    @property
    def words(self) -> str:
        """What is learned after it, for a sentence: "fine-tuned for 3 epochs"; or ""."""
        tuned = f"fine-tuned for {self.epochs} {'epoch' if self.epochs == 1 else 'epochs'}"
        parts = ["reconstructed" * self.reconstruct, tuned * (self.epochs > 0)]
        return ", ".join(filter(None, parts))

    @property
    def name(self) -> str:
        """Part of a file's name."""
        parts = [BLOCKS * self.reconstruct, f"{self.epochs}{EPOCHS}" * (self.epochs > 0)]
        return "-".join(filter(None, [self.rounding, *parts]))

    @classmethod
    def named(cls, name: str, /) -> Self | None:
        """The reverse; None where it is no such name."""
        roundings = "|".join(ROUNDINGS)
        found = re.fullmatch(rf"({roundings})(-{BLOCKS})?(?:-(\d+){EPOCHS})?", name)
        if found is None:
            return None
        (rounding,) = (known for known in ROUNDINGS if known == found[1])
        return cls(rounding, found[2] is not None, int(found[3] or 0))

    def options(self) -> list[str]:
        """As ``repair`` takes it."""
        blocks = ["--reconstruct"] if self.reconstruct else []
        tuned = ["--finetune", str(self.epochs)] if self.epochs else []
        return ["--rounding", self.rounding, *blocks, *tuned]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair(ChoiceTrial):
    """Repair one choice.

    Args:
        recipe: How.
    """

    recipe: Recipe

    @property
    def about(self) -> str:
        """For people."""
        return f"Repairing {self.name} at {self.assignment.avg_bits:.2f} bits"

    @property
    def out(self) -> Path:
        """The packed file that is written."""
        name = choice_name(self.digest, self.assignment.bits)
        return Path(self.folder, f"{name}-{self.recipe.name}{SUFFIX}")

    def arguments(self) -> list[str]:
        """As ``repair`` takes it."""
        return [
            *("repair", self._source, "--assignment", str(self.choice), "--out", str(self.out)),
            *self.recipe.options(),
            *self.network.options(),
            "--json",
        ]

    def keep(self, result: dict[str, Any], /) -> None:
        """Keep what the command printed beside its file, which counts from then on."""
        # An accuracy would be that of the file before.
        self.out.with_suffix(ACCURACY).unlink(missing_ok=True)
        write_atomically(self.out.with_suffix(RESULT), json.dumps(result).encode())


class RepairCost(NamedTuple):
    """About how long a repair takes, in seconds.

    Args:
        repair: Rounding, statistics, and what judges them.
        reconstruct: Of blocks; 0 without.
        finetune: Of all epochs; 0 without.
    """

    repair: float
    reconstruct: float
    finetune: float


def cost_of(wish: Repair, /, *, command: Sequence[str] = COMMAND) -> RepairCost | str:
    """What a repair would take, or one sentence why it cannot be done.

    Args:
        wish: The repair.
        command: Runs ``clado_core``.
    """
    try:
        wish.prepare()
        words = [*wish.arguments(), "--dry-run"]
        found = ask(words, limit_s=ESTIMATE_LIMIT_S, command=command)
    except TimeoutError:
        return f"The estimate took longer than {ESTIMATE_LIMIT_S:g} s."
    except (CladoError, OSError) as problem:
        return str(problem)
    if isinstance(found, str):
        return found
    return RepairCost(*(float(found[f"{part}_s"]) for part in RepairCost._fields))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRepaired(ChoiceTrial):
    """Measure a repaired file on held-out images.

    Args:
        file: The packed file.
    """

    file: Path

    @property
    def about(self) -> str:
        """For people."""
        return f"Measuring the repaired {self.name} at {self.assignment.avg_bits:.2f} bits"

    def arguments(self) -> list[str]:
        """As ``evaluate`` takes it."""
        where = self.network.options()
        return ["evaluate", self._source, "--repaired", str(self.file), *where, "--json"]

    def keep(self, result: dict[str, Any], /) -> None:
        """Keep what the command printed beside the file."""
        write_atomically(self.file.with_suffix(ACCURACY), json.dumps(result).encode())

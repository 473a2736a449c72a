"""One measurement at a time, in a process of its own: it survives a reload of the page.

``python -m clado_core measure`` keeps a journal, so a run that was stopped, even by a restart of
the server, goes on where it was when it is started again with the same choices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from clado_core.files.artifact import PARTIAL, SUFFIX
from clado_core.records.names import NEAREST
from dashboard.workers.commands import CommandService, CommandState, ask

ESTIMATE_LIMIT_S = 120.0


class Wish(NamedTuple):
    """What to measure, as the command takes it.

    Args:
        model: A built-in name, torchvision:NAME, or path/to/file.py:factory.
        data: As for ``--data``; "" for the network's own.
        weights: As for ``--weights``; "" for the default.
        bits: The menu.
        samples: Size of the sensitivity set.
        out: The artifact to write.
        rounding: "nearest", or as ``repair`` ships weights: "adaround" or "gptq".
    """

    model: str
    data: str
    weights: str
    bits: tuple[int, ...]
    samples: int
    out: str
    rounding: str = NEAREST

    def arguments(self, *, dry_run: bool = False) -> list[str]:
        """The command line after ``python -m clado_core``."""
        named = {"--data": self.data, "--weights": self.weights}
        given = [part for flag, value in named.items() if value for part in (flag, value)]
        menu = ",".join(map(str, self.bits))
        last = ["--dry-run"] if dry_run else ["--out", self.out]
        return [
            "measure",
            self.model,
            *given,
            *("--bits", menu, "--samples", str(self.samples), "--rounding", self.rounding),
            *("--json", *last),
        ]


MeasureState: TypeAlias = CommandState[Wish]


class MeasureService:
    """Measures, and says beforehand what that would take.

    Args:
        command: Runs ``clado_core``; tests replace it.
    """

    def __init__(self, command: tuple[str, ...] | None = None) -> None:
        self._runs: CommandService[Wish] = CommandService(command)

    @property
    def state(self) -> MeasureState | None:
        """The latest measurement, None before the first."""
        return self._runs.state

    def start(self, wish: Wish, /) -> bool:
        """Start measuring; False where another measurement is still running."""
        return self._runs.start(wish)

    def cancel(self) -> None:
        """Stop; what is measured stays in the journal."""
        self._runs.cancel()

    def estimate(self, wish: Wish, /) -> dict[str, Any] | str:
        """What the measurement would take, or one sentence why it cannot be done."""
        try:
            return ask(
                wish.arguments(dry_run=True),
                limit_s=ESTIMATE_LIMIT_S,
                command=self._runs.command,
            )
        except TimeoutError:
            return f"The estimate took longer than {ESTIMATE_LIMIT_S:g} s; use fewer samples."


def unfinished(folder: Path, /) -> list[str]:
    """Names of artifacts in a folder whose measurement was stopped."""
    end = SUFFIX + PARTIAL
    return sorted(path.name.removesuffix(end) for path in folder.glob(f"*{end}"))

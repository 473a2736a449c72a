"""Commands that do as a test tells them, in place of those that the pages start."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from clado_core.cli.progress import StepProgress
from dashboard.workers.commands import CommandService, W
from tests.waiting import wait_for

STEP = StepProgress("Working", "assignments", 12, 45, 3.0)


def prints(
    service: CommandService[W],
    gate: Path,
    printed: dict[str, object] | None,
    said: str = "",
    writes: Path | None = None,
) -> None:
    """Have the command print this result, or fail with this sentence, once the gate is there.

    So that it cannot end before the run of the page that started it. It may write a file first.
    """
    code = f"""
import os, pathlib, sys, time
os.write(int(sys.argv[-1]), {STEP.to_line()!r})
while not os.path.exists({str(gate)!r}):
    time.sleep(0.01)
if {said!r}:
    sys.exit({said!r})
if {writes is not None!r}:
    pathlib.Path({str(writes)!r}).write_bytes(b"")
print({json.dumps(printed)!r})
"""
    service.command = (sys.executable, "-c", code)


def ended(service: CommandService[W]) -> bool:
    """Whether a run of the service has ended."""
    return service.state is not None and not service.state.running


def finish(service: CommandService[W], gate: Path) -> None:
    """Let the command go on, and wait for its end."""
    gate.touch()
    wait_for(lambda: ended(service))

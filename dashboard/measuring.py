"""One measurement at a time, in a process of its own: it survives a reload of the page.

``python -m clado_core measure`` keeps a journal, so a run that was stopped, even by a restart of
the server, goes on where it was when it is started again with the same choices.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from clado_core.store import SUFFIX

ROOT = Path(__file__).resolve().parent.parent
PROGRESS = re.compile(r"([\d,]+)/([\d,]+) \w+(?:, ([^\r\n]+?) left)?")
TERMINAL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
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
    """

    model: str
    data: str
    weights: str
    bits: tuple[int, ...]
    samples: int
    out: str

    def arguments(self, *, dry_run: bool) -> list[str]:
        """The command line after ``python -m clado_core``."""
        named = {"--data": self.data, "--weights": self.weights}
        given = [part for flag, value in named.items() if value for part in (flag, value)]
        menu = ",".join(map(str, self.bits))
        last = ["--dry-run"] if dry_run else ["--out", self.out]
        return [
            "measure",
            self.model,
            *given,
            *("--bits", menu, "--samples", str(self.samples), "--json", *last),
        ]


@dataclass(frozen=True, slots=True)
class MeasureState:
    """What is known about the latest measurement.

    Args:
        wish: What is measured.
        running: Whether it still goes on.
        done: Losses measured so far.
        total: Losses in all; 0 until that is known.
        left: Time left, in words, or "".
        problem: One sentence where it failed.
        cancelled: Whether the visitor stopped it.
        result: What the command printed at its end, or None.
    """

    wish: Wish
    running: bool = True
    done: int = 0
    total: int = 0
    left: str = ""
    problem: str = ""
    cancelled: bool = False
    result: dict[str, Any] | None = None


class MeasureService:
    """Starts the command, reads its progress line, and stops it.

    Args:
        command: Runs ``clado_core``; tests replace it.
    """

    def __init__(self, command: tuple[str, ...] | None = None) -> None:
        self._command = command or (sys.executable, "-m", "clado_core")
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._state: MeasureState | None = None
        self._text = ""
        self._cancelled = False
        atexit.register(self.cancel)

    @property
    def state(self) -> MeasureState | None:
        """The latest measurement, None before the first."""
        with self._lock:
            return self._state

    def start(self, wish: Wish, /) -> bool:
        """Start measuring; False where another measurement is still running."""
        with self._lock:
            if self._state is not None and self._state.running:
                return False
            self._state, self._text, self._cancelled = MeasureState(wish), "", False
            terminal, end = pty.openpty()
            self._process = subprocess.Popen(
                [*self._command, *wish.arguments(dry_run=False)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=end,  # a terminal, so that the line of progress is redrawn at once
                env=_environment(),
                cwd=ROOT,
            )
            os.close(end)
        threading.Thread(target=self._follow, args=(wish, terminal), daemon=True).start()
        return True

    def cancel(self) -> None:
        """Stop; what is measured stays in the journal."""
        with self._lock:
            process = self._process
            if process is None or process.poll() is not None:
                return
            self._cancelled = True
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=3)
        process.kill()

    def estimate(self, wish: Wish, /) -> dict[str, Any] | str:
        """What the measurement would take, or one sentence why it cannot be done."""
        try:
            done = subprocess.run(
                [*self._command, *wish.arguments(dry_run=True)],
                capture_output=True,
                text=True,
                env=_environment(),
                cwd=ROOT,
                timeout=ESTIMATE_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"The estimate took longer than {ESTIMATE_LIMIT_S:g} s; use fewer samples."
        if done.returncode:
            return _last_sentence(done.stderr)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def _follow(self, wish: Wish, terminal: int) -> None:
        process = self._process
        assert process is not None and process.stdout is not None
        # Linux raises at the end of a terminal whose other side is closed.
        with contextlib.suppress(OSError):
            while piece := os.read(terminal, 4096):
                self._note(wish, piece.decode(errors="replace"))
        os.close(terminal)
        output = process.stdout.read()
        process.stdout.close()
        process.wait()
        with self._lock:
            before = self._state or MeasureState(wish)
            kept = {"done": before.done, "total": before.total, "running": False}
            if process.returncode == 0:
                self._state = MeasureState(wish, result=json.loads(output), **kept)
            elif self._cancelled:
                self._state = MeasureState(wish, cancelled=True, **kept)
            else:
                self._state = MeasureState(wish, problem=_last_sentence(self._text), **kept)

    def _note(self, wish: Wish, piece: str) -> None:
        with self._lock:
            self._text = (self._text + TERMINAL.sub("", piece))[-8000:]
            found = PROGRESS.findall(self._text)
            if found:
                done, total, left = found[-1]
                counts = (int(n.replace(",", "")) for n in (done, total))
                self._state = MeasureState(wish, True, *counts, left)


def unfinished(folder: Path, /) -> list[str]:
    """Names of artifacts in a folder whose measurement was stopped."""
    end = f"{SUFFIX}.partial"
    return sorted(path.name.removesuffix(end) for path in folder.glob(f"*{end}"))


def _last_sentence(text: str) -> str:
    lines = [line.strip() for line in re.split(r"[\r\n]+", TERMINAL.sub("", text)) if line.strip()]
    said = lines[-1] if lines else "The measurement stopped without a word."
    return said.removeprefix("error: ")


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path}

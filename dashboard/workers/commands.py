"""Runs ``python -m clado_core …`` in a process of its own and follows it.

The server stays without torch, and what runs survives a reload of the page.
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
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Generic, Protocol, TypeVar

ROOT = Path(__file__).resolve().parents[2]
PROGRESS = re.compile(r"([\d,]+)/([\d,]+) \w+(?:, ([^\r\n]+?) left)?")
TERMINAL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
COMMAND = (sys.executable, "-m", "clado_core")
KEPT_TEXT = 8000
"""Characters of what a command said that are kept: enough for its last sentence."""


class CommandWish(Protocol):
    """What a command is to do."""

    def arguments(self) -> list[str]:
        """The command line after ``python -m clado_core``; asks for ``--json``."""


W = TypeVar("W", bound=CommandWish)


@dataclass(frozen=True, slots=True)
class CommandState(Generic[W]):
    """What is known about the latest run of a command.

    Args:
        wish: What was asked for.
        running: Whether it still goes on.
        done: Units of work done so far.
        total: Units in all; 0 until that is known.
        left: Time left, in words, or "".
        problem: One sentence where it failed.
        cancelled: Whether a visitor stopped it.
        result: What the command printed at its end, or None.
    """

    wish: W
    running: bool = True
    done: int = 0
    total: int = 0
    left: str = ""
    problem: str = ""
    cancelled: bool = False
    result: dict[str, Any] | None = None

    @property
    def share(self) -> float:
        """Of the work that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


class CommandService(Generic[W]):
    """One run at a time: starts the command, reads its progress line, and stops it.

    Args:
        command: Runs ``clado_core``; tests replace it.
    """

    def __init__(self, command: tuple[str, ...] | None = None) -> None:
        self.command = command or COMMAND
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._state: CommandState[W] | None = None
        self._text = ""
        self._cancelled = False
        atexit.register(self.cancel)

    @property
    def state(self) -> CommandState[W] | None:
        """The latest run, None before the first."""
        with self._lock:
            return self._state

    def start(self, wish: W, /) -> bool:
        """Start a run; False where another is still going on."""
        with self._lock:
            if self._state is not None and self._state.running:
                return False
            self._state, self._text, self._cancelled = CommandState(wish), "", False
            terminal, end = pty.openpty()
            # Unlike a pipe it never fills up; the thread that follows closes it.
            output = tempfile.TemporaryFile()  # noqa: SIM115
            process = self._process = subprocess.Popen(
                [*self.command, *wish.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=end,  # a terminal, so that the line of progress is redrawn at once
                env=_environment(),
                cwd=ROOT,
            )
            os.close(end)
        following = (wish, process, terminal, output)
        threading.Thread(target=self._follow, args=following, daemon=True).start()
        return True

    def cancel(self) -> None:
        """Stop what runs."""
        with self._lock:
            process = self._process
            if process is None or process.poll() is not None:
                return
            self._cancelled = True
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=3)
        process.kill()

    def _follow(
        self, wish: W, process: subprocess.Popen[bytes], terminal: int, output: IO[bytes]
    ) -> None:
        # Linux raises at the end of a terminal whose other side is closed.
        with contextlib.suppress(OSError):
            while piece := os.read(terminal, 4096):
                self._note(wish, piece.decode(errors="replace"))
        os.close(terminal)
        process.wait()
        with output:
            output.seek(0)
            printed = output.read()
        with self._lock:
            before = replace(self._state or CommandState(wish), running=False)
            if process.returncode == 0:
                self._state = replace(before, result=json.loads(printed))
            elif self._cancelled:
                self._state = replace(before, cancelled=True)
            else:
                self._state = replace(before, problem=last_sentence(self._text))

    def _note(self, wish: W, piece: str) -> None:
        with self._lock:
            self._text = (self._text + TERMINAL.sub("", piece))[-KEPT_TEXT:]
            found = PROGRESS.findall(self._text)
            if found:
                done, total = (int(n.replace(",", "")) for n in found[-1][:2])
                self._state = CommandState(wish, done=done, total=total, left=found[-1][2])


def ask(
    arguments: Sequence[str], /, *, limit_s: float, command: Sequence[str] = COMMAND
) -> dict[str, Any] | str:
    """Wait for a short command: what it printed, or one sentence why it failed.

    Args:
        arguments: The command line after ``python -m clado_core``; asks for ``--json``.
        limit_s: Wall time.
        command: Runs ``clado_core``.

    Raises:
        TimeoutError: It took longer.
    """
    try:
        done = subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            env=_environment(),
            cwd=ROOT,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    if done.returncode:
        return last_sentence(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def last_sentence(text: str, /) -> str:
    """What a command said last: for wrong input the one sentence that says what to do."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", TERMINAL.sub("", text)) if line.strip()]
    said = lines[-1] if lines else "The command stopped without a word."
    return said.removeprefix("error: ")


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path}

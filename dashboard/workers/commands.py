"""Runs ``python -m clado_core …`` in a process of its own and follows it.

The server stays without torch, and what runs survives a reload of the page.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Generic, NamedTuple, Protocol, TypeVar

from clado_core.cli.progress import StepProgress, clock

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "clado_core")
READ_BYTES = 8000
"""Of a line of progress, and of the end of what a command said: enough for its last sentence."""


class CommandWish(Protocol):
    """What a command is to do."""

    def arguments(self) -> list[str]:
        """The command line after ``python -m clado_core``; asks for ``--json``."""


class NetworkWords(NamedTuple):
    """Where the network of an artifact is; "" for what the artifact names.

    Args:
        data: As for ``--data``.
        model: As for ``--model``.
        weights: As for ``--weights``.
    """

    data: str = ""
    model: str = ""
    weights: str = ""

    def without_data(self) -> NetworkWords:
        """For commands that look at the network alone."""
        return self._replace(data="")

    def options(self) -> list[str]:
        """As the commands that run a measured network take them."""
        named = {f"--{name}": value for name, value in self._asdict().items()}
        return [part for flag, value in named.items() if value for part in (flag, value)]


AS_MEASURED = NetworkWords()
"""The artifact names all of it."""

W = TypeVar("W", bound=CommandWish)


@dataclass(frozen=True, slots=True)
class CommandState(Generic[W]):
    """What is known about the latest run of a command.

    Args:
        wish: What was asked for.
        running: Whether it still goes on.
        progress: How far it is, None until it says so.
        problem: One sentence where it failed.
        cancelled: Whether a visitor stopped it.
        result: What the command printed at its end, or None.
    """

    wish: W
    running: bool = True
    progress: StepProgress | None = None
    problem: str = ""
    cancelled: bool = False
    result: dict[str, Any] | None = None

    @property
    def done(self) -> int:
        """Units of work done so far."""
        return self.progress.done if self.progress else 0

    @property
    def share(self) -> float:
        """Of the work that is done, 0 to 1."""
        now = self.progress
        return min(1.0, now.done / now.total) if now and now.total else 0.0

    @property
    def counted(self) -> str:
        """How far it is, in words: "3,000 of 9,000 losses, 12 s left"; at first "starting"."""
        now = self.progress
        if now is None or not now.total:
            return "starting"
        left = "" if now.left_s is None else f", {clock(now.left_s)} left"
        return f"{now.done:,} of {now.total:,} {now.unit}{left}"


@dataclass(frozen=True, slots=True)
class _Run(Generic[W]):
    """A started command.

    Args:
        wish: What it is to do.
        process: It itself.
        progress: The pipe of its progress.
        printed: Its standard output.
        said: Its standard error.
        files: Closes these three.
    """

    wish: W
    process: subprocess.Popen[bytes]
    progress: IO[bytes]
    printed: IO[bytes]
    said: IO[bytes]
    files: contextlib.ExitStack


class CommandService(Generic[W]):
    """One run at a time: starts the command, follows its progress, and stops it.

    Args:
        command: Runs ``clado_core``; tests replace it.
        on_result: Called in another thread with a wish and what its command printed at its end,
            whether a visitor looks or not, before the state says that it has ended.
    """

    def __init__(
        self,
        command: tuple[str, ...] | None = None,
        *,
        on_result: Callable[[W, dict[str, Any]], None] = lambda wish, result: None,
    ) -> None:
        self.command = command or COMMAND
        self._on_result = on_result
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._state: CommandState[W] | None = None
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
            run = _started(self.command, wish)
            self._process, self._state, self._cancelled = run.process, CommandState(wish), False
        threading.Thread(target=self._follow, args=(run,), daemon=True).start()
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

    def _follow(self, run: _Run[W]) -> None:
        state = CommandState(run.wish)
        with run.files:
            while line := run.progress.readline(READ_BYTES):
                # A command that is killed may leave half a line.
                if progress := StepProgress.from_line(line):
                    state = replace(state, progress=progress)
                    with self._lock:
                        self._state = state
            ended = self._end(run, replace(state, running=False))
            with self._lock:
                self._state = ended

    def _end(self, run: _Run[W], state: CommandState[W]) -> CommandState[W]:
        code = run.process.wait()
        if code and self._cancelled:
            return replace(state, cancelled=True)
        if code:
            return replace(state, problem=_problem(run, code))
        result = _result(run)
        try:
            self._on_result(run.wish, result)
        except OSError as problem:
            where = problem.filename or "the result"
            return replace(state, problem=f"{where} cannot be kept: {problem.strerror}.")
        return replace(state, result=result)


def _started(command: tuple[str, ...], wish: W) -> _Run[W]:
    reading, writing = os.pipe()
    with contextlib.ExitStack() as files:
        progress = files.enter_context(open(reading, "rb"))
        # Only the command keeps the writing end, so that the pipe ends when the command does.
        with open(writing, "wb"):
            # Unlike pipes, files never fill up.
            printed, said = (files.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            process = subprocess.Popen(
                [*command, *wish.arguments(), "--progress-fd", str(writing)],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=said,
                pass_fds=[writing],
                env=_environment(),
                cwd=ROOT,
            )
        return _Run(wish, process, progress, printed, said, files.pop_all())


def _result(run: _Run[W]) -> dict[str, Any]:
    run.printed.seek(0)
    found: dict[str, Any] = json.loads(run.printed.read())
    return found


def _problem(run: _Run[W], code: int) -> str:
    if code < 0:
        name = signal.strsignal(-code) or f"signal {-code}"
        return f"The system stopped the command ({name}); start it again."
    size = run.said.seek(0, os.SEEK_END)
    run.said.seek(max(0, size - READ_BYTES))
    return last_sentence(run.said.read().decode(errors="replace"))


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
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = lines[-1] if lines else "The command stopped without a word."
    return said.removeprefix("error: ")


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path}

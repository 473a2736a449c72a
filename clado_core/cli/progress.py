"""How far a long command is: a line on standard error, and JSON lines for a program that asks.

``--progress-fd N`` makes a command write JSON lines to the file descriptor N, which its caller
hands over: the writing end of a pipe, or ``--progress-fd 3 3>progress.jsonl`` in a shell. A line
is one object in ASCII and ends with a newline::

    {"what": "Measuring net", "unit": "losses", "done": 3000, "total": 9000, "left_s": 12.3}

- ``what``: the step that is going on, for people; some commands have several, one after another.
- ``unit``: name of the things counted, in the plural.
- ``done``, ``total``: how many are finished and how many there are; ``total`` may still change.
- ``left_s``: seconds that this step still takes, null while that is unknown.

Lines come at most every REFRESH_S seconds; the last one of a step is always written. There may be
more keys in later versions. The command never waits for its reader: a line that the pipe does not
take at once is left out, and nothing happens when the reader goes away. Processes that the command
starts do not inherit the descriptor, so the pipe ends when the command does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

REFRESH_S = 0.2
PLAIN_REFRESH_S = 15.0
"""Where standard error is no terminal (a log), a line now and then instead of a redrawn one."""

_DESCRIPTOR: ContextVar[int | None] = ContextVar("descriptor of the JSON lines", default=None)


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far one step of a command is: what a JSON line says.

    Args:
        what: What is being done.
        unit: Name of the things counted.
        done: Units finished.
        total: Units in all.
        left_s: Seconds that the step still takes, None while that is unknown.
    """

    what: str
    unit: str
    done: int
    total: int
    left_s: float | None = None

    def to_line(self) -> bytes:
        """The JSON line, with its newline."""
        left_s = None if self.left_s is None else round(self.left_s, 1)
        return json.dumps(asdict(self) | {"left_s": left_s}).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes, /) -> StepProgress | None:
        """What a line says, None where it is not one of these, or broke off."""
        try:
            said = json.loads(line)
            left_s = None if said["left_s"] is None else float(said["left_s"])
            counts = int(said["done"]), int(said["total"])
            return cls(str(said["what"]), str(said["unit"]), *counts, left_s)
        except (ValueError, KeyError, TypeError):
            return None


def descriptor(text: str, /) -> int:
    """The value of ``--progress-fd``.

    Raises:
        argparse.ArgumentTypeError: Nothing can be written there, or it is a standard stream.
    """
    try:
        number = int(text)
        os.write(number, b"")  # fails where it is not open, or only for reading
    except BrokenPipeError:
        pass  # it was right, and only its reader has gone
    except (ValueError, OverflowError, OSError):
        number = -1
    if number < 3:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no descriptor of 3 or more that is open for writing; "
            "hand one over, as in --progress-fd 3 3>progress.jsonl"
        )
    return number


@contextlib.contextmanager
def progress_written_to(number: int | None, /) -> Iterator[None]:
    """Every ProgressLine made inside also writes JSON lines to this descriptor, if there is one."""
    if number is not None:
        os.set_inheritable(number, False)
    token = _DESCRIPTOR.set(number)
    try:
        yield
    finally:
        _DESCRIPTOR.reset(token)


class ProgressLine:
    """Shows how far a step is wherever that is asked for; a context manager, so that it is ended.

    Args:
        what: What is being done.
        unit: Name of the things counted.
    """

    def __init__(self, what: str, unit: str) -> None:
        self._what, self._unit = what, unit
        number = _DESCRIPTOR.get()
        self._sinks: list[_Sink] = [_Text(), *([] if number is None else [_JsonLines(number)])]
        self._start = time.perf_counter()
        self._first: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sink in self._sinks:
            sink.end()

    def update(self, done: int, total: int) -> None:
        """Report progress.

        Args:
            done: Units finished; those of the first call do not count for the speed.
            total: Units in all.
        """
        now = time.perf_counter()
        if self._first is None:
            self._first, self._start = done, now
        fresh = done - self._first
        left_s = (now - self._start) / fresh * (total - done) if fresh else None
        progress = StepProgress(self._what, self._unit, done, total, left_s)
        for sink in self._sinks:
            sink.show(progress, now)


class _Sink(ABC):
    """Where progress is shown, not more often than anyone can follow.

    Args:
        refresh_s: Least time between two reports.
    """

    def __init__(self, refresh_s: float) -> None:
        self._refresh_s = refresh_s
        self._shown_at = float("-inf")
        self._withheld: StepProgress | None = None

    def show(self, progress: StepProgress, now: float) -> None:
        """Write it, unless another was written just now; the last unit is always reported."""
        if now - self._shown_at < self._refresh_s and progress.done < progress.total:
            self._withheld = progress
            return
        self._shown_at, self._withheld = now, None
        self._write(progress)

    @abstractmethod
    def _write(self, progress: StepProgress) -> None: ...

    @abstractmethod
    def end(self) -> None:
        """The step is over."""


class _Text(_Sink):
    """For people: "what: done/total units, time left" on standard error."""

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._redraws = self._stream.isatty()
        super().__init__(REFRESH_S if self._redraws else PLAIN_REFRESH_S)

    def _write(self, progress: StepProgress) -> None:
        left = "" if progress.left_s is None else f", {clock(progress.left_s)} left"
        text = f"{progress.what}: {progress.done:,}/{progress.total:,} {progress.unit}{left}"
        self._stream.write(f"\r\x1b[2K{text}" if self._redraws else f"{text}\n")
        self._stream.flush()

    def end(self) -> None:
        if self._redraws and self._shown_at > float("-inf"):
            self._stream.write("\n")


class _JsonLines(_Sink):
    """For the caller's program.

    Args:
        number: Of the descriptor.
    """

    def __init__(self, number: int) -> None:
        super().__init__(REFRESH_S)
        self._number = number
        self._room = select.poll()
        self._room.register(number, select.POLLOUT)

    def _write(self, progress: StepProgress) -> None:
        line = progress.to_line()
        # A pipe that has room takes so much without waiting, and as a whole.
        if len(line) <= select.PIPE_BUF and self._room.poll(0):
            with contextlib.suppress(OSError):  # such as a reader that has gone away
                os.write(self._number, line)

    def end(self) -> None:
        if self._withheld is not None:
            self._write(self._withheld)


def clock(seconds: float, /) -> str:
    """Seconds as "42 s", "3:05 min" or "2:10 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"

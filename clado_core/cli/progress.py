"""One line on standard error that says how far a long command is."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

REFRESH_S = 0.2
PLAIN_REFRESH_S = 15.0
"""Where standard error is no terminal (a log), a line now and then instead of a redrawn one."""


class ProgressLine:
    """Shows "what: done/total units, time left"; a context manager, so that the line is ended.

    Args:
        what: What is being done.
        unit: Name of the things counted.
    """

    def __init__(self, what: str, unit: str) -> None:
        self._what, self._unit = what, unit
        self._stream = sys.stderr
        self._redraws = self._stream.isatty()
        self._start = time.perf_counter()
        self._first: int | None = None
        self._shown_at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._redraws and self._shown_at > float("-inf"):
            self._stream.write("\n")

    def update(self, done: int, total: int) -> None:
        """Report progress.

        Args:
            done: Units finished; those of the first call do not count for the speed.
            total: Units in all.
        """
        now = time.perf_counter()
        if self._first is None:
            self._first, self._start = done, now
        refresh = REFRESH_S if self._redraws else PLAIN_REFRESH_S
        if now - self._shown_at < refresh and done < total:
            return
        self._shown_at = now
        fresh = done - self._first
        left = f", {clock((now - self._start) / fresh * (total - done))} left" if fresh else ""
        text = f"{self._what}: {done:,}/{total:,} {self._unit}{left}"
        self._stream.write(f"\r\x1b[2K{text}" if self._redraws else f"{text}\n")
        self._stream.flush()


def clock(seconds: float, /) -> str:
    """Seconds as "42 s", "3:05 min" or "2:10 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"

"""Linear algebra on one thread, for matrices too small to share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS on the calling thread.

    Its threads wait for each other by spinning: on a busy machine, factorizing a 100 × 100 matrix
    on two of them was measured 30 times slower than on one, and on an idle one it gains nothing.
    The setting is the whole process's; it comes back when the last of several solves ends.
    """
    limit = _limit()
    limit.enter()
    try:
        yield
    finally:
        limit.leave()


class _SharedLimit:
    """Counts who is inside, so that overlapping solves do not restore each other's limit."""

    def __init__(self) -> None:
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

        self._controller = ThreadpoolController()
        self._lock = threading.Lock()
        self._inside = 0
        self._limiter: Any = None

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limiter = self._controller.limit(limits=1, user_api="blas")
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limiter.restore_original_limits()


@cache
def _limit() -> _SharedLimit:
    # Finding the loaded libraries takes milliseconds, so once; numpy's is there by now.
    return _SharedLimit()

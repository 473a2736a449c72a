"""Waiting for what other processes and threads do, no longer than it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

LOOK_S = 0.01


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Return once it holds; fails only where it does not for so long that it never will."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"nothing happened in {seconds:g} s"
        time.sleep(LOOK_S)

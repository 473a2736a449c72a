"""Keep what a compiled library prints off standard output, which belongs to the command."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STDOUT = 1
_lock = threading.Lock()


@contextmanager
def quiet_stdout() -> Iterator[None]:
    """Send file descriptor 1 nowhere; the whole process's, so for calls that are short.

    HiGHS 1.12 prints a line of its own where a presolved answer is mapped back, whatever its
    options say, and a line in the middle of ``--json`` is no JSON.
    """
    with _lock:
        try:
            kept = os.dup(STDOUT)
        except OSError:  # closed: nothing can be printed
            yield
            return
        sys.stdout.flush()
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), STDOUT)
        try:
            yield
        finally:
            # C's own buffer holds the line until someone flushes it.
            ctypes.CDLL(None).fflush(None)
            os.dup2(kept, STDOUT)
            os.close(kept)

"""Make the C library give freed activations back, so that a memory bound holds."""

from __future__ import annotations

import ctypes
import sys

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1 << 16


def return_freed_memory() -> None:
    """Have glibc map blocks of 64 KiB and more on their own; a no-op elsewhere.

    By itself glibc raises that limit up to 32 MiB and keeps freed activations in its heap, where
    they were measured to double the peak. For the whole process, and slower: only where a bound
    was asked for.

    Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)

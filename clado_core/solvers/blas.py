"""Linear algebra on one thread, for matrices too small to share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS on the calling thread.

    Its threads wait for each other by spinning: on a busy machine, factorizing a 100 × 100 matrix
    on two of them was measured 30 times slower than on one, and on an idle one it gains nothing.
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> Any:
    # Finding the loaded libraries takes milliseconds, so once; numpy's is there by now.
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()

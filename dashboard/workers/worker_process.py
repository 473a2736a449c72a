"""What every worker process does: one JSON request per line on standard input, messages out.

Solvers print, so the protocol keeps standard output's descriptor for itself and gives them the null
device.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

from clado_core import SensitivityMatrix, load
from clado_core.errors import CladoError
from dashboard.rules import Rules

LOWER_PRIORITY = 5
"""Niceness: drawing the page comes before proving."""


class Send(Protocol):
    """Writes one message."""

    def __call__(self, *, kind: str, **values: object) -> None:
        """Its kind and what it says."""


def serve(answer: Callable[[dict[str, Any], Send], None]) -> None:
    """Answer requests until standard input closes; what goes wrong is a message, too.

    Args:
        answer: Gets a request, sends what it finds.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.nice(LOWER_PRIORITY)

    def send(*, kind: str, **values: object) -> None:
        out.write(json.dumps({"kind": kind, **values}) + "\n")

    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        try:
            answer(json.loads(requests.get()), send)
        except CladoError as problem:
            send(kind="failed", message=str(problem))
        except Exception as fault:  # whatever happens inside a solver, the page keeps its answer
            send(kind="failed", message=f"The solver failed ({type(fault).__name__}: {fault}).")


def _listen(requests: queue.SimpleQueue[str]) -> None:
    """Pass lines on; when the server is gone, leave at once, even in the middle of a solve."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


@lru_cache(maxsize=4)
def matrix_of(artifact: str, digest: str, /) -> SensitivityMatrix:
    """The sensitivities of an artifact; a replaced file has another digest."""
    return load(artifact)


def rules_of(values: dict[str, list[Any]], /) -> Rules:
    """Rules of a request: tuples that JSON made lists of."""
    return Rules(
        locks=tuple((name, b) for name, b in values["locks"]),
        ties=tuple(tuple(group) for group in values["ties"]),
        least=tuple((name, b) for name, b in values["least"]),
    )

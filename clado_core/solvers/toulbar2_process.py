"""toulbar2 in a process of its own, since it neither lets others run nor stops when asked.

Reads a program as ``.npz`` from standard input, and prints one line of JSON. Start it as
``python -m clado_core.solvers.toulbar2_process``; it ends with whoever started it.
"""

from __future__ import annotations

import ctypes
import io
import json
import math
import resource
import signal
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.int64]

DIE_WITH_PARENT = 1
"""Linux's PR_SET_PDEATHSIG. Elsewhere the limit on CPU time ends an orphan."""


def main() -> None:
    """Solve what standard input holds."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as given:
        arrays = {name: given[name] for name in given.files}
    limit_s = math.ceil(float(arrays["limit_s"]))
    if limit_s:
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s + 2, limit_s + 3))
    print(json.dumps(minimize(arrays, limit_s)))


def minimize(arrays: dict[str, Any], limit_s: int) -> dict[str, Any]:
    """The best choice below ``upper`` and the bound, in whole units.

    Args:
        arrays: ``unary`` (v,) and ``binary`` (v, v), whole units; ``offsets`` (d + 1,); ``costs``
            (k, v) and ``limits`` (k,); ``upper``, whole units.
        limit_s: CPU seconds; 0 for none.

    Returns:
        "choice": one index per decision, or None; "bound".
    """
    from pytoulbar2 import CFN  # type: ignore[import-untyped]
    from pytoulbar2.pytb2 import Contradiction  # type: ignore[import-untyped]

    network, offsets = CFN(verbose=-1), arrays["offsets"].tolist()
    menus = [range(start, stop) for start, stop in pairwise(offsets)]
    for k, menu in enumerate(menus):
        network.AddVariable(f"d{k}", list(range(len(menu))))
    for k, menu in enumerate(menus):
        network.AddFunction([k], arrays["unary"][menu].tolist())
        for other in range(k):
            table = arrays["binary"][np.ix_(menu, menus[other])]
            if table.any():
                network.AddFunction([k, other], table.ravel().tolist())
    for cost, limit in zip(arrays["costs"].tolist(), arrays["limits"].tolist(), strict=True):
        saved, least = savings(cost, limit, menus)
        if least > 0:
            network.AddGeneralizedLinearConstraint(saved, ">=", least)
    try:
        network.UpdateUB(int(arrays["upper"]))
        solved = network.Solve(timeLimit=limit_s)
    except Contradiction:
        solved = None
    choice = None if solved is None else [int(index) for index in solved[0]]
    return {"choice": choice, "bound": float(network.GetDDualBound())}


def savings(
    cost: list[int], limit: int, menus: list[range], /
) -> tuple[list[tuple[int, int, int]], int]:
    """A budget as what is saved at least, against the dearest of every menu.

    pytoulbar2 (1.4.0.1) makes negative weights of a "<=", and with these its proofs are wrong once
    in a thousand small problems.

    Args:
        cost: Of each variable.
        limit: Of their sum.
        menus: The variables of each decision.

    Returns:
        (decision, index in its menu, saved) of each variable; and how much must be saved in all.
    """
    dearest = [max(cost[a] for a in menu) for menu in menus]
    saved = [
        (k, i, dearest[k] - cost[a]) for k, menu in enumerate(menus) for i, a in enumerate(menu)
    ]
    return saved, sum(dearest) - limit


if __name__ == "__main__":
    main()

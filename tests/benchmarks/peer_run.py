"""Our solver and its peers on shipped matrices, in one run: ``bench solve --peers``.

Every solve has a process of its own and one thread, with the libraries imported before; building a
solver's model counts. Answers are checked (``peer_check``).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from clado_core import AllocationProblem, SensitivityMatrix
from clado_core.allocation.stored import load_shifts
from clado_core.files.atomic import write_atomically
from clado_core.problem.allocation_problem import bits_for_average
from clado_core.solvers import ConvexifyingShifts, TieredSolver, compute_shifts
from tests.benchmarks.peer_check import Run, check, compare, cpu_ratio, difference
from tests.benchmarks.peers import PEERS, Peer, PeerAnswer, answer_of

ASSETS = Path(__file__).resolve().parents[2] / "assets"
MATRICES = (
    "digits-vit",
    "cifar10-resnet20-per-tensor-248",
    "cifar10-mobilenetv2-per-tensor-248",
    "cifar10-vit-per-tensor-248",
    "cifar10-resnet20-per-channel-23468",
    "cifar10-vit-per-channel-23468",
    "cifar10-resnet20-per-tensor-248-logit-gram",
    "cifar10-vit-per-tensor-248-logit-gram",
)
"""The Gram matrices are positive semidefinite, the others indefinite."""

AVERAGES = (2.2, 2.5, 3.0, 4.0, 6.0)
OURS = "ours"
IMPORTED_BY_OURS = ("clado_core.solvers", "daqp", "scipy.linalg", "threadpoolctl")
TIME_LIMIT_S = 10.0

GRACE_S = 20.0
"""After its limit a solver that does not stop is ended."""

AGAIN_BELOW_S = 1.0
RUNS = 3
"""Solves shorter than that are repeated so often, and the median counts."""


def run(
    matrices: Mapping[Path, SensitivityMatrix],
    time_limit_s: float,
    out: Path | None,
    peers: Iterable[Peer] = PEERS,
) -> dict[str, Any]:
    """Solve everything with everyone who is installed; tells on standard error as it goes.

    Args:
        matrices: By the file that each comes from, with its certificate beside it or not.
        time_limit_s: Of the clock, for one solve.
        out: Gets the results as JSON after every budget.
        peers: Those that are not installed are named and left out.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    installed = [peer for peer in peers if peer.is_installed]
    _say(missing_sentence(peers))
    modules = [__name__, *IMPORTED_BY_OURS, *(peer.preloaded for peer in installed)]
    multiprocessing.get_context("forkserver").set_forkserver_preload(modules)
    results: dict[str, Any] = {
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "python": platform.python_version(),
        },
        "time_limit_s": time_limit_s,
        "versions": {p.name: f"{p.package} {version(p.package)}" for p in installed},
        "rows": [],
    }
    for path, matrix in matrices.items():
        for row in _rows(path, matrix, installed, time_limit_s):
            results["rows"].append(row)
            if out is not None:
                write_atomically(out, (json.dumps(results, indent=1) + "\n").encode())
    _say("\n" + verdict(results["rows"]))
    return results


def shown_matrices() -> list[Path]:
    """Where those of the README are."""
    return [ASSETS / f"{name}.clado" for name in MATRICES]


def missing_sentence(peers: Iterable[Peer]) -> str:
    """Which peers are not installed, so not run, and how to install them."""
    missing = [peer for peer in peers if not peer.is_installed]
    if not missing:
        return "All peers are installed."
    names = ", ".join(peer.name for peer in missing)
    packages = " ".join(peer.package for peer in missing)
    return f"Not installed, so not run: {names} (python -m pip install {packages})."


def verdict(rows: Iterable[dict[str, Any]]) -> str:
    """Every fault, loudly, or that there is none."""
    named = [
        f"{row['matrix']} at {row['avg_bits']:g} bits, {name}: {run['fault']}"
        for row in rows
        for name, run in {OURS: row[OURS], **row["peers"]}.items()
        if run["fault"]
    ]
    if not named:
        return "All answers are feasible, and no proof contradicts an answer."
    return "\n".join(["!!!", *(f"!!! {line}" for line in named), "!!!"])


def _rows(
    path: Path, matrix: SensitivityMatrix, peers: list[Peer], time_limit_s: float
) -> Iterator[dict[str, Any]]:
    """One per budget; the certificate is there, or made, before the clock starts."""
    shifts = load_shifts(path) or compute_shifts(matrix)
    for avg_bits in AVERAGES:
        problem = AllocationProblem(matrix, bits_for_average(avg_bits, matrix.layers))
        _say(f"\n{path.stem}, {avg_bits:g} bits")
        ours = measure(OURS, problem, time_limit_s, shifts)
        row: dict[str, Any] = {
            "matrix": path.stem,
            "layers": matrix.n_layers,
            "choices": matrix.n_bits,
            "avg_bits": avg_bits,
            OURS: asdict(ours),
            "peers": {},
        }
        _say(_line(OURS, row[OURS]))
        for peer in peers:
            found = compare(ours, measure(peer.name, problem, time_limit_s))
            beside = {"cpu_ratio": cpu_ratio(ours, found), "difference": difference(ours, found)}
            row["peers"][peer.name] = asdict(found) | beside
            _say(_line(peer.name, row["peers"][peer.name]))
        yield row


def measure(
    name: str,
    problem: AllocationProblem,
    time_limit_s: float,
    shifts: ConvexifyingShifts | None = None,
) -> Run:
    """One solver on one problem, in a process that is ended where it does not stop.

    Args:
        name: Of a peer, or ``OURS``.
        problem: With a budget in bits alone.
        time_limit_s: Of the clock.
        shifts: For ours.
    """
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(there, name, problem, time_limit_s, shifts))
    started = time.perf_counter()
    child.start()
    there.close()
    try:
        if here.poll(RUNS * AGAIN_BELOW_S + time_limit_s + GRACE_S):
            return check(problem, *here.recv())
        fault = f"it did not stop within {GRACE_S:g} s of its limit"
    except EOFError:
        fault = "its process ended without an answer"
    finally:
        child.kill()
        child.join()
        here.close()
    return Run(None, None, False, None, time.perf_counter() - started, fault=fault)


def _child(
    connection: Connection,
    name: str,
    problem: AllocationProblem,
    time_limit_s: float,
    shifts: ConvexifyingShifts | None,
) -> None:
    """Send the answer, CPU seconds and wall seconds."""
    cpu_s: list[float] = []
    wall_s: list[float] = []
    while len(wall_s) < RUNS and max(wall_s, default=0.0) < AGAIN_BELOW_S:
        before, started = _cpu_s(), time.perf_counter()
        answer = _solve(name, problem, time_limit_s, shifts)
        wall_s.append(time.perf_counter() - started)
        cpu_s.append(_cpu_s() - before)
    connection.send((answer, statistics.median(cpu_s), statistics.median(wall_s)))


def _solve(
    name: str, problem: AllocationProblem, time_limit_s: float, shifts: ConvexifyingShifts | None
) -> PeerAnswer:
    if name == OURS:
        # One thread, as the peers have: toulbar2 does not race beside.
        solver = TieredSolver(shifts, race=False)
        return answer_of(solver.solve(problem, time_limit_s=time_limit_s))
    return next(peer for peer in PEERS if peer.name == name).solve(problem, time_limit_s)


def _cpu_s() -> float:
    """Used by this process, and by those that it started and that have ended."""
    used = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _line(name: str, run: dict[str, Any]) -> str:
    cpu_s = "   ended" if run["cpu_s"] is None else f"{run['cpu_s']:8.3f}"
    words = [f"  {name:<11}{cpu_s} CPU s", "proven" if run["is_proven"] else "open  "]
    if run.get("cpu_ratio") is not None:
        words.append(f"{'' if run['is_proven'] else '≥ '}{run['cpu_ratio']:.3g} ×")
    if run.get("difference") is not None:
        words.append(f"{run['difference']:+.2%}")
    elif run["objective"] is None:
        words.append("no answer")
    return "  ".join([*words, *([f"!!! {run['fault']}"] if run["fault"] else [])])


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()

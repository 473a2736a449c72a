"""toulbar2: a prover whose code and bounds share nothing with the others."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from clado_core.errors import InputError, SolverError
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.problem.program import Program, compile_program
from clado_core.problem.solution import Solution, is_proven
from clado_core.records.assignment import Assignment
from clado_core.solvers.incumbent import Incumbent
from clado_core.solvers.local_search import LocalSearchSolver
from clado_core.solvers.protocol import OnProgress

NAME = "toulbar2"

MOST_UNITS = 2.0**59
"""Of all costs together: toulbar2 counts in 64 bits, and keeps some for itself."""

MOST_SCALE = 1e15
"""Of the largest cost: more is below its rounding."""

DOUBLE = 2.0**-52
"""Relative rounding of the bound, which comes as a double."""

GRACE_S = 2.0
"""For starting the process, and for its answer at its limit."""

MISSING = (
    "toulbar2 is not installed here: python -m pip install pytoulbar2 (it has wheels for Linux and "
    "for macOS 14 on ARM)."
)


def is_installed() -> bool:
    """Whether pytoulbar2 can be imported, without importing it."""
    return importlib.util.find_spec("pytoulbar2") is not None


@dataclass(frozen=True, slots=True)
class Toulbar2Solver:
    """Branch and bound with soft arc consistency on the measured G, indefinite as it is.

    It gets the compiled program alone: no shifts, no candidates ruled out, no bound of another
    prover. Costs are rounded down to whole units, so its bounds hold for G; an answer to start
    from is only where it stops looking.

    Source: Hurley et al., Multi-language evaluation of exact solvers in graphical model discrete
    optimization (2016); Montalbano et al., Multiple-choice knapsack constraint in graphical models
    (2022).
    """

    def solve(
        self,
        problem: AllocationProblem,
        /,
        *,
        warm_start: Assignment | None = None,
        time_limit_s: float | None = None,
        gap_limit: float = 0.0,
        on_progress: OnProgress | None = None,
    ) -> Solution:
        """See Solver.solve; the process starts once local search has an answer.

        Raises:
            InputError: It is not installed, or as in Solver.solve.
        """
        if not is_installed():
            raise InputError(MISSING)
        incumbent = Incumbent(problem, on_progress=on_progress, warm_start=warm_start)
        if not incumbent.is_settled:
            LocalSearchSolver().improve(incumbent, time_limit_s=time_limit_s)
            prove(incumbent, incumbent.left_s(time_limit_s))
        return incumbent.solution(NAME, gap_limit=gap_limit, in_time=time_limit_s is None)


def prove(incumbent: Incumbent, left_s: float | None, /) -> None:
    """Search the incumbent's whole problem; offers what is better, proves the bound.

    Args:
        incumbent: Has an answer.
        left_s: CPU seconds, and with a little grace wall seconds too; None for no limit.

    Raises:
        SolverError: The process failed.
    """
    with Race(incumbent) as race:
        race.start(left_s)
        race.wait(None if left_s is None else left_s + GRACE_S)
        race.collect()


class Race:
    """A process that searches an incumbent's whole problem while others do; ended on leaving.

    ``has_won`` says whether what was collected is what proved it.

    Args:
        incumbent: Where it starts; gets what the process finds, when it is collected.
    """

    def __init__(self, incumbent: Incumbent, /) -> None:
        self.has_won = False
        self._incumbent = incumbent
        self._process: subprocess.Popen[bytes] | None = None
        # Files, not pipes, which somebody would have to tend: no thread starts inside SCIP's calls.
        self._folder: TemporaryDirectory[str] | None = None
        self._scale = math.inf

    def __enter__(self) -> Race:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._clean()

    @property
    def is_running(self) -> bool:
        """Whether something may still come of it."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_open(self) -> bool:
        """Whether it was started and not collected."""
        return self._process is not None

    def start(self, left_s: float | None, /) -> None:
        """Begin, where there is something to find, from the incumbent's answer.

        Args:
            left_s: CPU seconds; None for no limit.
        """
        program = compile_program(self._incumbent.problem)
        self._scale = _scale(program)
        if left_s == 0 or not math.isfinite(self._scale):
            return
        objective = program.objective(program.choice_of(self._incumbent.assignment.bits))
        # Its own cost is below this, so that a search that ends has found it or a better one.
        upper = math.floor(self._scale * (objective - program.constant)) + 1
        arrays = _arrays(program, self._scale)
        arrays |= {"upper": np.array(upper), "limit_s": np.array(left_s or 0.0)}
        self._clean()
        self._folder = TemporaryDirectory(prefix="toulbar2-")
        np.savez(self._path("given.npz"), **arrays)
        self._process = _process(*map(self._path, ("given.npz", "out", "errors")))

    def wait(self, seconds: float | None, /) -> None:
        """Until it has ended, or so long."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)

    def collect(self, into: Incumbent | None = None, /) -> None:
        """Give what was found, once, if it has ended.

        Args:
            into: Another incumbent of the same problem, to compare with the one it began with.

        Raises:
            SolverError: The process failed.
        """
        process = self._process
        if process is None or self.is_running:
            return
        self._process = None
        if process.returncode < 0:
            return  # its own limit
        if process.returncode:
            said = self._path("errors").read_text(errors="replace").strip().splitlines()
            raise SolverError(f"toulbar2 stopped: {said[-1] if said else process.returncode}.")
        said = self._path("out").read_text().splitlines()
        self._give(json.loads(said[-1]), into or self._incumbent)

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return Path(self._folder.name, name)

    def _clean(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _give(self, found: dict[str, Any], incumbent: Incumbent) -> None:
        program, was_proven = compile_program(incumbent.problem), is_proven(incumbent.gap)
        if found["choice"] is not None:
            bits = program.layer_bits(np.array(found["choice"], dtype=np.int64))
            if incumbent.problem.is_feasible(incumbent.problem.assignment(bits)):
                incumbent.offer_bits(bits)
        bound = found["bound"] - DOUBLE * abs(found["bound"])
        incumbent.prove(program.constant + bound / self._scale)
        self.has_won = not was_proven and is_proven(incumbent.gap)


def _process(given: Path, out: Path, errors: Path) -> subprocess.Popen[bytes]:
    """It finds this very package, wherever it is started."""
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    with given.open("rb") as stdin, out.open("wb") as stdout, errors.open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "clado_core.solvers.toulbar2_process"],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=os.environ | {"PYTHONPATH": path},
        )


def _scale(program: Program) -> float:
    """Units in one of the objective; +inf where nothing costs anything."""
    largest = float(np.abs(program.Q).max(initial=0.0))
    if largest == 0:
        return math.inf
    tables = program.n_decisions * (program.n_decisions + 1) / 2
    return min(MOST_SCALE, MOST_UNITS / (2 * tables)) / largest


def _arrays(program: Program, scale: float) -> dict[str, Any]:
    """Whole costs, rounded down: no assignment costs more than scale times its objective."""
    binary = np.floor(2 * program.Q * scale).astype(np.int64)
    return {
        "unary": np.floor(program.Q.diagonal() * scale).astype(np.int64),
        "binary": binary,
        "offsets": program.offsets,
        "costs": program.costs,
        "limits": program.limits,
    }

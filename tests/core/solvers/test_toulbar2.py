"""toulbar2: the measured matrix as it is, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from clado_core import AllocationProblem, SolveStatus
from clado_core.solvers import EnumerationSolver, TieredSolver, Toulbar2Solver
from clado_core.solvers.toulbar2 import is_installed
from tests.conftest import ROOT
from tests.core.instances import average, measured, random_matrix, random_problem

pytestmark = pytest.mark.skipif(not is_installed(), reason="pytoulbar2 is not installed")


@pytest.mark.parametrize("seed", range(16))
def test_it_agrees_with_enumeration(seed: int) -> None:
    """Of every kind of rule and budget, indefinite and not, with joint menus."""
    problem = random_problem(seed)
    optimum = EnumerationSolver().solve(problem)
    solution = Toulbar2Solver().solve(problem)
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.objective == pytest.approx(optimum.objective, rel=1e-9, abs=1e-12)
    assert solution.bound <= optimum.objective + 1e-12


@pytest.mark.parametrize("factor", [1e-150, 1e-9, 1e50])
def test_its_unit_follows_the_matrix(factor: float) -> None:
    matrix = random_matrix(np.random.default_rng(5), n_layers=8, bits=(2, 4, 8))
    scaled = type(matrix)("scaled", matrix.G * factor, matrix.layers, matrix.bit_widths)
    solution = Toulbar2Solver().solve(average(scaled, 3.0))
    optimum = EnumerationSolver().solve(average(scaled, 3.0))
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.objective == pytest.approx(optimum.objective, rel=1e-6)


def test_a_matrix_of_zeros_has_nothing_to_find() -> None:
    matrix = random_matrix(np.random.default_rng(5), n_layers=3, bits=(2, 4))
    nothing = type(matrix)("nothing", 0 * matrix.G, matrix.layers, matrix.bit_widths)
    assert Toulbar2Solver().solve(AllocationProblem(nothing)).objective == 0


def test_a_limit_ends_it_with_what_local_search_found() -> None:
    problem = average(measured("cifar10-vit-per-channel-23468"), 5.0)
    begun = time.perf_counter()
    solution = Toulbar2Solver().solve(problem, time_limit_s=2.0)
    assert time.perf_counter() - begun < 15
    assert solution.status is SolveStatus.TIME_LIMIT and problem.is_feasible(solution.assignment)


def test_it_confirms_what_scip_does_not() -> None:
    """Half a second is too short for SCIP on the transformer; at 2.1 bits toulbar2 is quick."""
    problem = average(measured("cifar10-vit-per-channel-23468"), 2.1)
    solution = TieredSolver(confirm=True).solve(problem, time_limit_s=60)
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.solver in {"daqp+scip", "daqp+toulbar2"}


WITHOUT = """
import sys
sys.modules["pytoulbar2"] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "pytoulbar2" else find(name, *a)
from clado_core.cli import main
sys.exit(main(["solve", *sys.argv[1:]]))
"""


def _without_the_package(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_without_the_package_a_sentence_says_so() -> None:
    words = ("assets/digits-resnet.clado", "--avg-bits", "4")
    done = _without_the_package(*words, "--solver", "toulbar2")
    assert done.returncode and "toulbar2 is not installed here" in done.stderr
    assert "Traceback" not in done.stderr
    proven = _without_the_package(*words)
    assert "Proven optimal" in proven.stdout and "toulbar2" not in proven.stdout


def test_what_stays_open_without_the_package_names_it() -> None:
    vit = "assets/cifar10-vit-per-channel-23468.clado"
    done = _without_the_package(vit, "--avg-bits", "4.5", "--time-limit", "0.1")
    assert done.returncode == 0 and "within the time limit" in done.stdout
    assert "toulbar2 is not installed here" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere its CPU limit ends it")
def test_a_killed_parent_leaves_no_orphan(tmp_path: Path) -> None:
    code = """
        from clado_core import load
        from clado_core.solvers import Toulbar2Solver
        from tests.core.instances import average, measured
        problem = average(measured("cifar10-vit-per-channel-23468"), 4.0)
        Toulbar2Solver().solve(problem, time_limit_s=60)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT)
    child = _wait_for_child(parent.pid)
    # It asks for the signal as its first act.
    time.sleep(2.0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or _is_zombie(child):
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("The process of toulbar2 outlived its parent.")


def _wait_for_child(parent: int) -> int:
    for _ in range(600):
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for child in children:
            if "toulbar2_process" in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
        time.sleep(0.1)
    pytest.fail("No process of toulbar2 was started.")


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"

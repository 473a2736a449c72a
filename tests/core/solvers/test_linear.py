"""Problems without interactions: knapsacks, proven by HiGHS."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clado_core import AllocationProblem, SensitivityMatrix, SolveStatus
from clado_core.problem.allocation_problem import bits_for_average
from clado_core.problem.program import compile_program
from clado_core.solvers import EnumerationSolver, TieredSolver
from clado_core.solvers.linear import is_linear
from tests.core.instances import average, random_matrix, random_problem, table


def diagonal(matrix: SensitivityMatrix, factor: float = 1.0) -> SensitivityMatrix:
    return replace(matrix, G=np.diag(matrix.G.diagonal()) * factor)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.sampled_from([1e-200, 1e-9, 1.0, 1e6]))
def test_every_kind_of_rule_and_every_scale(seed: int, factor: float) -> None:
    problem = random_problem(seed)
    problem = replace(problem, matrix=diagonal(problem.matrix, factor))
    assert is_linear(compile_program(problem))
    solution = TieredSolver().solve(problem)
    optimum = EnumerationSolver().solve(problem).objective
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.objective == pytest.approx(optimum, rel=1e-6)
    assert solution.bound <= optimum * (1 + 1e-9)


def test_two_layers_by_hand() -> None:
    """12 bits for 2 + 4 weights: 1 + 0.5 with 2 and 2 bits; 4 more buy the first layer's 4 bits."""
    G = np.diag([1.0, 0.1, 0.5, 0.3])
    matrix = SensitivityMatrix("two", G, table([2, 4]), (2, 4))
    assert TieredSolver().solve(AllocationProblem(matrix, 12)).objective == 1.5
    solution = TieredSolver().solve(AllocationProblem(matrix, 16))
    assert solution.objective == pytest.approx(0.6) and solution.assignment.bits == (4, 2)
    assert solution.solver == "highs"


def test_one_loss_far_above_the_others_sets_no_unit() -> None:
    matrix = random_matrix(np.random.default_rng(1), n_layers=12, bits=(2, 4, 8))
    G = np.diag(matrix.G.diagonal())
    G[0, 0] = 1e14
    problem = average(replace(matrix, G=G), 3.0)
    solution = TieredSolver().solve(problem)
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.objective == pytest.approx(EnumerationSolver().solve(problem).objective)


def test_interactions_are_noticed() -> None:
    matrix = random_matrix(np.random.default_rng(1), n_layers=4, bits=(2, 4))
    assert not is_linear(compile_program(AllocationProblem(matrix)))


def test_two_hundred_layers_of_five_are_proven() -> None:
    matrix = random_matrix(np.random.default_rng(3), n_layers=200, bits=(2, 3, 4, 6, 8))
    problem = AllocationProblem(diagonal(matrix), bits_for_average(3.3, matrix.layers))
    solution = TieredSolver().solve(problem, time_limit_s=30)
    assert solution.status is SolveStatus.OPTIMAL and solution.solver == "highs"


def test_what_the_library_prints_stays_off_standard_output() -> None:
    """In a process of its own, since C's standard output is the process's."""
    code = (
        "import ctypes, sys\n"
        "from clado_core.solvers.quiet import quiet_stdout\n"
        "sys.stdout.write('before ')\n"
        "with quiet_stdout():\n"
        "    ctypes.CDLL(None).puts(b'noise')\n"
        "print('after')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "before after\n"

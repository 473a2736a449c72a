"""Problems that tests of solvers share: random ones, hand-made ones, and measured ones."""

from __future__ import annotations

from functools import cache
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clado_core import AllocationProblem, LayerInfo, LayerTable, SensitivityMatrix, load
from clado_core.records.scheme import input_bits, joint_menu, parse_bit_menu, weight_bits
from clado_core.solvers import ScipSolver
from tests.conftest import ROOT

SHARED_DATA = ROOT.parent / "shared" / "data"

MENUS: tuple[tuple[int, ...], ...] = (
    (2, 4),
    (2, 4, 8),
    (2, 3, 4, 8),
    (2, 3, 4, 6, 8),
    (4,),
    joint_menu((3, 4), (4, 8)),
    joint_menu((2, 4, 8), (4, 8)),
    # The fewest bits are not the fewest bit operations: 3·8 > 4·4.
    parse_bit_menu("3a8,4a4,8a8"),
)
"""Weights alone, and weights with inputs."""


def table(
    n_weights: list[int], *, macs: list[int] | None = None, block_size: int = 2
) -> LayerTable:
    """Layers l0, l1, ... in blocks of ``block_size``."""
    macs = macs or [0] * len(n_weights)
    return LayerTable(
        tuple(
            LayerInfo(f"l{i}", "linear", (n,), macs=m, block=f"b{i // block_size}")
            for i, (n, m) in enumerate(zip(n_weights, macs, strict=True))
        )
    )


def random_matrix(
    rng: np.random.Generator, *, n_layers: int, bits: tuple[int, ...], kind: str = "indefinite"
) -> SensitivityMatrix:
    """Errors that shrink with the bit-width, with interactions of either sign.

    Args:
        rng: Source of randomness.
        n_layers: Layers.
        bits: The menu.
        kind: "indefinite", "psd" or "sparse" (four of five interactions zero).
    """
    n = n_layers * len(bits)
    size = np.exp(rng.normal(size=n_layers))[:, None] * np.array([_error(b) for b in bits])
    scale = size.ravel()
    A = rng.normal(size=(n, n))
    core = A @ A.T / n if kind == "psd" else (A + A.T) / 2
    if kind == "sparse":
        keep = np.triu(rng.random((n, n)) < 0.2)
        core = np.where(keep | keep.T, core, 0.0)
    G = core * np.outer(scale, scale)
    G[np.diag_indices(n)] = np.abs(G.diagonal()) + scale**2
    layers = table(
        rng.integers(1, 1000, size=n_layers).tolist(),
        macs=rng.integers(1, 10**6, size=n_layers).tolist(),
    )
    return SensitivityMatrix("random", G, layers, bits)


def random_problem(seed: int) -> AllocationProblem:
    """One of a family: 1–6 choices, all kinds of G, with and without wishes and budgets."""
    rng = np.random.default_rng(seed)
    bits = MENUS[rng.choice(len(MENUS), p=[0.1, 0.3, 0.1, 0.1, 0.05, 0.15, 0.1, 0.1])]
    n_layers = int(rng.integers(1, {1: 6, 2: 13, 3: 9, 4: 7, 5: 6, 6: 6}[len(bits)]))
    kind = str(rng.choice(["indefinite", "psd", "sparse"]))
    matrix = random_matrix(rng, n_layers=n_layers, bits=bits, kind=kind)
    wishes = _random_wishes(rng, matrix)
    return AllocationProblem(matrix, **wishes, **_random_budgets(rng, matrix, wishes))


def _random_wishes(rng: np.random.Generator, matrix: SensitivityMatrix) -> dict[str, Any]:
    """Some pins, ties, menus and smallest bit-widths; those of one layer never contradict."""
    names, bits = matrix.layers.names, matrix.bit_widths
    wishes: dict[str, Any] = {}
    if len(names) > 2 and rng.random() < 0.3:
        wishes["pins"] = {names[0]: bits[rng.integers(len(bits))]}
    if len(names) > 3 and rng.random() < 0.3:
        wishes["ties"] = ((names[1], names[3]),)
    if len(names) > 2 and rng.random() < 0.3:
        wishes["allowed"] = {names[2]: bits[-2:] if rng.random() < 0.5 else bits[::2]}
    if len(names) > 4 and rng.random() < 0.6:
        wishes["min_bits"] = {"l[4-9]": bits[1 % len(bits)]}
    return wishes


def _random_budgets(
    rng: np.random.Generator, matrix: SensitivityMatrix, wishes: dict[str, Any]
) -> dict[str, int]:
    """Budgets that an assignment keeps: the smallest, or with joint choices any one.

    Where a bit-width less can cost bit operations, no assignment is the smallest in everything.
    """
    free = AllocationProblem(matrix, **wishes)
    low, high = free.extremes()
    if input_bits(matrix.bit_widths[0]) is not None:
        chosen = list(low.bits)
        for members, menu in free.groups():
            entry = menu[rng.integers(len(menu))]
            for i in members:
                chosen[i] = entry
        low = free.assignment(tuple(chosen))
    budgets: dict[str, int] = {}
    if rng.random() < 0.9:
        budgets["budget_bits"] = _between(rng, low.size_bits, high.size_bits)
    if rng.random() < (0.3 if input_bits(matrix.bit_widths[0]) is None else 0.7):
        budgets["budget_bops"] = _between(rng, low.bops, max(low.bops, high.bops))
    if rng.random() < 0.2:
        budgets["budget_bytes"] = _between(rng, low.size_bytes, high.size_bytes)
    return budgets


def n_assignments(problem: AllocationProblem) -> int:
    """How many assignments the wishes leave, feasible or not."""
    return prod(len(menu) for _, menu in problem.groups())


def all_assignments(problem: AllocationProblem) -> list[tuple[float, tuple[int, ...]]]:
    """Every feasible assignment by the definition, best first: (x'Gx, bits).

    Written without the compiled program, so that a fault of it cannot hide itself.
    """
    groups = problem.groups()
    found = []
    for entries in product(*(menu for _, menu in groups)):
        bits = [0] * problem.matrix.n_layers
        for (members, _), entry in zip(groups, entries, strict=True):
            for i in members:
                bits[i] = entry
        chosen = tuple(bits)
        if problem.is_feasible(problem.assignment(chosen)):
            found.append((problem.matrix.objective(chosen), chosen))
    return sorted(found)


def average(matrix: SensitivityMatrix, avg_bits: float) -> AllocationProblem:
    """With a budget in average bits per searched weight."""
    return AllocationProblem(matrix, int(avg_bits * matrix.layers.total_weights))


def worked_example() -> SensitivityMatrix:
    """The three layers of 4 weights at {2, 4} bits in design/method.md, section 5."""
    D = np.array([[1.00, 0.10], [0.80, 0.05], [0.90, 0.08]])
    pairs = {
        (0, 1): [[1.10, 1.05], [0.95, 0.16]],
        (0, 2): [[2.60, 1.15], [1.05, 0.17]],
        (1, 2): [[1.90, 0.95], [0.97, 0.14]],
    }
    G = np.diag(2 * D.ravel())
    for (i, j), losses in pairs.items():
        block = np.array(losses) - D[i][:, None] - D[j][None, :]
        G[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = block
        G[2 * j : 2 * j + 2, 2 * i : 2 * i + 2] = block.T
    return SensitivityMatrix("worked example", G, table([4, 4, 4]), (2, 4))


@cache
def measured(name: str) -> SensitivityMatrix:
    """A matrix that ships with the program, such as ``cifar10-resnet20-per-tensor-248``."""
    return load(ROOT / "assets" / f"{name}.clado")


def shared_file(name: str) -> Path:
    """A file of the development data, or a visible skip."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"needs {path}, which is not part of the repository")
    return path


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    return int(low + rng.random() * (high - low))


def _error(bits: int) -> float:
    """Falls with the bit-width of the weight, and with that of the input where it has one."""
    act = input_bits(bits)
    return float(2.0 ** -weight_bits(bits) + (0.0 if act is None else 2.0**-act))


def solver_name(solver: object) -> str:
    """For the names of tests: the class, and SCIP's formulation."""
    name = type(solver).__name__
    return f"{name}-{solver.formulation}" if isinstance(solver, ScipSolver) else name

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clado_core as cc
from clado_core.allocation.sweep import sweep
from clado_core.errors import InfeasibleBudgetError, InputError
from clado_core.problem.allocation_problem import bits_for_average, whole_units
from clado_core.problem.program import compile_program
from clado_core.records.scheme import joint_menu, parse_bit_menu, parse_bits
from clado_core.records.sizes import container_bytes
from tests.conftest import make_matrix
from tests.core.instances import MENUS, all_assignments, random_matrix, table
from tests.core.strategies import all_choices


def test_infeasible_budget_names_the_smallest_feasible_size(
    toy_matrix: cc.SensitivityMatrix,
) -> None:
    smallest = 2 * toy_matrix.layers.total_weights
    with pytest.raises(InfeasibleBudgetError, match=f"{smallest:,}") as caught:
        cc.AllocationProblem(toy_matrix, budget_bits=10)
    assert (caught.value.requested, caught.value.minimum) == (10, smallest)
    assert caught.value.maximum == 8 * toy_matrix.layers.total_weights


def test_pins_raise_the_smallest_feasible_size(toy_matrix: cc.SensitivityMatrix) -> None:
    all_two = 2 * toy_matrix.layers.total_weights
    cc.AllocationProblem(toy_matrix, budget_bits=all_two)
    with pytest.raises(InfeasibleBudgetError):
        cc.AllocationProblem(toy_matrix, budget_bits=all_two, pins={"block0.conv0": 8})


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        ({"pins": {"conv0": 8}}, "no layer named 'conv0'; did you mean block0.conv0"),
        ({"pins": {"block0.conv0": 3}}, "leaves no bit-width for 'block0.conv0'"),
        ({"min_bits": {"stage*": 4}}, "No layer name matches"),
        ({"min_bits": {"block0*": 4}, "pins": {"block0.conv0": 2}}, "leaves no bit-width"),
        (
            {
                "ties": (("block0.conv0", "block0.conv1"),),
                "pins": {"block0.conv0": 2, "block0.conv1": 4},
            },
            "contradict",
        ),
        ({"ties": (("block0.conv0",),)}, "two layers or more"),
        ({"budget_bits": float("nan")}, "budget_bits must be a number"),
    ],
)
def test_contradictions_are_one_sentence(
    toy_matrix: cc.SensitivityMatrix, wishes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        cc.AllocationProblem(toy_matrix, **wishes)  # type: ignore[arg-type]


def test_a_limit_on_bops_needs_macs() -> None:
    layers = cc.LayerTable((cc.LayerInfo("a", "linear", (2, 2)),))
    matrix = cc.SensitivityMatrix("m", np.eye(2), layers, (2, 4))
    with pytest.raises(InputError, match="multiply-accumulates"):
        cc.AllocationProblem(matrix, budget_bops=10**9)


def test_the_fewest_bits_need_not_be_the_fewest_bit_operations() -> None:
    matrix = make_matrix(3, parse_bit_menu("3a8,4a4,8a8"))
    macs = int(matrix.layers.macs.sum())
    problem = cc.AllocationProblem(matrix, budget_bops=16 * macs)
    four = tuple(matrix.bit_widths[1] for _ in range(3))
    assert problem.is_feasible(problem.assignment(four))
    with pytest.raises(InfeasibleBudgetError) as caught:
        cc.AllocationProblem(matrix, budget_bops=16 * macs - 1)
    assert (caught.value.minimum, caught.value.maximum) == (16 * macs, 64 * macs)


def test_of_a_joint_minimum_both_parts_hold() -> None:
    matrix = make_matrix(3, joint_menu((2, 4, 8), (4, 8)))
    for least, kept in (("4a8", "4a8,8a8"), ("4a4", "4a4,4a8,8a4,8a8"), ("4", "4a4,4a8,8a4,8a8")):
        problem = cc.AllocationProblem(matrix, min_bits={"block1*": parse_bits(least)})
        assert problem.groups()[2][1] == parse_bit_menu(kept)
    with pytest.raises(InputError, match="A minimum of 4a8 bits"):
        cc.AllocationProblem(make_matrix(3), min_bits={"*": parse_bits("4a8")})
    with pytest.raises(InputError, match=r"The menu block0\.conv0=3a4,3a8 leaves"):
        cc.AllocationProblem(matrix, allowed={"block0.conv0": (3 * 256 + 4, 3 * 256 + 8)})


@pytest.mark.parametrize("seed", range(40))
def test_menus_of_joint_choices_under_several_budgets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    menus = [menu for menu in MENUS if menu[0] >= 256]
    menu = menus[seed % len(menus)]
    matrix = random_matrix(rng, n_layers=4, bits=menu)
    allowed = {
        f"l{i}": tuple(rng.permutation(menu)[: rng.integers(1, len(menu) + 1)].tolist())
        for i in range(3)
    }
    free = cc.AllocationProblem(matrix, allowed=allowed)
    kept = free.assignment(tuple(int(rng.choice(m)) for _, m in free.groups()))
    problem = cc.AllocationProblem(matrix, kept.size_bits, budget_bops=kept.bops, allowed=allowed)
    best, _ = all_assignments(problem)[0]
    for solver in (cc.TieredSolver(), cc.LocalSearchSolver()):
        solution = solver.solve(problem)
        assert problem.is_feasible(solution.assignment)
        assert all(solution.assignment.by_layer()[name] in menu for name, menu in allowed.items())
        assert solution.objective == pytest.approx(best, rel=1e-9)


def test_average_bits_survive_decimal_rounding(toy_matrix: cc.SensitivityMatrix) -> None:
    total = toy_matrix.layers.total_weights
    assert bits_for_average(4.1, toy_matrix.layers) == (41 * total) // 10


@pytest.mark.parametrize("average", [0.0, -1.0, float("nan"), float("inf")])
def test_average_bits_must_be_a_positive_number(
    toy_matrix: cc.SensitivityMatrix, average: float
) -> None:
    with pytest.raises(InputError, match="must be a positive number"):
        bits_for_average(average, toy_matrix.layers)


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    bits=st.tuples(*[st.sampled_from((2, 4, 8))] * 3),
    pinned=st.sampled_from((2, 4, 8)),
)
def test_the_compiled_program_has_the_same_objective_and_limits(
    seed: int, bits: tuple[int, int, int], pinned: int
) -> None:
    matrix = make_matrix(5, seed=seed)
    names = matrix.layers.names
    problem = cc.AllocationProblem(
        matrix,
        budget_bits=5 * matrix.layers.total_weights,
        budget_bytes=500 + container_bytes(matrix.layers),
        budget_bops=32 * 4 * int(matrix.layers.macs.sum()) + 32 * 4 * 500,
        pins={names[1]: pinned},
        ties=((names[0], names[3]),),
    )
    program = compile_program(problem)
    layer_bits = (bits[0], pinned, bits[1], bits[0], bits[2])
    choice = program.choice_of(layer_bits)
    assert program.n_decisions == 3
    assert program.layer_bits(choice) == layer_bits
    assert program.objective(choice) == pytest.approx(matrix.objective(layer_bits), abs=1e-9)
    assignment = problem.assignment(layer_bits)
    assert program.is_feasible(choice) == problem.is_feasible(assignment)


def test_sizes_count_scales_and_unquantized_parts(toy_matrix: cc.SensitivityMatrix) -> None:
    assignment = cc.AllocationProblem(toy_matrix).assignment((2, 4, 8, 2))
    weights = [4 * c * 9 for c in (3, 4, 5, 6)]
    packed = weights[0] // 4 + weights[1] // 2 + weights[2] + weights[3] // 4
    assert assignment.size_bytes == packed + 4 * 4 * 4 + 64 + container_bytes(toy_matrix.layers)
    assert assignment.size_bits == 8 * packed
    assert assignment.bops == 32 * (100 * 2 + 200 * 4 + 300 * 8 + 400 * 2)


def test_everything_pinned_leaves_no_decision(toy_matrix: cc.SensitivityMatrix) -> None:
    pins = dict(zip(toy_matrix.layers.names, (2, 4, 8, 2), strict=True))
    program = compile_program(cc.AllocationProblem(toy_matrix, pins=pins))
    assert program.n_decisions == 0
    assert program.constant == pytest.approx(toy_matrix.objective((2, 4, 8, 2)))


@settings(deadline=None)
@given(
    n_weights=st.lists(st.integers(1, 2**46), min_size=1, max_size=6),
    menu=st.sampled_from((*MENUS, (3, 5, 7))),
    data=st.data(),
)
def test_the_size_that_a_refusal_suggests_is_feasible(
    n_weights: list[int], menu: tuple[int, ...], data: st.DataObject
) -> None:
    layers = table(n_weights)
    matrix = cc.SensitivityMatrix("m", np.eye(len(n_weights) * len(menu)), layers, menu)
    pins = {f"l{i}": data.draw(st.sampled_from(menu)) for i in range(len(layers)) if i % 2}
    for budget, whole in (
        ("budget_bits", lambda amount: bits_for_average(amount, layers)),
        ("budget_bytes", lambda amount: whole_units(amount, 10**6)),
    ):
        with pytest.raises(InfeasibleBudgetError) as caught:
            cc.AllocationProblem(matrix, pins=pins, **{budget: 0})
        suggested = str(caught.value).rpartition("at least ")[2].split()[0]
        assert cc.AllocationProblem(matrix, pins=pins, **{budget: whole(float(suggested))})
        minimum = caught.value.minimum
        assert whole(float(suggested)) <= minimum * (1 + 1e-5) + 1


@given(st.integers(1, 2**48), st.integers(1, 2**45))
def test_an_average_computed_from_a_size_stands_for_that_size(bits: int, total: int) -> None:
    assert bits_for_average(bits / total, table([total])) == bits


HUGE = (10**19, 10**30, 1e20, 1e308, 10**400)


@pytest.mark.parametrize("huge", HUGE)
def test_budgets_above_every_size_limit_nothing(
    toy_matrix: cc.SensitivityMatrix, huge: float
) -> None:
    free = compile_program(cc.AllocationProblem(toy_matrix))
    problem = cc.AllocationProblem(
        toy_matrix,
        budget_bits=bits_for_average(huge, toy_matrix.layers),
        budget_bytes=huge,  # type: ignore[arg-type]
        budget_bops=huge,  # type: ignore[arg-type]
        pins={"block0.conv0": 8},
    )
    program = compile_program(problem)
    assert all(program.is_feasible(choice) for choice in all_choices(program))
    best = cc.EnumerationSolver().solve(cc.AllocationProblem(toy_matrix, pins=problem.pins))
    for solver in (cc.TieredSolver(), cc.LocalSearchSolver(), cc.ScipSolver()):
        assert solver.solve(problem).assignment == best.assignment
    assert free.n_decisions == program.n_decisions + 1


@pytest.mark.parametrize("slack", [0, 1, 10**14])
def test_the_largest_networks_are_solved_exactly(slack: int) -> None:
    layers = table([10**13, 3 * 10**14 + 1, 10**14 + 7, 7 * 10**14], macs=[1, 2**53, 7, 2**52])
    rng = np.random.default_rng(0)
    G = random_matrix(rng, n_layers=4, bits=(2, 4, 8)).G
    matrix = cc.SensitivityMatrix("large", G, layers, (2, 4, 8))
    middle = cc.AllocationProblem(matrix).assignment((4, 2, 8, 4))
    problem = cc.AllocationProblem(
        matrix, middle.size_bits + slack, middle.size_bytes + slack, middle.bops + slack
    )
    best, _ = all_assignments(problem)[0]
    for solver in (cc.EnumerationSolver(), cc.TieredSolver(), cc.LocalSearchSolver()):
        solution = solver.solve(problem)
        assert problem.is_feasible(solution.assignment)
        assert solution.objective == pytest.approx(best, rel=1e-9)
    assert sweep(matrix, points=5).budgets_bits[-1] == 8 * layers.total_weights


@pytest.mark.parametrize(
    ("n_weights", "macs"), [([5, 2**50], [1, 1]), ([1, 10**19], [1, 1]), ([5, 6], [1, 2**54])]
)
def test_sizes_that_cannot_be_counted_are_refused(n_weights: list[int], macs: list[int]) -> None:
    with pytest.raises(InputError, match=r"'l1'.*cannot be counted exactly"):
        table(n_weights, macs=macs)

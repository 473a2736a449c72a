"""Which pairs the adaptive estimator measures, against its rule applied to all assignments.

The network is quadratic and small, so that all its 3⁸ assignments can be scored.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from clado_core.data.sources import Samples
from clado_core.networks.inference import LOSSES, make_batches, measuring
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.scheme import joint_menu
from clado_core.sensitivity import MeasurementSettings, measure
from clado_core.sensitivity.adaptive import (
    MAX_SHARE,
    N_BUDGETS,
    ROUND_SHARE,
    TOLERANCE,
    budgets,
    estimate_adaptive,
    estimate_calibrated,
)
from clado_core.sensitivity.calibrate import calibrate, pairs_to_fit
from clado_core.sensitivity.estimators import Estimate
from clado_core.sensitivity.plan import pairwise_plan
from clado_core.sensitivity.workbench import Workbench
from clado_core.solvers import LocalSearchSolver
from tests.core.instances import random_matrix, table
from tests.core.small_networks import fitted_quadratic, quadratic, squared_error

MENU, N_LAYERS = (2, 4, 8), 8
N = N_LAYERS * len(MENU)
N_PAIRS = 9 * N_LAYERS * (N_LAYERS - 1) // 2
CHOSEN = 3 * np.arange(N_LAYERS) + list(itertools.product(range(3), repeat=N_LAYERS))
"""Candidates of every assignment, shape (3⁸, layers)."""


class Recording(Workbench):
    """A workbench that remembers what was asked of it."""

    asked: tuple = ()

    def losses(self, units, /):
        self.asked += (tuple(units),)
        return super().losses(units)


def on_bench(estimate, network, *, loss=squared_error, menu=MENU):
    """What an estimator finds, and the bench it worked on."""
    model, layers, samples = network
    how = MeasurementSettings(menu, batch_size=10)
    plan = pairwise_plan(len(layers), len(how.bit_widths))
    with measuring(model), WeightSwap(model, layers, how.scheme) as swap:
        bench = Recording(
            model, layers, make_batches(model, samples, how.batch_size), how,
            loss=loss, swap=swap, keys={u: k for k, u in enumerate(plan)},
            keep_outputs=True,
        )  # fmt: skip
        return estimate(bench), bench


@dataclass(frozen=True)
class Measured:
    """The network measured by three estimators with one loss."""

    estimate: Estimate
    bench: Recording
    gram: np.ndarray
    pairwise: SensitivityMatrix


def measured_by(loss):
    network = fitted_quadratic(N_LAYERS)
    gram, pairwise = (
        measure(
            *network,
            settings=MeasurementSettings(MENU, batch_size=10, estimator=name),
            loss_function=loss,
        )
        for name in ("logit-gram", "pairwise")
    )
    return Measured(*on_bench(estimate_adaptive, network, loss=loss), gram.G, pairwise)


@pytest.fixture(scope="module")
def rough():
    """With a loss that the Gram matrix follows roughly: pairs run out before uncertainty does."""
    return measured_by(squared_error)


@pytest.fixture(scope="module")
def smooth():
    """With the one it is made for: a few pairs more than the fit are enough."""
    return measured_by(LOSSES["ce"])


def best(G, limit):
    """The assignment of least x'Gx within a budget, found by trying all."""
    objective = G[CHOSEN[:, :, None], CHOSEN[:, None, :]].sum(axis=(1, 2))
    bits = np.array(MENU)[CHOSEN % 3].sum(axis=1)
    return CHOSEN[np.argmin(np.where(bits <= limit, objective, np.inf))]


def uncertain(G, sigma):
    """The documented rule: pairs in what is best and in what might be, by relative uncertainty."""
    score = {}
    for k in range(1, N_BUDGETS + 1):
        limit = N_LAYERS * (2 + (8 - 2) * k / (N_BUDGETS + 1))
        chosen, other = best(G, limit), best(G - sigma, limit)
        objective = G[np.ix_(chosen, chosen)].sum()
        pairs = {pair for x in (chosen, other) for pair in itertools.combinations(x.tolist(), 2)}
        pairs = sorted((pair for pair in pairs if sigma[pair] > 0), key=lambda pair: -sigma[pair])
        while pairs:
            left = np.sqrt(sum((2 * sigma[pair]) ** 2 for pair in pairs))  # G_ab and G_ba
            if left <= TOLERANCE * objective:
                break
            score[pairs[0]] = max(score.get(pairs[0], 0), 2 * sigma[pairs[0]] / objective)
            del pairs[0]
    return sorted(score, key=lambda pair: -score[pair])


def test_singles_and_pairs_to_fit_are_measured_first(rough):
    asked = rough.bench.asked
    assert asked[0] == ((), *((a,) for a in range(N)))
    assert asked[1] == tuple(pairs_to_fit(rough.gram, 3)) and len(asked[1]) == 6 * 4


@pytest.mark.parametrize("which", ["rough", "smooth"])
def test_each_round_measures_what_is_most_uncertain_where_budgets_bind(which, request):
    case = request.getfixturevalue(which)
    known, rounds = list(case.bench.asked[1]), case.bench.asked[2:]
    for asked in rounds:
        found = calibrate(case.gram, case.pairwise.G, known, 3)
        wanted = uncertain(found.G, found.uncertainty)
        room = int(MAX_SHARE * N_PAIRS) - len(known)
        assert list(asked) == wanted[: min(int(ROUND_SHARE * N_PAIRS), room)]
        known += asked
    assert rounds[-1] == () and len(set(known)) == len(known)
    assert case.estimate.details == {
        "pairs_measured": len(known),
        "share_of_pairs": len(known) / N_PAIRS,
        "rounds": len(rounds),
    }


def test_it_ends_with_the_share_or_with_nothing_uncertain(rough, smooth):
    assert len(rough.bench.asked) > 5
    assert rough.estimate.details["pairs_measured"] == int(MAX_SHARE * N_PAIRS)
    assert 24 < smooth.estimate.details["pairs_measured"] < 0.6 * MAX_SHARE * N_PAIRS


def test_what_it_leaves_uncertain_moves_no_objective_by_more_than_the_tolerance(smooth):
    """Each fitted entry drawn anew within its uncertainty, G_ab and G_ba alike."""
    known = [unit for asked in smooth.bench.asked[1:] for unit in asked]
    found = calibrate(smooth.gram, smooth.pairwise.G, known, 3)
    drawn = np.triu(np.random.default_rng(0).normal(size=(4000, N, N)), 1) * found.uncertainty
    drawn += drawn.transpose(0, 2, 1)
    spreads = []
    for k in range(1, N_BUDGETS + 1):
        x = best(found.G, N_LAYERS * (2 + (8 - 2) * k / (N_BUDGETS + 1)))
        objective = found.G[np.ix_(x, x)].sum()
        spreads.append(drawn[:, x[:, None], x].sum(axis=(1, 2)).std() / objective)
    assert 0.3 * TOLERANCE < max(spreads) < 1.05 * TOLERANCE


def test_calibrated_is_fitted_to_the_first_pairs_alone(rough):
    estimate, bench = on_bench(estimate_calibrated, fitted_quadratic(N_LAYERS))
    pairs = pairs_to_fit(rough.gram, 3)
    assert len(bench.asked) == 2
    assert np.array_equal(estimate.G, calibrate(rough.gram, rough.pairwise.G, pairs, 3).G)
    assert estimate.details == {"pairs_measured": 24, "share_of_pairs": 24 / N_PAIRS}


def test_parts_hold_what_was_measured_and_what_the_fit_makes_of_the_rest(rough):
    estimate, pairwise = rough.estimate, rough.pairwise
    known = [unit for asked in rough.bench.asked[1:] for unit in asked]
    assert np.array_equal(estimate.G, calibrate(rough.gram, pairwise.G, known, 3).G)
    measured = np.eye(N, dtype=bool)
    for a, b in known:
        measured[a, b] = measured[b, a] = True
    assert np.array_equal(estimate.part_weights, pairwise.part_weights)
    assert np.allclose(  # the matrix keeps its parts in single precision
        estimate.part_G[:, measured], pairwise.part_G[:, measured], rtol=1e-6, atol=1e-9
    )
    assert len(estimate.part_G) == 3 and (estimate.part_G[0] != estimate.part_G[1])[measured].all()
    fit = calibrate(rough.gram, pairwise.G, known, 3)
    assert np.array_equal(estimate.measured, measured)
    assert np.array_equal(estimate.fit_error, fit.uncertainty)
    mean = np.tensordot(estimate.part_weights, estimate.part_G, 1)
    assert np.allclose(mean, estimate.G, rtol=1e-9, atol=1e-12)
    fitted = ~measured & (estimate.G != 0)
    assert fitted.sum() == 2 * (N_PAIRS - len(known)), "all other pairs of layers"
    assert (np.ptp(estimate.part_G, axis=0) > 0)[fitted].all(), "samples move fits too"


def test_budgets_are_evenly_spaced_strictly_between_the_ends(rough):
    """18 weights a layer at 2 to 8 bits: 288 to 1152, in 21 steps."""
    limits = [problem.budget_bits for problem in budgets(rough.pairwise)]
    assert limits == [int(288 + k * 864 / 21) for k in range(1, 21)]


def decided_by_budgets(menu):
    """Every bit taken away costs."""
    return random_matrix(np.random.default_rng(1), n_layers=8, bits=menu, kind="psd")


def test_budgets_of_joint_choices_count_bits_of_weights_and_bit_operations():
    """Not the numbers that joint choices are packed into: each budget decides something else."""
    matrix = decided_by_budgets(joint_menu((2, 4, 8), (4, 8)))
    problems = budgets(matrix)
    weights, macs = matrix.layers.total_weights, int(matrix.layers.macs.sum())
    sizes = [problem.budget_bits for problem in problems[:N_BUDGETS]]
    assert sizes == [int(2 * weights + k * 6 * weights / 21) for k in range(1, 21)]
    bops = [problem.budget_bops for problem in problems[N_BUDGETS:]]
    assert bops == [int(8 * macs + k * 56 * macs / 21) for k in range(1, 21)]
    solver = LocalSearchSolver()
    found = {solver.solve(problem).assignment.bits for problem in problems[:N_BUDGETS]}
    assert len(found) > N_BUDGETS / 2
    without_macs = replace(matrix, layers=table(matrix.layers.n_weights.tolist()))
    assert [problem.budget_bits for problem in budgets(without_macs)] == sizes


def test_where_only_inputs_are_chosen_budgets_of_bit_operations_decide():
    matrix = decided_by_budgets(joint_menu((4,), (4, 8)))
    solver = LocalSearchSolver()
    found = {solver.solve(problem).assignment.bits for problem in budgets(matrix)}
    assert len(found) > 5


@pytest.mark.parametrize(
    ("n_layers", "menu", "rounds"),
    [
        (9, (2,), [1, 1, 1, 1, 1, 0]),  # a twentieth of 36 pairs a round, of nine that are allowed
        (4, (2, 4), [0]),  # of 24 pairs six are allowed, and the fit needs twelve
        (2, (2,), [0]),
        (1, (2, 4), [0]),
    ],
)
def test_small_networks_measure_one_pair_a_round_or_none(n_layers, menu, rounds):
    network = quadratic(n_layers)
    estimate, bench = on_bench(estimate_adaptive, network, menu=menu)
    assert [len(asked) for asked in bench.asked[2:]] == rounds
    assert estimate.details["rounds"] == len(rounds)
    n_pairs = len(menu) ** 2 * n_layers * (n_layers - 1) // 2
    measured = len(bench.asked[1]) + sum(rounds)
    assert estimate.details["share_of_pairs"] == pytest.approx(measured / max(n_pairs, 1))


def test_where_every_pair_matters_the_most_uncertain_is_measured():
    """Layers so alike that none of 21 pairs is small; the fit needs four, five are allowed."""
    model, layers, samples = quadratic(7, seed=1)
    x = samples.x[:, :, :1].expand(-1, -1, 7, -1).contiguous()
    with torch.no_grad():
        for part in model.parts[1:]:
            part.weight.copy_(model.parts[0].weight + 0.02 * part.weight)
    network = model, layers, Samples(x, samples.y, "alike")
    _, bench = on_bench(estimate_adaptive, network, menu=(2,))
    assert [len(asked) for asked in bench.asked[2:]] == [1, 0]

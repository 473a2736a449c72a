"""Choosing by measured loss: a shipped network, and a small one whose prediction misleads."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import clado_core as cc
from clado_core.allocation.k_best import k_best
from clado_core.data.sources import Samples, load_data
from clado_core.errors import ArtifactError, InputError
from clado_core.evaluation.evaluate import evaluate
from clado_core.evaluation.evaluator import Evaluator
from clado_core.evaluation.refine import refine, sensitivity_evaluator
from clado_core.networks.discovery import find_layers
from clado_core.networks.load import load_model
from clado_core.problem.allocation_problem import bits_for_average
from tests.conftest import ROOT
from tests.core.commands import call
from tests.core.small_networks import ParallelLinears

RESNET = ROOT / "assets" / "digits-resnet.clado"


@pytest.fixture(scope="module")
def found():
    matrix = cc.load(RESNET)
    budget = bits_for_average(3, matrix.layers)
    problem = cc.AllocationProblem(matrix, budget_bits=budget, pins={"head": 8})
    evaluator, counts = sensitivity_evaluator(matrix), []
    refinement = refine(
        problem, evaluator, k=5, on_progress=lambda done, most: counts.append((done, most))
    )
    return problem, evaluator, refinement, counts


def test_the_best_measured_of_those_run_is_chosen(found):
    problem, evaluator, refinement, counts = found
    assert problem.is_feasible(refinement.assignment)
    ranked = k_best(problem, k=5)
    assert refinement.predicted_best.bits == ranked[0].assignment.bits
    losses = [evaluator.outcomes(each.assignment.bits).loss for each in ranked]
    assert refinement.predicted_best_loss == losses[0]
    assert refinement.loss <= min(losses)
    assert refinement.evaluated + refinement.screened == len(counts) > 5
    assert refinement.evaluated > 5 and refinement.screened > refinement.evaluated
    assert counts[-1][0] == len(counts) <= counts[-1][1]
    for method in ("diagonal", "block"):
        rival = cc.allocate(problem, method=method).assignment
        assert refinement.loss <= evaluator.outcomes(rival.bits).loss


def test_its_loss_is_what_evaluate_measures_on_the_sensitivity_set(found):
    problem, _, refinement, _ = found
    about = problem.matrix.provenance
    samples = load_data("digits").sensitivity_set(about.n_samples, seed=about.seed)
    assert samples.digest == about.data_sha256
    again = evaluate(load_model("digits-resnet").module, refinement.assignment, samples)
    assert refinement.loss == pytest.approx(again.loss, rel=1e-6)


def test_other_data_are_refused():
    matrix = cc.load(RESNET)
    changed = dataclasses.replace(matrix.provenance, data_sha256="0" * 64)
    with pytest.raises(InputError, match="not those 'digits-resnet' was measured on"):
        sensitivity_evaluator(dataclasses.replace(matrix, provenance=changed))


@pytest.mark.parametrize("missing", ["model", "data", "n_samples"])
def test_what_the_artifact_does_not_name_is_asked_for(missing):
    matrix = cc.load(RESNET)
    unnamed = dataclasses.replace(matrix.provenance, **{missing: None})
    with pytest.raises(InputError, match="give the model and the data"):
        sensitivity_evaluator(dataclasses.replace(matrix, provenance=unnamed))


def test_the_images_are_those_its_seed_drew_whoever_names_network_and_data():
    matrix = cc.load(RESNET)
    for seed, drawn in ((None, 0), (3, 3)):
        samples = load_data("digits").sensitivity_set(70, seed=drawn)
        unnamed = dataclasses.replace(
            matrix.provenance,
            **{"model": None, "data": None, "seed": seed},
            **{"n_samples": 70, "data_sha256": samples.digest},
        )
        found = sensitivity_evaluator(
            dataclasses.replace(matrix, provenance=unnamed), model="digits-resnet", data="digits"
        )
        assert len(found) == 70


def test_other_weights_are_refused(tmp_path):
    state = load_file(ROOT / "assets/digits-resnet.safetensors")
    save_file({name: value + 1 for name, value in state.items()}, tmp_path / "o.safetensors")
    with pytest.raises(ArtifactError, match="weights_sha256"):
        sensitivity_evaluator(cc.load(RESNET), weights=str(tmp_path / "o.safetensors"))


def test_solve_refine(capsys):
    words = ("solve", str(RESNET), "--avg-bits", "2.5", "--refine", "3")
    code, result, _ = call(capsys, *words)
    refined = result["refined"]
    assert code == 0 and refined["evaluated"] >= 3 and refined["avg_bits"] <= 2.5
    assert refined["loss"] <= refined["predicted_best_loss"]
    assert refined["predicted_loss_increase"] >= result["predicted_loss_increase"] - 1e-12
    code, _, error = call(capsys, *words, "--method", "diagonal")
    assert code == 2 and "--refine are for the method clado" in error


class Recording(Evaluator):
    """Remembers which assignments were run on how many images."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.runs = []

    def outcomes(self, bits, /):
        self.runs.append((bits, len(self)))
        return super().outcomes(bits)


N_LAYERS, N_IMAGES, K = 8, 600, 2


@pytest.fixture(scope="module")
def misled():
    """A problem whose matrix calls those layers least important that are most, and an evaluator.

    Half of the layers may have 4 bits; the predicted best gives them to the wrong half, so that
    the measured best is four swaps away.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ParallelLinears(N_LAYERS, 6, 3)
        x = torch.randn(N_IMAGES, 1, N_LAYERS, 6)
    with torch.no_grad():
        for i, part in enumerate(model.parts):
            part.weight *= 4 * 0.6**i
        labels = model(x).argmax(1)
    layers = find_layers(model, x[:1])
    wrong = np.array([[1.1**i, 0.1 * 1.1**i] for i in range(N_LAYERS)])
    matrix = cc.SensitivityMatrix("misled", np.diag(wrong.ravel()), layers, (2, 4))
    problem = cc.AllocationProblem(matrix, budget_bits=bits_for_average(3, layers))
    return problem, Recording(model, matrix, Samples(x, labels, "own labels"))


def near(bits, problem):
    """Feasible assignments that differ in one or two layers, the best predicted first."""
    found = [
        other
        for other in itertools.product((2, 4), repeat=N_LAYERS)
        if 0 < sum(a != b for a, b in zip(bits, other, strict=True)) <= 2
        and problem.is_feasible(problem.assignment(other))
    ]
    return sorted(found, key=problem.matrix.objective)


def test_it_moves_on_from_better_to_better_until_nothing_near_is(misled):
    """The documented search, by hand; only what it needs is run, and most on few images."""
    problem, evaluator = misled
    evaluator.runs.clear()
    counts = []
    found = refine(
        problem, evaluator, k=K, on_progress=lambda done, most: counts.append((done, most))
    )
    runs = list(evaluator.runs)
    few = evaluator.on_first(N_IMAGES // 8)

    def loss(bits):
        return evaluator.outcomes(bits).loss

    feasible = [
        bits
        for bits in itertools.product((2, 4), repeat=N_LAYERS)
        if problem.is_feasible(problem.assignment(bits))
    ]
    ranked = sorted(feasible, key=problem.matrix.objective)[:K]
    whole, part = set(ranked), set()
    best, rounds = min(ranked, key=loss), 0
    while True:
        around = [bits for bits in near(best, problem)[: 12 * K] if bits not in whole]
        deserving = sorted(around, key=lambda bits: few.outcomes(bits).loss)[:K]
        part |= set(around)
        whole |= set(deserving)
        better = min([best, *deserving], key=loss)
        if better == best:
            break
        best, rounds = better, rounds + 1
    assert rounds >= 3, "one round must not do"
    assert (found.assignment.bits, found.loss) == (best, loss(best))
    assert best == min(feasible, key=loss)
    assert (found.predicted_best.bits, found.predicted_best_loss) == (ranked[0], loss(ranked[0]))
    assert (found.evaluated, found.screened) == (len(whole), len(part))
    assert set(runs) == {(bits, 600) for bits in whole} | {(bits, 75) for bits in part}
    assert len(runs) == len(set(runs)), "nothing is run twice"
    assert [done for done, _ in counts] == list(range(1, len(runs) + 1))
    assert counts[0][1] == K and all(done <= most for done, most in counts)


def test_no_fewer_than_64_images_screen(misled):
    problem, evaluator = misled
    some = evaluator.on_first(300)
    evaluator.runs.clear()
    refine(problem, some, k=1)
    assert {n for _, n in evaluator.runs} == {300, 64}


def test_the_search_starts_from_what_every_method_chooses(misled):
    """Random interactions and sensitivities, by which methods disagree."""
    plain, evaluator = misled
    rng = np.random.default_rng(1)
    blocks = [
        dataclasses.replace(layer, block=f"b{i // 2}")
        for i, layer in enumerate(plain.matrix.layers.layers)
    ]
    G = rng.normal(size=(2 * N_LAYERS, 2 * N_LAYERS))
    matrix = dataclasses.replace(
        plain.matrix,
        G=(G + G.T) / 2 * ~plain.matrix.same_layer() + plain.matrix.G,
        layers=dataclasses.replace(plain.matrix.layers, layers=tuple(blocks)),
        diagonals={name: rng.random((N_LAYERS, 2)) for name in ("hawq", "mpqco")},
    )
    problem = dataclasses.replace(plain, matrix=matrix)
    methods = ({}, *({"method": m} for m in ("diagonal", "block", "hawq", "mpqco")), {"psd": True})
    chosen = [cc.allocate(problem, **how).assignment.bits for how in methods]
    assert len(set(chosen)) == len(chosen)
    evaluator.runs.clear()
    refine(problem, evaluator, k=1)
    first = itertools.takewhile(lambda run: run[1] == N_IMAGES, evaluator.runs)
    assert {bits for bits, _ in first} == set(chosen)


def test_without_proof_neighbours_of_the_best_known_fill_up(misled):
    problem, evaluator = misled
    evaluator.runs.clear()
    start = refine(problem, evaluator, k=3, time_limit_s=0.0).predicted_best.bits
    first = itertools.takewhile(lambda run: run[1] == N_IMAGES, evaluator.runs)
    rivals = [
        cc.allocate(problem, **how, time_limit_s=0.0).assignment.bits
        for how in ({"method": "diagonal"}, {"method": "block"}, {"psd": True})
    ]
    assert {bits for bits, _ in first} == {start, *near(start, problem)[:2], *rivals}


def test_where_k_is_more_than_there_are_all_are_run(misled):
    """Σ C(8, i) for up to four layers at 4 bits."""
    problem, evaluator = misled
    found = refine(problem, evaluator, k=200)
    assert (found.evaluated, found.screened) == (1 + 8 + 28 + 56 + 70, 0)

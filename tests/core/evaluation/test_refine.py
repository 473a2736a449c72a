"""Choosing by measured loss."""

import dataclasses

import pytest

import clado_core as cc
from clado_core.allocation.k_best import k_best
from clado_core.data.sources import load_data
from clado_core.errors import InputError
from clado_core.evaluation.evaluate import evaluate
from clado_core.evaluation.refine import refine, sensitivity_evaluator
from clado_core.networks.load import load_model
from clado_core.problem.allocation_problem import bits_for_average
from tests.conftest import ROOT
from tests.core.commands import call

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


def test_other_data_and_unnamed_networks_are_refused():
    matrix = cc.load(RESNET)
    changed = dataclasses.replace(matrix.provenance, data_sha256="0" * 64)
    with pytest.raises(InputError, match="not those 'digits-resnet' was measured on"):
        sensitivity_evaluator(dataclasses.replace(matrix, provenance=changed))
    unnamed = dataclasses.replace(matrix.provenance, model=None)
    with pytest.raises(InputError, match="give --model and --data"):
        sensitivity_evaluator(dataclasses.replace(matrix, provenance=unnamed))


def test_solve_refine(capsys):
    words = ("solve", str(RESNET), "--avg-bits", "2.5", "--refine", "3")
    code, result, _ = call(capsys, *words)
    refined = result["refined"]
    assert code == 0 and refined["evaluated"] >= 3 and refined["avg_bits"] <= 2.5
    assert refined["loss"] <= refined["predicted_best_loss"]
    assert refined["predicted_loss_increase"] >= result["predicted_loss_increase"] - 1e-12
    code, _, error = call(capsys, *words, "--method", "diagonal")
    assert code == 2 and "--refine are for the method clado" in error


def test_without_time_to_prove_as_many_are_run(found):
    problem, evaluator, _, _ = found
    hurried = refine(problem, evaluator, k=5, time_limit_s=0.0)
    assert problem.is_feasible(hurried.assignment) and problem.is_feasible(hurried.predicted_best)
    assert hurried.evaluated >= 5 and hurried.screened > 0
    assert hurried.loss <= hurried.predicted_best_loss

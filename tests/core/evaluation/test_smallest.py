"""The smallest choice within a drop: how it is searched, and that no held-out image has a say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import clado_core as cc
from clado_core.data.seen import image_digests
from clado_core.data.sources import DataSource, Samples, load_data
from clado_core.data.validation import validation_part
from clado_core.errors import InputError
from clado_core.evaluation.choice_runner import ChoiceRunner
from clado_core.evaluation.evaluate import evaluate
from clado_core.evaluation.smallest import BELOW, smallest_passing, smallest_within
from clado_core.files.outcomes import outcomes_path
from clado_core.records.measured_choice import MeasuredChoice
from clado_core.repairs.repair import halves, repair
from clado_core.repairs.repairer import Repairer
from tests.conftest import ROOT

RESNET = ROOT / "assets" / "digits-resnet.clado"


class Asked:
    """Answers from a list, and which indices were asked for."""

    def __init__(self, answers: list[bool]) -> None:
        self.answers, self.indices = answers, set()

    def __call__(self, index: int) -> bool:
        self.indices.add(index)
        return self.answers[index]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 40])
def test_where_passing_is_monotone_the_answer_is_exact_in_few_tests(n: int) -> None:
    for first in range(n + 1):
        asked = Asked([index >= first for index in range(n)])
        assert smallest_passing(n, asked) == (None if first == n else first)
        assert len(asked.indices) <= math.ceil(math.log2(n + 1)) + BELOW - 1


def test_elsewhere_it_passes_and_those_next_below_do_not() -> None:
    draw = np.random.default_rng(0)
    found_some = 0
    for _ in range(300):
        n = int(draw.integers(1, 41))
        answers = (draw.random(n) < np.linspace(0, 1, n)).tolist()
        asked = Asked(answers)
        found = smallest_passing(n, asked)
        if found is None:
            assert not any(answers[index] for index in asked.indices)
            continue
        found_some += 1
        assert answers[found] and found == min(i for i in asked.indices if answers[i])
        below = range(max(0, found - BELOW), found)
        assert asked.indices.issuperset(below) and not any(answers[i] for i in below)
    assert found_some > 200


@pytest.fixture(scope="module")
def resnet() -> tuple[cc.SensitivityMatrix, nn.Module]:
    return cc.load(RESNET), cc.load_model("digits-resnet").module.eval()


@pytest.fixture(scope="module")
def front(resnet: tuple[cc.SensitivityMatrix, nn.Module]) -> cc.Frontier:
    frontier: cc.Frontier = cc.sweep(resnet[0], points=9)
    return frontier


def digits(*, poisoned: bool = False) -> DataSource:
    """The digits with a split of their own, so that held-out labels can be others."""
    source = load_data("digits")
    order = np.concatenate([source.indices("train"), source.indices("held-out")])
    n_train, labels = len(source.indices("train")), source.labels[order].copy()
    if poisoned:
        labels[n_train:] = (labels[n_train:] + 1) % 10
    return DataSource("digits", labels, lambda wanted: source.read(order[wanted]), n_train)


def run_on(
    source: DataSource, resnet: tuple[cc.SensitivityMatrix, nn.Module]
) -> tuple[ChoiceRunner, list[MeasuredChoice]]:
    matrix, network = resnet
    repair_set = source.sensitivity_set(128, seed=1)
    samples = validation_part(source, matrix.provenance, repair_set, n=150)
    repairer = Repairer(network, matrix, *halves(repair_set), rounding="gptq")
    kept: list[MeasuredChoice] = []
    keep = kept.append
    runner = ChoiceRunner(network, matrix, samples, repairer, split="validation", keep=keep)
    return runner, kept


@pytest.mark.parametrize("measured_as", ["rounded", "repaired"])
def test_poisoned_held_out_labels_change_no_choice(
    measured_as: str, resnet: tuple[cc.SensitivityMatrix, nn.Module], front: cc.Frontier
) -> None:
    answers = []
    for poisoned in (False, True):
        source = digits(poisoned=poisoned)
        runner, kept = run_on(source, resnet)
        held_out = source.split("held-out")
        answers.append(
            smallest_within(
                front,
                runner,
                max_drop=2.0,
                measured_as=measured_as,
                confirm=lambda runner=runner, samples=held_out: runner.on(samples),
            )
        )
        assert [each.images.split for each in kept[:-1]] == ["validation"] * (len(kept) - 1)
        assert kept[-1].images.split == "held-out" and kept[-1].bits == answers[-1].assignment.bits
    clean, poisoned = answers
    assert clean.assignment == poisoned.assignment
    assert clean.searched.to_json() == poisoned.searched.to_json()
    assert clean.confirmed.outcomes.top1 > 0.9 > 0.1 > poisoned.confirmed.outcomes.top1


def test_the_answer_keeps_the_drop_and_says_what_was_measured(
    resnet: tuple[cc.SensitivityMatrix, nn.Module], front: cc.Frontier
) -> None:
    runner, kept = run_on(digits(), resnet)
    seen = []
    answer = smallest_within(
        *(front, runner), max_drop=2.0, measured_as="rounded", on_progress=lambda *p: seen.append(p)
    )
    assert 100 * answer.searched.drop.share <= 2.0 and answer.confirmed is None
    assert answer.searched.bits == answer.assignment.bits
    assert len(kept) == len(answer.measured) < answer.on_front == len(front.choices())
    assert seen[-1] == (len(kept), len(kept)) and all(done <= total for done, total in seen)
    smaller = [m for m in answer.measured if sum(m.bits) < sum(answer.assignment.bits)]
    assert all(100 * m.drop.share > 2.0 for m in smaller)
    again = smallest_within(front, runner, max_drop=2.0, measured_as="rounded")
    assert again.solution is answer.solution and len(kept) == len(answer.measured), "known by now"


def test_a_drop_that_nothing_keeps_is_a_sentence(
    resnet: tuple[cc.SensitivityMatrix, nn.Module],
) -> None:
    lowest = cc.sweep(replace(resnet[0]), points=9)
    only = cc.Frontier(lowest.budgets_bits[:1], lowest.points[:1])
    runner, _ = run_on(digits(), resnet)
    with pytest.raises(InputError, match="None of the 1 choices measured"):
        smallest_within(only, runner, max_drop=1.0, measured_as="rounded")
    for drop in (-1.0, 100.5, math.nan):
        with pytest.raises(InputError, match="from 0 to 100"):
            smallest_within(only, runner, max_drop=drop)


def test_measurements_are_those_of_evaluate(
    resnet: tuple[cc.SensitivityMatrix, nn.Module], front: cc.Frontier
) -> None:
    matrix, network = resnet
    source = digits()
    runner, _ = run_on(source, resnet)
    held_out = source.split("held-out")
    chosen = front.choices()[1].assignment
    images = halves(source.sensitivity_set(128, seed=1))
    shipped = {
        "rounded": chosen,
        "repaired": repair(network, matrix, chosen, *images, rounding="gptq"),
    }
    both = runner.on(held_out).measure_all([chosen.bits], ["rounded", "repaired"])[0]
    for measured_as, found in both.items():
        same = evaluate(network, shipped[measured_as], held_out, matrix=matrix, batch_size=64)
        assert found.outcomes.top1 == same.top1
        assert found.outcomes.loss == pytest.approx(same.loss, rel=1e-6)
        assert found.reference.top1 == same.float_top1 and found.outcomes.ci95 == same.ci95
        assert found.measured_as == measured_as
    assert both["repaired"].outcomes.top1 > both["rounded"].outcomes.top1


def test_candidates_are_made_once_for_all_choices(
    resnet: tuple[cc.SensitivityMatrix, nn.Module], front: cc.Frontier
) -> None:
    matrix, network = resnet
    images = digits().sensitivity_set(128, seed=1)
    repairer = Repairer(network, matrix, *halves(images), rounding="gptq")
    first, second = (repairer.repair(front.choices()[k].assignment) for k in (1, 2))
    shared = [
        name
        for name, bits in first.assignment.by_layer().items()
        if second.assignment.by_layer()[name] == bits
    ]
    assert shared
    assert all(first.weights[name] is second.weights[name] for name in shared)


def test_no_repair_without_images_for_it(
    resnet: tuple[cc.SensitivityMatrix, nn.Module], front: cc.Frontier
) -> None:
    runner = ChoiceRunner(resnet[1], resnet[0], digits().split("held-out"))
    with pytest.raises(InputError, match="give images to repair with"):
        runner.measure(front.choices()[0].assignment.bits, "repaired")


def test_validation_images_are_of_training_and_seen_by_nothing(
    resnet: tuple[cc.SensitivityMatrix, nn.Module],
) -> None:
    source, about = load_data("digits"), resnet[0].provenance
    used = source.sensitivity_set(128, seed=1)
    part = validation_part(source, about, used, n=2048)
    found = set(image_digests(part.x))
    measured_on = source.sensitivity_set(about.n_samples, seed=about.seed)
    for others in (used, measured_on, source.split("held-out")):
        assert not found & set(image_digests(others.x))
    assert found <= set(image_digests(source.split("train").x)) and len(part) > 150
    few = validation_part(source, about, used, n=120)
    assert len(few) == 120 and torch.equal(few.x, validation_part(source, about, used, n=120).x)
    with pytest.raises(InputError, match="repair with fewer images"):
        validation_part(source, about, source.split("train"), n=2048)


def test_from_python_with_images_in_memory(
    resnet: tuple[cc.SensitivityMatrix, nn.Module], front: cc.Frontier, tmp_path: Path
) -> None:
    matrix, network = resnet
    source = load_data("digits")
    used = source.sensitivity_set(128, seed=1)
    part = validation_part(source, matrix.provenance, used, n=150)
    held_out = source.split("held-out")
    artifact = tmp_path / "mine.clado"
    cc.save_matrix(matrix, artifact)

    def search(runs: list[tuple[int, int]]) -> object:
        return cc.smallest_within(
            *(matrix, front, network, (part.x, part.y)),
            max_drop=2.0,
            repair_data=used.x,
            held_out=held_out,
            rounding="gptq",
            artifact=artifact,
            on_progress=lambda *progress: runs.append(progress),
        )

    answer = search([])
    kept = outcomes_path(artifact).read_text()
    shipped = cc.repair(matrix, answer, network, used.x, rounding="gptq")
    assert cc.evaluate(network, shipped, held_out).top1 == answer.confirmed.outcomes.top1
    again = search([])
    assert again.assignment == answer.assignment and outcomes_path(artifact).read_text() == kept
    wrong = Samples(held_out.x, held_out.y, "wrong")
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(cc.CladoError, match="weights"):
        cc.smallest_within(matrix, front, other, wrong, max_drop=1.0)

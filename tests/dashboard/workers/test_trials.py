"""What the page asks commands to run, and what it keeps of their answers."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import clado_core as cc
from clado_core.cli import build_parser
from clado_core.cli.choices import front_of
from clado_core.cli.problem_options import problem_from
from clado_core.errors import InputError
from clado_core.files.assignment_file import read_assignment
from dashboard.known.answers import Answers
from dashboard.rules import NO_RULES, Rules
from dashboard.workers.commands import NetworkWords
from dashboard.workers.repair import RESULT, MeasureRepaired, Recipe, Repair, RepairCost, cost_of
from dashboard.workers.repaired import repaired_file
from dashboard.workers.smallest import FindSmallest, last_smallest
from dashboard.workers.trials import ChoiceTrial, MeasureChoice, MeasureFront, Trial
from tests.conftest import make_matrix

MATRIX = make_matrix(6, seed=1)
BITS = (8, 2, 2, 4, 2, 2)
DIGEST = "d" * 64
NAMES = MATRIX.layers.names
RULES = NO_RULES.with_lock(NAMES[0], 8).with_tie(NAMES[1:3]).with_least(NAMES[4], 4)
WHERE = NetworkWords("cifar10:/some where", "nets.py:build", "a.pt")


@pytest.fixture
def about(own_artifacts: Path, tmp_path: Path) -> dict[str, Any]:
    path = str(own_artifacts / "alpha.clado")
    return {"name": "alpha", "artifact": path, "digest": DIGEST, "network": WHERE}


def chosen(folder: Path) -> dict[str, Any]:
    return {"assignment": cc.AllocationProblem(MATRIX).assignment(BITS), "folder": str(folder)}


def parsed(wish: Trial) -> Any:
    """As the real command understands it; the same network in all of them."""
    found = build_parser().parse_args(wish.arguments())
    assert (found.data, found.model, found.weights) == WHERE and found.json
    assert str(found.artifact) == wish.artifact
    return found


def shown(folder: Path, rules: Rules = RULES) -> dict[str, Any]:
    """As the page gives it: what is known before anything is proven."""
    answers = Answers(MATRIX, rules)
    answers.sweep()
    return {"front": answers.front(), "rules": rules, "folder": str(folder)}


def smallest(about: dict[str, Any], folder: Path, rules: Rules = NO_RULES) -> FindSmallest:
    asked: dict[str, Any] = {"max_drop": 0.5, "measured_as": "repaired", "rounding": "gptq"}
    return FindSmallest(**about, **shown(folder, rules), **asked)


def repair(about: dict[str, Any], folder: Path, rounding: Any = "gptq") -> Repair:
    return Repair(**about, **chosen(folder), recipe=Recipe(rounding))


def test_the_commands_understand_what_is_asked(about: dict[str, Any], tmp_path: Path) -> None:
    own = tmp_path / "not" / "yet"
    mended = parsed(repair(about, own))
    assert (mended.command, mended.rounding, mended.out.parent) == ("repair", "gptq", own)
    one = parsed(
        MeasureChoice(**about, **chosen(own), measured_as=["rounded", "repaired"], rounding="gptq")
    )
    assert (one.command, one.run_as) == ("evaluate", ("rounded", "repaired"))
    assert one.assignment == mended.assignment and one.split == "held-out"
    front = parsed(MeasureFront(**about, **shown(own), measured_as=["repaired"], rounding="gptq"))
    assert front.rounding == one.rounding == "gptq"
    assert front.run_as == ("repaired",)
    found = parsed(smallest(about, own, RULES))
    assert (found.max_drop, found.run_as) == (0.5, "repaired")
    for each in (front, found):
        problem, wanted = problem_from(each, MATRIX), RULES.problem(MATRIX)
        assert (problem.pins, problem.ties, problem.min_bits) == (
            wanted.pins,
            wanted.ties,
            wanted.min_bits,
        )


def test_the_front_that_the_page_shows_is_what_is_run(
    about: dict[str, Any], tmp_path: Path
) -> None:
    for rules in (RULES, NO_RULES):
        wish = smallest(about, tmp_path / "not" / "yet", rules)
        wish.prepare()
        found = parsed(wish)
        read = front_of(found, problem_from(found, MATRIX), points=3)
        assert read.choices() == wish.front and len(wish.front) > 3
        assert all(rules.problem(MATRIX).is_feasible(each.assignment) for each in wish.front)
    assert len(list(wish.front_file.parent.iterdir())) == 2, "one for each set of rules"
    # A front without the rules is refused by a command that is told them.
    parsed_again = parsed(smallest(about, wish.front_file.parent, RULES))
    parsed_again.front_from = wish.front_file
    with pytest.raises(InputError, match="your wishes"):
        front_of(parsed_again, problem_from(parsed_again, MATRIX), points=3)


def test_the_choice_is_written_for_the_command(about: dict[str, Any], tmp_path: Path) -> None:
    wish: ChoiceTrial = repair(about, tmp_path / "not" / "yet")
    wish.prepare()
    assert read_assignment(wish.choice, MATRIX).bits == BITS


def steps(*divergences: float) -> dict[str, Any]:
    made = [
        {"name": str(i), "divergence": d, "kept": i > 0, "seconds": 1.0}
        for i, d in enumerate(divergences)
    ]
    return {"steps": made, "judged_on": 512}


def test_the_repaired_file_that_diverges_least_is_found(
    about: dict[str, Any], tmp_path: Path
) -> None:
    assert repaired_file(tmp_path, DIGEST, BITS) is None
    for rounding, divergence in (("gptq", 0.2), ("adaround", 0.1), ("nearest", 0.3)):
        wish = repair(about, tmp_path, rounding)
        wish.keep(steps(1.0, divergence, 0.5))
        assert rounding != "gptq" or repaired_file(tmp_path, DIGEST, BITS) is None, "no file yet"
        wish.out.write_bytes(b"packed")
    found = repaired_file(tmp_path, DIGEST, BITS)
    assert found is not None
    assert (found.recipe, found.rounded, found.divergence) == (Recipe("adaround"), 1.0, 0.1)
    assert repaired_file(tmp_path, DIGEST, BITS[::-1]) is None
    assert repaired_file(tmp_path, "e" * 64, BITS) is None
    found.path.with_suffix(RESULT).write_text('{"steps": [{"name": "cut o')
    left = repaired_file(tmp_path, DIGEST, BITS)
    assert left is not None and left.recipe.rounding == "gptq"


RECIPES = [
    Recipe("gptq"),
    Recipe("nearest", reconstruct=True),
    Recipe("adaround", epochs=12),
    Recipe("adaround", reconstruct=True, epochs=1),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_is_asked_for_and_named(
    recipe: Recipe, about: dict[str, Any], tmp_path: Path
) -> None:
    wish = Repair(**about, **chosen(tmp_path), recipe=recipe)
    asked = parsed(wish)
    told = asked.rounding, asked.reconstruct, asked.finetune or 0
    assert told == recipe and Recipe.named(recipe.name) == recipe
    assert recipe.goes_on == bool(recipe.words)
    others = [each for each in RECIPES if each != recipe]
    assert wish.out.name not in [
        Repair(**about, **chosen(tmp_path), recipe=each).out.name for each in others
    ]
    wish.keep(steps(1.0, 0.25))
    wish.out.write_bytes(b"packed")
    found = repaired_file(tmp_path, DIGEST, BITS)
    assert found is not None and found.recipe == recipe and found.measured is None
    for name in ("best", "gptq-epochs", "gptq-3", "adaround-1epochs-blocks"):
        assert Recipe.named(name) is None
        wish.out.with_name(wish.out.name.replace(recipe.name, name)).write_bytes(b"foreign")
    assert repaired_file(tmp_path, DIGEST, BITS) == found


def test_what_a_file_was_measured_at_is_kept_until_it_is_made_again(
    about: dict[str, Any], tmp_path: Path
) -> None:
    made = Repair(**about, **chosen(tmp_path), recipe=RECIPES[3])
    made.keep(steps(1.0, 0.25))
    made.out.write_bytes(b"packed")
    wish = MeasureRepaired(**about, **chosen(tmp_path), file=made.out)
    assert parsed(wish).repaired == made.out
    wish.keep({"top1": 0.875, "ci95": [0.8, 0.9], "n": 539, "split": "held-out"})
    found = repaired_file(tmp_path, DIGEST, BITS)
    assert found is not None and found.measured == (0.875, (0.8, 0.9), 539, "held-out")
    made.keep(steps(1.0, 0.5))
    again = repaired_file(tmp_path, DIGEST, BITS)
    assert again is not None and again.measured is None


def test_a_cost_is_told_in_parts_or_why_there_is_none(
    about: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "not" / "yet"
    wish = Repair(**about, **chosen(folder), recipe=RECIPES[3])
    told = {"repair_s": 2, "reconstruct_s": 3.5, "finetune_s": 4, "estimated_s": 9.5}
    code = f"import sys; assert sys.argv[-1] == '--dry-run'; print('{json.dumps(told)}')"
    assert cost_of(wish, command=(sys.executable, "-c", code)) == RepairCost(2, 3.5, 4)
    assert wish.choice.is_file() and not wish.out.exists()
    failing = (sys.executable, "-c", "import sys; sys.exit('error: There is no network.')")
    assert cost_of(wish, command=failing) == "There is no network."
    folder.rename(tmp_path / "away")
    folder.write_text("a file where the folder should be")
    assert "not/yet" in str(cost_of(wish, command=failing))


def answer(bits: tuple[int, ...] = BITS) -> dict[str, Any]:
    """As ``solve --max-drop --json`` prints it."""
    drop = {"drop_points": 0.4, "drop_ci95_points": [-0.2, 1.1], "n": 187, "split": "validation"}
    return {
        "assignment": dict(zip(MATRIX.layers.names, bits, strict=True)),
        "solver": "daqp",
        "bound": None,
        "smallest": {
            "max_drop": 1.0,
            "measured_as": "repaired",
            "searched": drop,
            "confirmed": drop | {"n": 539, "split": "held-out", "drop_points": 0.0},
            "on_front": 41,
            "choices": [{}] * 7,
        },
    }


def test_the_last_answer_is_kept_with_its_rules(about: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    wish = smallest(about, folder)
    assert last_smallest(folder, DIGEST, MATRIX, NO_RULES) is None
    wish.keep(answer())
    found = last_smallest(folder, DIGEST, MATRIX, NO_RULES)
    assert found is not None and found.confirmed is not None
    assert found.chosen.assignment.bits == BITS
    assert (found.measured, found.on_front, found.searched.n) == (7, 41, 187)
    assert (found.confirmed.n, found.confirmed.points) == (539, 0.0)
    ruled = NO_RULES.with_lock(MATRIX.layers.names[0], 8)
    assert last_smallest(folder, DIGEST, MATRIX, ruled) is None
    other = dataclasses.replace(wish, rules=ruled)
    other.keep(answer())
    assert last_smallest(folder, DIGEST, MATRIX, ruled) is not None
    (file,) = folder.iterdir()
    file.write_text(json.dumps({"rules": [], "result": {}}))
    assert last_smallest(folder, DIGEST, MATRIX, NO_RULES) is None

"""``solve --max-drop``: the smallest size whose measured drop of accuracy is at most so much."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from clado_core.cli.choices import (
    Bench,
    add_front_from,
    add_repair_settings,
    drop_text,
    front_of,
    images_to_json,
    measured_to_json,
    open_bench,
    seen_to_json,
)
from clado_core.cli.evaluate_choices import repair_lines
from clado_core.cli.problem_options import number, positive_count
from clado_core.cli.progress import ProgressLine
from clado_core.errors import InputError
from clado_core.files.outcomes import outcomes_path
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.records.assignment import Assignment
from clado_core.records.names import MEASURED_AS, REPAIRED, SPLITS, VALIDATION, Split
from clado_core.records.scheme import bits_to_json

if TYPE_CHECKING:
    from clado_core.data.sources import Samples
    from clado_core.evaluation.choice_runner import ChoiceRunner
    from clado_core.evaluation.smallest import SmallestWithin
    from clado_core.problem.solution import Solution

FRONT_POINTS = 41
"""Budgets of a front that is not stored."""
SEARCH_IMAGES = 2048
HELD_OUT: Split = "held-out"


def add_max_drop(parser: argparse.ArgumentParser) -> None:
    """Add ``--max-drop`` and what it is measured as and on."""
    add = parser.add_argument
    add(
        "--max-drop",
        type=number,
        metavar="X",
        help="instead of a budget: the smallest choice on the front whose measured top-1 accuracy "
        "is at most X percentage points below the float network's",
    )
    add(
        "--as",
        dest="run_as",
        choices=MEASURED_AS,
        help=f"with --max-drop: what choices are run as (default: {REPAIRED})",
    )
    add(
        "--split",
        choices=(VALIDATION, *SPLITS),
        help="with --max-drop: images to search on (default: validation, training images neither "
        "measured on nor repaired with); the answer is run once on the held-out ones",
    )
    add(
        "--search-images",
        type=positive_count,
        default=SEARCH_IMAGES,
        metavar="N",
        help=f"with --max-drop: how many validation images (default: {SEARCH_IMAGES})",
    )
    add_front_from(parser, of="with --max-drop")
    add_repair_settings(parser)


def require_alone(arguments: argparse.Namespace) -> None:
    """Make sure that a drop, or a loss, is asked for alone, and nothing of a drop without one.

    Raises:
        InputError: Another option contradicts it.
    """
    if arguments.max_drop is None:
        options = {
            "--as": arguments.run_as,
            "--split": arguments.split,
            "--front-from": arguments.front_from,
        }
        for option, given in options.items():
            if given is not None:
                raise InputError(f"{option} is for --max-drop: give that too, or leave it out.")
    for asked in ("--max-drop", "--max-loss"):
        if getattr(arguments, asked.removeprefix("--").replace("-", "_")) is not None:
            _require_nothing_else(arguments, asked)


def _require_nothing_else(arguments: argparse.Namespace, asked: str) -> None:
    limits = {"--avg-bits": arguments.avg_bits, "--size-mb": arguments.size_mb}
    if asked == "--max-drop":
        limits["--max-loss"] = arguments.max_loss
    for option, given in limits.items():
        if given is not None:
            raise InputError(
                f"{asked} searches for the smallest size, and {option} limits it: give one of "
                "the two."
            )
    others = {
        "--prices": arguments.prices,
        "--k-best": arguments.k_best > 1,
        "--refine": arguments.refine,
        "--bootstrap": arguments.bootstrap,
        "--psd": arguments.psd,
        f"--method {arguments.method}": arguments.method != "clado",
    }
    if asked == "--max-drop":
        others[f"--solver {arguments.solver}"] = arguments.solver != "tiered"
    for option, is_given in others.items():
        if is_given:
            raise InputError(f"{asked} searches along the front: give it without {option}.")


def smallest(
    arguments: argparse.Namespace, problem: AllocationProblem
) -> tuple[Solution, dict[str, Any]]:
    """The choice, and what was measured to find it; goes on where it was when it was stopped."""
    from clado_core.evaluation.smallest import require_drop, smallest_within

    require_drop(arguments.max_drop)
    bench = open_bench(arguments, problem.matrix)
    samples, split = _searched(arguments, bench)
    front = front_of(
        arguments,
        problem,
        points=FRONT_POINTS,
        time_limit_s=arguments.time_limit,
        gap_limit=arguments.gap,
        confirm=arguments.confirm,
    )
    runner = bench.runner(samples, split=split)
    # Images that were searched on cannot confirm what was found on them.
    confirm = None if split in (HELD_OUT, "all") else partial(_held_out, bench, runner)
    with ProgressLine(f"Searching {problem.matrix.name}", "choices") as line:
        answer = smallest_within(
            front,
            runner,
            max_drop=arguments.max_drop,
            measured_as=arguments.run_as or REPAIRED,
            confirm=confirm,
            on_progress=line.update,
        )
    return answer.solution, _described(bench, samples, answer)


def _searched(arguments: argparse.Namespace, bench: Bench) -> tuple[Samples, str]:
    if arguments.split not in (None, VALIDATION):
        split: Split = arguments.split
        return bench.source.split(split), split
    from clado_core.data.validation import validation_part
    from clado_core.repairs.repair import calibration_sets

    about, used, n = bench.matrix.provenance, [*bench.repair_sets], arguments.search_images
    if (calibration := about.calibration) is not None and calibration.seed is not None:
        used += calibration_sets(bench.source, calibration.n_images, seed=calibration.seed)
    return validation_part(bench.source, about, *used, n=n), VALIDATION


def _held_out(bench: Bench, runner: ChoiceRunner) -> ChoiceRunner:
    return runner.on(bench.source.split(HELD_OUT), split=HELD_OUT)


def _described(bench: Bench, samples: Samples, answer: SmallestWithin) -> dict[str, Any]:
    chosen, searched, confirmed = answer.assignment, answer.searched, answer.confirmed
    assignments = (Assignment(chosen.layers, m.bits, chosen.scheme) for m in answer.measured)
    return {
        "max_drop": answer.max_drop,
        "measured_as": searched.measured_as,
        "searched": {**measured_to_json(searched), **images_to_json(searched)},
        "confirmed": confirmed and {**measured_to_json(confirmed), **images_to_json(confirmed)},
        "on_front": answer.on_front,
        "choices": [
            {
                "avg_bits": each.avg_bits,
                "size_bytes": each.size_bytes,
                "bits": [bits_to_json(b) for b in each.bits],
                **measured_to_json(measured),
            }
            for each, measured in zip(assignments, answer.measured, strict=True)
        ],
        **seen_to_json(bench, samples),
        "repair": bench.repair_to_json() if searched.measured_as == REPAIRED else None,
        "kept_in": str(outcomes_path(bench.arguments.artifact)),
    }


def smallest_lines(result: dict[str, Any]) -> list[str]:
    """What was searched, on which images, what was found there, and on held-out ones."""
    searched, choices = result["searched"], result["choices"]
    asked, measured_as = _points(result["max_drop"]), result["measured_as"]
    lines = [
        f"Of {result['on_front']} choices on the front, {len(choices)} were run as {measured_as}; "
        f"this is the smallest of them that loses at most {asked} of top-1. Those in between were "
        "not run.",
        *_of_the_search(searched, result["max_drop"]),
        *(
            f"  {each['avg_bits']:7.3f} bits  {each['size_bytes'] / 1e6:8.4g} MB  {drop_text(each)}"
            for each in choices
        ),
    ]
    confirmed = result["confirmed"]
    if confirmed is None:
        lines.append(
            "The held-out images were searched on, so none are left to confirm it: on new ones it "
            "may lose more."
        )
    else:
        lines.append(f"Confirmed once on {_accuracy(confirmed)}.")
        if confirmed["drop_points"] > result["max_drop"]:
            lines.append(f"That is more than {asked}: ask for a smaller drop to keep within it.")
    return [*lines, *repair_lines(result), f"Kept in {result['kept_in']}."]


def _of_the_search(searched: dict[str, Any], max_drop: float) -> list[str]:
    lines = [f"Searched on {_accuracy(searched)}."]
    if searched["split"] in (VALIDATION, "train", "all"):
        lines.append(
            "The network was trained on such images, so only the drop tells, not the accuracy; it "
            "tends to be larger there than on new ones."
        )
    if searched["drop_ci95_points"][1] > max_drop:
        lines.append(f"The interval reaches beyond {_points(max_drop)}; more images narrow it.")
    return lines


def _points(number: float) -> str:
    return f"{number:g} {'point' if number == 1 else 'points'}"


def _accuracy(found: dict[str, Any]) -> str:
    return (
        f"{found['n']:,} images of {found['data']} ({found['split']}): top-1 {found['top1']:.2%}, "
        f"{found['float_top1']:.2%} without quantization, {drop_text(found)}"
    )

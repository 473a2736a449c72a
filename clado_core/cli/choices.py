"""Running choices as rounded and as repaired: options, what is run, and what is said of it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clado_core.allocation.frontier import Frontier
from clado_core.allocation.stored import load_frontier, load_shifts, read_frontier
from clado_core.allocation.sweep import sweep
from clado_core.cli.problem_options import positive_count
from clado_core.cli.progress import ProgressLine
from clado_core.errors import InputError
from clado_core.files.outcomes import keep_outcome, read_outcomes
from clado_core.problem.allocation_problem import AllocationProblem
from clado_core.records.calibration import IMAGES, SEED
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.measured_choice import MeasuredChoice
from clado_core.records.names import MEASURED_AS, ROUNDINGS, MeasuredAs
from clado_core.solvers import TieredSolver

if TYPE_CHECKING:
    from clado_core.data.sources import DataSource, Samples
    from clado_core.evaluation.choice_runner import ChoiceRunner
    from clado_core.networks.load import LoadedModel
    from clado_core.repairs.repairer import Repairer

SOLVE_S = 10.0
"""Of each budget of a front that is not stored; what is not proven by then is run all the same."""


def add_repair_settings(parser: argparse.ArgumentParser) -> None:
    """Add ``--rounding`` and ``--repair-images``."""
    add = parser.add_argument
    add(
        "--rounding",
        choices=ROUNDINGS,
        default="adaround",
        help="as repaired: how weights become integers (default: adaround)",
    )
    add(
        "--repair-images",
        type=positive_count,
        metavar="N",
        help="as repaired: training images to calibrate with, and as many to judge by (default: "
        f"{IMAGES}, or a tenth of the training images where they are few)",
    )


def add_front_from(place: argparse._ActionsContainer, *, of: str) -> None:
    """Add ``--front-from``.

    Args:
        place: A parser, or a group of options that exclude each other.
        of: What it is for, in a few words.
    """
    place.add_argument(
        "--front-from",
        type=Path,
        metavar="FILE",
        help=f"{of}: choices of a front that frontier --out wrote",
    )


def measured_as_of(text: str) -> tuple[MeasuredAs, ...]:
    """For argparse: "rounded", "repaired" or both, separated by a comma."""
    names = [name.strip() for name in text.split(",")]
    if not set(names) <= set(MEASURED_AS):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not {' or '.join(MEASURED_AS)}, or both as in {','.join(MEASURED_AS)}"
        )
    return tuple(each for each in MEASURED_AS if each in names)


def model_and_data(
    arguments: argparse.Namespace, matrix: SensitivityMatrix
) -> tuple[LoadedModel, DataSource]:
    """The network that was measured, and the data; as the artifact says where nobody else does."""
    about = matrix.provenance
    spec, data = arguments.model or about.model, arguments.data or about.data
    if spec is None or data is None:
        flag = "--model" if spec is None else "--data"
        raise InputError(
            f"{arguments.artifact} does not say which {flag[2:]} it was measured with: give {flag}."
        )
    from clado_core.networks.measured import load_measured, open_data

    model = load_measured(matrix, model=spec, weights=arguments.weights)
    return model, open_data(model, data)


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """A measured network, its data, and the training images that choices are repaired with.

    Args:
        arguments: Of the command.
        matrix: The artifact.
        model: The network, on its device.
        source: The data.
        repair_sets: Calibrate and judge repairs.
        repairer: Made of those.
    """

    arguments: argparse.Namespace
    matrix: SensitivityMatrix
    model: LoadedModel
    source: DataSource
    repair_sets: tuple[Samples, Samples]
    repairer: Repairer

    def runner(self, samples: Samples, *, split: str | None = None) -> ChoiceRunner:
        """Runs choices on these images; everything it measures is kept beside the artifact."""
        from clado_core.evaluation.choice_runner import ChoiceRunner

        artifact = self.arguments.artifact
        return ChoiceRunner(
            *(self.model.module, self.matrix, samples, self.repairer),
            split=split,
            known=read_outcomes(artifact, self.matrix),
            keep=lambda measured: keep_outcome(artifact, self.matrix, measured),
            batch_size=getattr(self.arguments, "batch_size", None),
            allow_noise=self.arguments.allow_noise,
        )

    def repair_to_json(self) -> dict[str, Any]:
        """What ``repair`` has to be told to make the same."""
        return {
            "rounding": self.arguments.rounding,
            "images": len(self.repair_sets[0]),
            "seed": SEED,
        }


def open_bench(arguments: argparse.Namespace, matrix: SensitivityMatrix, /) -> Bench:
    """Load network and data, and draw the images to repair with as ``repair`` draws them."""
    model, source = model_and_data(arguments, matrix)
    from clado_core.networks.placement import choose_device, default_batch_size, place_for
    from clado_core.repairs.repair import calibration_sets
    from clado_core.repairs.repairer import Repairer

    sets = calibration_sets(source, arguments.repair_images, seed=SEED)
    device = choose_device(getattr(arguments, "device", "auto"))
    place_for(model.module, device, sets[0].x)
    repairer = Repairer(
        *(model.module, matrix, *sets),
        rounding=arguments.rounding,
        artifact=Path(arguments.artifact),
        seed=SEED,
        batch_size=getattr(arguments, "batch_size", None) or default_batch_size(device),
        allow_noise=arguments.allow_noise,
    )
    return Bench(arguments, matrix, model, source, sets, repairer)


def front_of(
    arguments: argparse.Namespace,
    problem: AllocationProblem,
    /,
    *,
    points: int,
    time_limit_s: float | None = None,
    gap_limit: float = 0.0,
    confirm: bool = False,
) -> Frontier:
    """The front of a file, or beside the artifact; solved now where wishes ask for another.

    Args:
        arguments: Of the command.
        problem: Without budget of size.
        points: Budgets to solve.
        time_limit_s: Per budget; ``SOLVE_S`` where None.
        gap_limit: Per budget.
        confirm: Whether SCIP proves again what DAQP has proven.

    Raises:
        InputError: The file cannot be used, or holds choices that the wishes forbid.
    """
    if arguments.front_from is not None:
        return _read_front(arguments, problem)
    wishes = (problem.pins, problem.ties, problem.min_bits, problem.allowed, problem.budgets)
    if not any(wishes) and (stored := load_frontier(arguments.artifact, problem.matrix)):
        return stored
    with ProgressLine(f"Frontier of {problem.matrix.name}", "budgets") as line:
        return sweep(
            problem,
            points=points,
            solver=TieredSolver(load_shifts(arguments.artifact), confirm=confirm),
            time_limit_s=time_limit_s or SOLVE_S,
            gap_limit=gap_limit,
            on_progress=line.update,
        )


def _read_front(arguments: argparse.Namespace, problem: AllocationProblem) -> Frontier:
    found = read_frontier(arguments.front_from, arguments.artifact, problem.matrix)
    if not all(problem.is_feasible(point.assignment) for point in found.points):
        raise InputError(
            f"The frontier {arguments.front_from} holds choices that your wishes (--pin, --tie, "
            "--allow, --min-bits, --bops) forbid: leave them out, or make it with them."
        )
    return found


def seen_to_json(bench: Bench, samples: Samples, /) -> dict[str, int | None]:
    """How many of these images the choice has seen: measured on, and repaired with."""
    from clado_core.data.seen import image_digests, measured_on

    used = {digest for part in bench.repair_sets for digest in image_digests(part.x)}
    return {
        "measured_on": measured_on(samples, bench.matrix.provenance, source=bench.source),
        "repaired_with": sum(digest in used for digest in image_digests(samples.x)),
    }


def measured_to_json(measured: MeasuredChoice, /) -> dict[str, Any]:
    """What came of a choice; drops are in percentage points of top-1."""
    drop, outcomes = measured.drop, measured.outcomes
    return {
        "top1": outcomes.top1,
        "ci95": list(outcomes.ci95),
        "loss": outcomes.loss,
        "drop_points": 100 * drop.share,
        "drop_ci95_points": [100 * end for end in drop.ci95],
        "lost": drop.lost,
        "gained": drop.gained,
    }


def images_to_json(measured: MeasuredChoice, /) -> dict[str, Any]:
    """What it was run on, and the float network there."""
    return {
        "n": len(measured.outcomes),
        "data": measured.images.data,
        "split": measured.images.split,
        "float_top1": measured.reference.top1,
        "float_loss": measured.reference.loss,
    }


def drop_text(result: dict[str, Any], /) -> str:
    """ "1.20 points less (95 % interval 0.50 to 1.90; 14 images lost, 2 gained)"."""
    low, high = result["drop_ci95_points"]
    drop = result["drop_points"]
    return (
        f"{abs(drop):.2f} points {'less' if drop >= 0 else 'more'} (95 % interval of the drop "
        f"{low:.2f} to {high:.2f}; {result['lost']:,} images lost, {result['gained']:,} gained)"
    )

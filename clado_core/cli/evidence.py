"""Measure, allocate by every method, and evaluate on held-out images: one network, one setting.

Example:
  python -m clado_core evidence cifar10-resnet20 --data cifar10:FOLDER \\
      --granularity per-tensor --bits 2,4,8 --out assets
  python -m clado_core evidence cifar10-resnet20 --data cifar10:FOLDER \\
      --granularity per-tensor --bits 2,4,8 --out assets --reproduce 2.5

Artifacts that are there are used; losses and evaluations of a stopped run are kept in *.partial
files beside them, and the same command continues.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clado_core.cli.measurement_options import (
    DEFAULT_SAMPLES,
    add_bits,
    add_device,
    add_layers,
    add_loss,
    add_network,
    add_seed,
)
from clado_core.cli.problem_options import positive_count
from clado_core.cli.progress import ProgressLine
from clado_core.errors import InputError
from clado_core.evidence import Choice, Evidence, choose, load_evidence, save_evidence
from clado_core.evidence.record import SUFFIX as EVIDENCE_SUFFIX
from clado_core.files.artifact import SUFFIX, artifact_digest, partial_path
from clado_core.problem.solution import SolveStatus
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import CLADO, MEASURED_ALONG
from clado_core.records.scheme import QuantizationScheme, parse_bit_menu

if TYPE_CHECKING:
    from clado_core.data.sources import DataSource, Samples
    from clado_core.networks.load import LoadedModel
    from clado_core.sensitivity import MeasurementSettings

BUDGETS = "2.1,2.25,2.5,2.75,3,3.25,3.5,4,4.5,5,6"
DEFAULT_REFINE = 8
GRAM = "-logit-gram"
LOSS_TOLERANCE, TOP1_TOLERANCE = 1e-4, 5e-4
"""Sums of floats may differ in their last digits on another processor, and few images with them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``evidence``."""
    add = parser.add_argument
    add_network(parser)
    add("--data", help="as for measure; its held-out part is evaluated")
    add_bits(parser)
    add("--samples", type=int, default=DEFAULT_SAMPLES, help="size of the sensitivity set")
    add("--batch-size", type=positive_count, help="samples per forward (default: as of measure)")
    add_device(parser)
    add_seed(parser)
    add("--budgets", default=BUDGETS, help=f"average bits per weight (default: {BUDGETS})")
    add(
        "--refine",
        type=int,
        default=DEFAULT_REFINE,
        metavar="K",
        help=f"also choose by measured loss, of the K best (default: {DEFAULT_REFINE}; 0: do not)",
    )
    add("--act-bits", type=int, choices=(8, 4), help="quantize layers' inputs too (the paper: 8)")
    add_loss(parser)
    add_layers(parser)
    add("--time-limit", type=float, default=60.0, metavar="S", help="of each solve")
    add("--out", type=Path, required=True, help="folder of artifacts and evidence")
    add("--reproduce", type=float, metavar="AVG", help="redo one stored budget and compare")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the evidence, or redo a part of it."""
    from clado_core.evaluation.evidence_run import evaluated

    if not arguments.out.is_dir():
        raise InputError(f"There is no folder {arguments.out} for --out; create it first.")
    budgets, settings = _budgets(arguments.budgets), _settings(arguments)
    model, data = _model_and_data(arguments)
    name = _name(arguments, model, settings)
    path = arguments.out / f"{name}{EVIDENCE_SUFFIX}"
    stored = None if arguments.reproduce is None else load_evidence(path)
    cache = partial_path(path) if stored is None else None
    if stored is not None:
        budgets = _stored_budget(stored, arguments.reproduce)
    samples = data.sensitivity_set(arguments.samples, seed=arguments.seed)
    matrix, gram = _artifacts(arguments, name, model, samples, settings)
    choices = _choices(arguments, (matrix, gram), budgets, (model, samples, cache))
    choices = choices if stored is None else _with_unproven(choices, stored)
    with ProgressLine(f"Evaluating {name}", "assignments") as line:
        evidence = evaluated(
            model,
            matrix,
            (samples, data.split("held-out")),
            [each for each in choices if stored is None or each.budget in budgets],
            digests={
                "matrix": artifact_digest(arguments.out / f"{name}{SUFFIX}"),
                "gram": artifact_digest(arguments.out / f"{name}{GRAM}{SUFFIX}"),
            },
            cache=cache,
            on_progress=line.update,
        )
    result = evidence.to_json() | {"path": str(path)}
    if stored is not None:
        return result | {"matches": _matches(evidence, stored)}
    save_evidence(evidence, path)
    return result


def show(result: dict[str, Any]) -> str:
    """A table: budgets down, methods across."""
    lines = [
        f"{result['name']}: {result['float_top1']:.2%} without quantization, on "
        f"{result['n']:,} held-out images.",
        f"{'bits':>5}  {'method':<13} {'used':>6}  {'top-1':>7}  {'loss':>8}  "
        f"{'predicted increase':>18}  against clado",
    ]
    for outcome in result["outcomes"]:
        choice, paired = outcome["choice"], outcome["paired"].get(CLADO)
        against = (
            ""
            if paired is None
            else (f"{paired['gained']}:{paired['lost']} images, p = {paired['p']:.2g}")
        )
        lines.append(
            f"{choice['budget']:>5g}  {choice['method']:<13} {choice['avg_bits']:6.3f}  "
            f"{outcome['top1']:7.2%}  {outcome['loss']:8.4f}  "
            f"{choice['predicted_loss_increase']:>18.4f}  {against}"
        )
    correlations = {k: v for k, v in result["rank_correlation"].items() if v is not None}
    lines += [
        f"Rank correlation of predicted and measured loss increase, {which}: {value:.3f}"
        for which, value in correlations.items()
    ]
    if "matches" in result:
        verdict = "equal the stored ones" if result["matches"] else "DIFFER from the stored ones"
        lines.append(f"These numbers {verdict} in {result['path']}.")
    return "\n".join(lines)


def _budgets(text: str) -> list[float]:
    try:
        return sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise InputError(f"--budgets {text}: give numbers such as 2.5,3,4.") from None


def _stored_budget(stored: Evidence, budget: float) -> list[float]:
    known = sorted({each.choice.budget for each in stored.outcomes})
    if budget not in known:
        raise InputError(
            f"The stored evidence has no budget {budget:g}: choose one of "
            f"{', '.join(f'{each:g}' for each in known)}."
        )
    return [budget]


def _model_and_data(arguments: argparse.Namespace) -> tuple[LoadedModel, DataSource]:
    from clado_core.data.sources import load_data
    from clado_core.networks.inference import choose_device, place
    from clado_core.networks.load import load_model

    model = load_model(arguments.model, arguments.weights)
    place(model.module, choose_device(arguments.device))
    spec = arguments.data or model.data
    if spec is None:
        raise InputError(f"Say which data to evaluate {arguments.model} on with --data.")
    return model, load_data(spec)


def _settings(arguments: argparse.Namespace) -> MeasurementSettings:
    from clado_core.networks.inference import choose_device, default_batch_size
    from clado_core.sensitivity import MeasurementSettings

    batch_size = arguments.batch_size or default_batch_size(choose_device(arguments.device))
    return MeasurementSettings(
        parse_bit_menu(arguments.bits),
        QuantizationScheme(arguments.granularity, act_bits=arguments.act_bits),
        loss=arguments.loss,
        batch_size=batch_size,
        baselines=MEASURED_ALONG,
    )


def _name(arguments: argparse.Namespace, model: LoadedModel, settings: MeasurementSettings) -> str:
    """Of the files: network, granularity, menu, and what is not the default."""
    parts = [model.name, arguments.granularity, "".join(map(str, settings.bit_widths))]
    parts += [] if arguments.act_bits is None else [f"a{arguments.act_bits}"]
    parts += [] if arguments.loss == "ce" else [arguments.loss]
    parts += [] if arguments.layers == "all" else [f"{arguments.layers}-layers"]
    return "-".join(parts)


def _artifacts(
    arguments: argparse.Namespace,
    name: str,
    model: LoadedModel,
    samples: Samples,
    settings: MeasurementSettings,
) -> tuple[SensitivityMatrix, SensitivityMatrix]:
    """The pairwise matrix and the logit-gram one."""
    from clado_core.evaluation.evidence_run import measured

    gram = replace(settings, estimator="logit-gram", baselines=())
    found = []
    for each, how in ((name, settings), (name + GRAM, gram)):
        with ProgressLine(f"Measuring {each}", "losses") as line:
            matrix = measured(
                arguments.out / f"{each}{SUFFIX}",
                model,
                samples,
                how,
                selection=arguments.layers,
                seed=arguments.seed,
                on_progress=line.update,
            )
        found.append(matrix)
    return found[0], found[1]


def _choices(
    arguments: argparse.Namespace,
    matrices: tuple[SensitivityMatrix, SensitivityMatrix],
    budgets: list[float],
    measuring: tuple[LoadedModel, Samples, Path | None],
) -> list[Choice]:
    from clado_core.evaluation.evidence_run import refined, shifts_of

    matrix, (model, samples, cache) = matrices[0], measuring
    artifact = arguments.out / f"{matrix.name}{SUFFIX}"
    with ProgressLine(f"Certificate of {matrix.name}", "sizes") as line:
        shifts = shifts_of(artifact, matrix, on_progress=line.update)
    with ProgressLine(f"Allocating {matrix.name}", "budgets") as line:
        choices = choose(
            *matrices,
            budgets,
            shifts=shifts,
            time_limit_s=arguments.time_limit,
            on_progress=line.update,
        )
    if arguments.refine:
        with ProgressLine(f"Refining {matrix.name}", "budgets") as line:
            choices += refined(
                model,
                matrix,
                samples,
                budgets,
                k=arguments.refine,
                shifts=shifts,
                cache=cache,
                on_progress=line.update,
            )
    return choices


def _with_unproven(choices: list[Choice], stored: Evidence) -> list[Choice]:
    """Choices as they were stored where time ran out: solving again may take another as good."""
    unproven = {
        (each.choice.method, each.choice.budget): each.choice
        for each in stored.outcomes
        if each.choice.status in (SolveStatus.TIME_LIMIT.code, SolveStatus.GAP_LIMIT.code)
    }
    return [unproven.get((each.method, each.budget), each) for each in choices]


def _matches(evidence: Evidence, stored: Evidence) -> bool:
    """Whether the redone outcomes are those that were stored."""
    before = {(each.choice.method, each.choice.budget): each for each in stored.outcomes}
    pairs = [(each, before[each.choice.method, each.choice.budget]) for each in evidence.outcomes]
    return evidence.digests == stored.digests and all(
        a.choice.bits == b.choice.bits
        and abs(a.top1 - b.top1) <= TOP1_TOLERANCE
        and abs(a.loss - b.loss) < LOSS_TOLERANCE
        and abs(a.sensitivity_loss - b.sensitivity_loss) < LOSS_TOLERANCE
        for a, b in pairs
    )

"""Measure, allocate by every method, and evaluate on held-out images: one network, one setting.

Example:
  python -m clado_core evidence cifar10-resnet20 --data cifar10:FOLDER \\
      --granularity per-tensor --bits 2,4,8 --out assets
  python -m clado_core evidence cifar10-resnet20 --data cifar10:FOLDER \\
      --granularity per-tensor --bits 2,4,8 --out assets --reproduce 2.5

Artifacts that are there are used if they were measured in the same way; losses and evaluations of a
stopped run are kept in *.partial files beside them, and the same command continues.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clado_core.cli.measurement_options import (
    DEFAULT_SAMPLES,
    add_bits,
    add_device,
    add_layers,
    add_loss,
    add_network,
    add_noise,
    add_seed,
)
from clado_core.cli.problem_options import positive_count
from clado_core.cli.progress import ProgressLine
from clado_core.errors import InputError
from clado_core.evidence import METHODS, Evidence, load_evidence, save_evidence
from clado_core.evidence.record import SUFFIX
from clado_core.evidence.reproduction import compare
from clado_core.files.artifact import partial_path
from clado_core.records.calibration import IMAGES
from clado_core.records.names import (
    ADAROUND,
    CLADO,
    MEASURED_ALONG,
    REFINED,
    ROUNDINGS,
    Rounding,
)
from clado_core.records.scheme import QuantizationScheme, parse_bit_menu

if TYPE_CHECKING:
    from clado_core.evaluation.evidence_task import EvidenceTask
    from clado_core.networks.load import LoadedModel
    from clado_core.sensitivity import MeasurementSettings

BUDGETS = "2.1,2.25,2.5,2.75,3,3.25,3.5,4,4.5,5,6"
DEFAULT_REFINE = 8
RANKED = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``evidence``."""
    add = parser.add_argument
    add_network(parser)
    add("--data", help="as for measure; its held-out part is evaluated")
    add_bits(parser)
    add("--samples", type=int, default=DEFAULT_SAMPLES, help="size of the sensitivity set")
    add("--batch-size", type=positive_count, help="samples per forward (default: as of measure)")
    add_device(parser)
    add_noise(parser)
    add_seed(parser)
    add("--budgets", default=BUDGETS, help=f"average bits per weight (default: {BUDGETS})")
    add(
        "--refine",
        type=int,
        metavar="K",
        help=f"also choose by measured loss, of the K best (default: {DEFAULT_REFINE}, or as "
        "stored with --reproduce; 0: do not)",
    )
    add(
        "--repair",
        choices=ROUNDINGS,
        help="also measure with, choose for and ship weights rounded so, with statistics that fit; "
        f"nearest: do not (default: {ADAROUND}, or as stored with --reproduce)",
    )
    add("--repair-images", type=positive_count, default=IMAGES, help=f"default: {IMAGES}")
    add(
        "--rank",
        type=int,
        default=RANKED,
        metavar="N",
        help=f"random assignments of one size to rank, 0 for none (default: {RANKED})",
    )
    add("--act-bits", type=int, choices=(8, 4), help="quantize layers' inputs too (the paper: 8)")
    add_loss(parser)
    add_layers(parser)
    add("--time-limit", type=float, default=60.0, metavar="S", help="of each solve")
    add("--out", type=Path, required=True, help="folder of artifacts and evidence")
    add("--reproduce", type=float, metavar="AVG", help="redo one stored budget and compare")
    add("--methods", metavar="NAMES", help="run the choices of these alone, as in clado,uniform")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the evidence, or redo a part of it."""
    if not arguments.out.is_dir():
        raise InputError(f"There is no folder {arguments.out} for --out; create it first.")
    budgets = _budgets(arguments.budgets)
    model, settings = _model(arguments), _settings(arguments)
    name = _name(arguments, model, settings)
    path = arguments.out / f"{name}{SUFFIX}"
    stored = None if arguments.reproduce is None else load_evidence(path)
    task = _task(arguments, model, name, settings, arguments.repair or _stored_repair(stored))
    cache = partial_path(path) if stored is None else None
    budgets = budgets if stored is None else _stored_budget(stored, arguments.reproduce)
    k = _refine_k(arguments.refine, stored, budgets)
    evidence = replace(task.evidence(budgets, k, cache, stored), refine_k=k)
    result = evidence.to_json() | {"path": str(path)}
    if stored is not None:
        return result | asdict(compare(evidence, stored, budgets))
    save_evidence(evidence, path)
    partial_path(path).unlink(missing_ok=True)
    return result


def show(result: dict[str, Any]) -> str:
    """A table: budgets down, methods across."""
    lines = [
        f"{result['name']}: {result['float_top1']:.2%} without quantization, on "
        f"{result['n']:,} held-out images.",
        f"{'bits':>5}  {'method':<19} {'used':>6}  {'rounded':>7}  {'repaired':>8}  {'loss':>8}  "
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
            f"{choice['budget']:>5g}  {choice['method']:<19} {choice['avg_bits']:6.3f}  "
            f"{outcome['top1']:7.2%}  {_repaired(outcome):>8}  {outcome['loss']:8.4f}  "
            f"{choice['predicted_loss_increase']:>18.4f}  {against}"
        )
    correlations = {k: v for k, v in result["rank_correlation"].items() if v is not None}
    lines += [
        f"Rank correlation of predicted and measured loss increase, {which}: {value:.3f}"
        for which, value in correlations.items()
    ]
    lines += [
        f"{ranking['n']} random assignments of {ranking['avg_bits']:g} bits, repaired, on "
        f"{ranking['images']:,} images: rank correlation by the matrix "
        + ", ".join(f"{by} {value:.3f}" for by, value in ranking["by"].items() if value is not None)
        for ranking in result["rankings"]
    ]
    if "matches" in result:
        lines += _verdict(result)
    return "\n".join(lines)


def _repaired(outcome: dict[str, Any]) -> str:
    return "" if outcome["repaired"] is None else f"{outcome['repaired']['top1']:.2%}"


def _verdict(result: dict[str, Any]) -> list[str]:
    """Whether the redone rows are the stored ones; which are not, and which were not redone."""
    verdict = "equal the stored ones" if result["matches"] else "DIFFER from the stored ones"
    which = f": {', '.join(result['differing'])}" if result["differing"] else ""
    lines = [f"These numbers {verdict} in {result['path']}{which}."]
    if result["not_redone"]:
        lines.append(f"Not redone: {', '.join(result['not_redone'])}.")
    if REFINED in result["differing"] and result["stored_refine_k"] is None:
        lines.append(
            f"{REFINED} was redone with K = {result['refine_k']}, as the stored evidence does not "
            "say with which; --refine gives another."
        )
    return lines


def _model(arguments: argparse.Namespace) -> LoadedModel:
    from clado_core.networks.load import load_model
    from clado_core.networks.placement import choose_device, place

    model = load_model(arguments.model, arguments.weights)
    place(model.module, choose_device(arguments.device))
    return model


def _name(arguments: argparse.Namespace, model: LoadedModel, settings: MeasurementSettings) -> str:
    """Of the files: network, granularity, menu, and what is not the default."""
    parts = [model.name, arguments.granularity, "".join(map(str, settings.bit_widths))]
    parts += [] if arguments.act_bits is None else [f"a{arguments.act_bits}"]
    parts += [] if arguments.loss == "ce" else [arguments.loss]
    parts += [] if arguments.layers == "all" else [f"{arguments.layers}-layers"]
    return "-".join(parts)


def _task(
    arguments: argparse.Namespace,
    model: LoadedModel,
    name: str,
    settings: MeasurementSettings,
    rounding: Rounding,
) -> EvidenceTask:
    """All that is asked for, with the data opened."""
    from clado_core.evaluation.evidence_task import EvidenceOptions, EvidenceTask
    from clado_core.networks.measured import open_data
    from clado_core.networks.placement import fit_memory

    options = EvidenceOptions(
        arguments.out,
        _methods(arguments.methods),
        arguments.layers,
        arguments.seed,
        arguments.time_limit,
        rounding,
        arguments.repair_images,
        arguments.rank,
        arguments.allow_noise,
    )
    spec = arguments.data or model.data
    if spec is None:
        raise InputError(f"Say which data to evaluate {arguments.model} on with --data.")
    source = open_data(model, spec)
    samples = source.sensitivity_set(arguments.samples, seed=arguments.seed)
    fit_memory(model.module, samples.x)
    return EvidenceTask(options, model, source, samples, settings, name, ProgressLine)


def _settings(arguments: argparse.Namespace) -> MeasurementSettings:
    from clado_core.networks.placement import choose_device, default_batch_size
    from clado_core.sensitivity import MeasurementSettings

    batch_size = arguments.batch_size or default_batch_size(choose_device(arguments.device))
    return MeasurementSettings(
        parse_bit_menu(arguments.bits),
        QuantizationScheme(arguments.granularity, act_bits=arguments.act_bits),
        loss=arguments.loss,
        batch_size=batch_size,
        baselines=MEASURED_ALONG,
        allow_noise=arguments.allow_noise,
    )


def _methods(text: str | None) -> tuple[str, ...]:
    methods = METHODS if text is None else tuple(name.strip() for name in text.split(","))
    for name in methods:
        if name not in METHODS:
            raise InputError(f"There is no method '{name}': choose among {', '.join(METHODS)}.")
    return methods


def _stored_repair(stored: Evidence | None) -> Rounding:
    """How to repair where nobody says: as stored, and adaround for new evidence."""
    if stored is None:
        return "adaround"
    return "nearest" if stored.repair is None else stored.repair.rounding


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


def _refine_k(asked: int | None, stored: Evidence | None, budgets: list[float]) -> int:
    """K of the refined rows: as asked for, and when redone, as stored; 0 where none is stored."""
    if stored is None:
        return DEFAULT_REFINE if asked is None else asked
    if not any(each.choice.budget in budgets for each in stored.of(REFINED)):
        return 0
    if None not in (asked, stored.refine_k) and asked not in (0, stored.refine_k):
        raise InputError(
            f"The stored row was refined with K = {stored.refine_k}, not {asked}: leave --refine "
            "out, or give --refine 0 not to redo it."
        )
    known = stored.refine_k if asked is None else asked
    return DEFAULT_REFINE if known is None else known

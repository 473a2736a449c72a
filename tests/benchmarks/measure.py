"""Benchmark of measuring, as ratios within one run against the loops that people write.

Runs on ResNet-20 and CIFAR-10: with --weights, with the trained weights that ship, or trained
briefly here (kept in --cache, like unfinished measurements). Without the images, which are looked
for in shared/data beside the project, the built-in digits network is measured instead.

Example:
  python -m tests.benchmarks.measure --parts timing,estimators,scaling,memory
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F

from clado_core.data.sources import DataSource, Samples, load_data
from clado_core.networks.discovery import find_layers
from clado_core.networks.inference import cross_entropy, make_batches, measuring
from clado_core.networks.load import load_model
from clado_core.networks.zoo.cifar_resnet import build
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.quantization.weights import fake_quantize
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.sensitivity import MeasurementSettings, forecast, measure
from clado_core.sensitivity.adaptive import N_BUDGETS, budgets
from clado_core.sensitivity.plan import pairwise_plan
from clado_core.sensitivity.schedule import scheduled_cost
from clado_core.sensitivity.suffix import prepare_runner
from clado_core.sensitivity.workbench import Workbench
from clado_core.solvers.local_search import LocalSearchSolver

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT.parent / "shared" / "data"
SHIPPED = ROOT / "assets" / "cifar10-resnet20.safetensors"
MENU = (2, 4, 8)
ESTIMATORS = ("pairwise", "adaptive", "calibrated", "logit-gram", "block", "hvp")
REGIMES = {"mostly 4/8": (0.1, 0.45, 0.45), "mixed": (1, 1, 1), "mostly 2/4": (0.45, 0.45, 0.1)}
PER_REGIME = 60
Network = tuple[nn.Module, LayerTable, Samples]


def main(arguments: Iterable[str] | None = None) -> dict[str, Any]:
    """Run the parts; the table goes to standard error, one line of JSON to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default="timing,scaling,memory,estimators")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument(
        "--timing-samples", type=int, default=64, help="a forward of the authors' loop has 64"
    )
    parser.add_argument("--stride", type=int, default=30, help="time every k-th candidate's pairs")
    parser.add_argument("--repeats", type=int, default=3, help="timings, of which the best counts")
    parser.add_argument("--weights", type=Path, help=".safetensors of the ResNet-20")
    parser.add_argument("--epochs", type=int, default=4, help="of training where there are images")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "clado-bench")
    parser.add_argument("--peak-of", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(None if arguments is None else list(arguments))
    options.cache.mkdir(parents=True, exist_ok=True)
    if options.peak_of:
        print(json.dumps(_peak(options)))
        return {}
    parts: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "timing": timing,
        "scaling": scaling,
        "memory": memory,
        "estimators": estimators,
    }
    result: dict[str, Any] = {"machine": _machine()}
    for name in options.parts.split(","):
        result[name] = parts[name](options)
        sys.stderr.write(f"\n{name}\n{json.dumps(result[name], indent=2)}\n")
    print(json.dumps(result))
    return result


def timing(options: argparse.Namespace) -> dict[str, Any]:
    """Multiply-adds and wall time of pairwise against both naive loops, and equality of numbers.

    Wall times are of one batch, of which a larger sensitivity set has several, and of the pairs
    of every ``stride``-th candidate. How much less these need by reuse is in the report beside
    how much less the whole plan needs, so that one can be scaled to the other.
    """
    model, layers, samples = _network(options, options.timing_samples)
    settings = MeasurementSettings(MENU, batch_size=options.timing_samples)
    cost = forecast(model, layers, samples, settings)
    gram = forecast(
        model, layers, samples, MeasurementSettings(MENU, batch_size=64, estimator="logit-gram")
    )
    plan = pairwise_plan(len(layers), len(MENU))
    groups = [
        [u for u in plan if len(u) == 2 and u[0] == a]
        for a in range(options.stride // 2, len(layers) * len(MENU), options.stride)
    ]
    loops = {
        "reuse": lambda units: _bench_losses(model, layers, samples, units, reuse=True),
        "in place": lambda units: _bench_losses(model, layers, samples, units, reuse=False),
        "deep copy": lambda units: _deep_copies(model, layers, samples, units, search=False),
        "deep copy, scales searched": lambda units: _deep_copies(
            model, layers, samples, units, search=True
        ),
    }
    seconds: dict[str, np.ndarray] = {name: np.zeros(2) for name in loops}
    difference = 0.0
    # Loops take turns on each group, and the best of their turns counts: other work on the machine
    # slows a turn by any factor, where one of two threads has to wait for the other.
    for group in (g for g in groups if g):
        found, best = {}, {name: np.full(2, np.inf) for name in loops}
        for name, loop in list(loops.items()) * options.repeats:
            found[name], spent = loop(group)
            best[name] = np.minimum(best[name], spent)
        seconds = {name: seconds[name] + best[name] for name in loops}
        difference = max(
            difference, *(np.abs(found["reuse"] - losses).max() for losses in found.values())
        )
    timed = [unit for group in groups for unit in group]
    return {
        "multiply_adds_vs_naive": cost.macs / cost.naive_macs,
        "multiply_adds_vs_naive_of_timed": _share_of_naive(model, layers, samples, timed),
        "logit_gram_cheaper_than_pairwise": cost.macs / gram.macs,
        "losses_timed": sum(map(len, groups)),
        "wall_and_cpu_seconds": {name: spent.tolist() for name, spent in seconds.items()},
        "wall_and_cpu_gain": {
            name: (spent / seconds["reuse"]).tolist() for name, spent in seconds.items()
        },
        "largest_difference": difference,
    }


def _share_of_naive(
    model: nn.Module, layers: LayerTable, samples: Samples, units: list[Any]
) -> float:
    scheme = MeasurementSettings().scheme
    with measuring(model), WeightSwap(model, layers, scheme) as swap:
        runner = prepare_runner(
            model, layers, samples.x, swap, n_bits=len(MENU), lowest_bits=MENU[0]
        )
    per_step = runner.profile.macs
    cost = scheduled_cost(units, runner.starts, len(MENU), per_step)
    return cost / (len(units) * int(per_step.sum()))


def _bench_losses(
    model: nn.Module, layers: LayerTable, samples: Samples, units: list[Any], *, reuse: bool
) -> tuple[np.ndarray, np.ndarray]:
    settings = MeasurementSettings(MENU, batch_size=len(samples), reuse=reuse)
    batches = make_batches(model, samples, len(samples))
    with measuring(model), WeightSwap(model, layers, settings.scheme) as swap:
        keys = {unit: k for k, unit in enumerate(units)}
        bench = Workbench(
            model, layers, batches, settings, loss=cross_entropy, swap=swap, keys=keys
        )
        for unit in {(a,) for u in units for a in u}:  # both loops start with scales searched
            swap.apply({unit[0] // len(MENU): MENU[unit[0] % len(MENU)]})
        start = _clocks()
        losses = bench.losses(units)
        return np.array([losses[u].sum() for u in units]), _clocks() - start


def _deep_copies(
    model: nn.Module, layers: LayerTable, samples: Samples, units: list[Any], *, search: bool
) -> tuple[np.ndarray, np.ndarray]:
    """What the authors' code does: a copy of the network for every loss."""
    scheme, found = MeasurementSettings().scheme, []
    (batch,) = make_batches(model, samples, len(samples))
    known: dict[int, torch.Tensor] = {}

    def weight(a: int) -> torch.Tensor:
        if search or a not in known:
            layer = layers.layers[a // len(MENU)]
            known[a] = fake_quantize(
                model.get_parameter(layer.parameter), MENU[a % len(MENU)], scheme
            )
        return known[a]

    for unit in units:
        for a in unit:
            weight(a)
    start = _clocks()
    with measuring(model):
        for unit in units:
            copied = copy.deepcopy(model)
            for a in unit:
                parameter = copied.get_parameter(layers.layers[a // len(MENU)].parameter)
                parameter.data.copy_(weight(a))
            outputs = copied(batch.x)
            found.append(float(cross_entropy(outputs, batch.y, outputs)))
    return np.array(found), _clocks() - start


def _clocks() -> np.ndarray:
    """Wall time, and processor time, which other work on the machine hardly changes."""
    return np.array([time.perf_counter(), time.process_time()])


class _Pair(nn.Module):
    """A block of two layers of equal cost."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.layers(x))


def scaling(options: argparse.Namespace) -> dict[str, Any]:
    """Exponents of losses and multiply-adds against the number of layers, all of equal cost.

    With more layers each forward costs more too: that is one of the powers of multiply-adds.
    """
    sizes = (10, 20, 40, 80)
    counted: dict[str, dict[str, list[float]]] = {}
    for name in ESTIMATORS:
        counted[name] = {"losses": [], "multiply-adds": []}
        for size in sizes:
            body = [_Pair() for _ in range(size // 2)]
            model = nn.Sequential(nn.Sequential(*body), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            samples = Samples(torch.zeros(2, 4, 4, 4), torch.zeros(2, dtype=torch.int64), "zeros")
            layers = find_layers(model, samples.x[:1])
            cost = forecast(model, layers, samples, MeasurementSettings(MENU, estimator=name))
            counted[name]["losses"].append(cost.forwards)
            counted[name]["multiply-adds"].append(cost.macs)
    exponents = {
        name: {
            what: float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
            for what, values in costs.items()
        }
        for name, costs in counted.items()
    }
    return {"layers": sizes, "exponent": exponents}


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of a process above the loaded network, against the bound it was given."""
    found = {}
    for bound in (45e6, 60e6, 100e6):
        command = [sys.executable, "-m", "tests.benchmarks.measure", "--peak-of", str(bound)]
        done = subprocess.run(
            [*command, "--cache", str(options.cache), *_weights(options)],
            stdout=subprocess.PIPE,
            check=True,
        )
        found[f"bound {bound / 1e6:.0f} MB"] = json.loads(done.stdout)
    return found


def _weights(options: argparse.Namespace) -> list[str]:
    return ["--weights", str(options.weights)] if options.weights else []


def _peak(options: argparse.Namespace) -> dict[str, float]:
    model, layers, samples = _network(options, options.batch_size)
    settings = MeasurementSettings(
        MENU, batch_size=options.batch_size, estimator="block", memory_bytes=int(options.peak_of)
    )
    # A first measurement on two samples loads what torch loads once.
    few = Samples(samples.x[:2], samples.y[:2], samples.name)
    measure(model, layers, few, settings=settings)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    measure(model, layers, samples, settings=settings)
    used = _status("VmHWM") - before
    return {"peak_mb": used / 1e6, "share_of_bound": used / options.peak_of}


def _status(field: str) -> float:
    """Bytes that Linux reports of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def estimators(options: argparse.Namespace) -> dict[str, Any]:
    """Cost of each estimator, its correlation with true losses, and adaptive's decisions."""
    model, layers, samples = _network(options, options.samples)
    matrices, report = {}, {}
    for name in ESTIMATORS:
        baselines = ("hawq", "mpqco") if name == "hvp" else ()
        settings = MeasurementSettings(
            MENU, batch_size=options.batch_size, estimator=name, baselines=baselines
        )
        start = time.perf_counter()
        journal = options.cache / f"{name}-{options.samples}.partial"
        matrices[name] = measure(model, layers, samples, settings=settings, journal=journal)
        report[name] = {"seconds": time.perf_counter() - start}
        report[name] |= dict(matrices[name].provenance.details)
        sys.stderr.write(f"{name}: {report[name]}\n")
    matrices["psd"] = matrices["pairwise"].project_psd()
    matrices["diagonal"] = matrices["pairwise"].diagonal_only()
    for name, diagonal in matrices["hvp"].diagonals.items():
        matrices[name] = SensitivityMatrix(name, np.diag(diagonal.ravel()), layers, MENU)
    truth = _true_losses(model, layers, samples, options)
    for name, matrix in matrices.items():
        report.setdefault(name, {})["spearman"] = {
            regime: float(spearmanr([matrix.objective(b) for b in chosen], losses).statistic)
            for regime, (chosen, losses) in truth.items()
        }
    report["decisions"] = {
        name: _decisions(matrices["pairwise"], matrices[name])
        for name in ("adaptive", "calibrated", "logit-gram", "diagonal", "hawq", "mpqco")
    }
    return report


def _true_losses(
    model: nn.Module, layers: LayerTable, samples: Samples, options: argparse.Namespace
) -> dict[str, tuple[list[tuple[int, ...]], np.ndarray]]:
    rng = np.random.default_rng(7)
    drawn = {}
    for regime, odds in REGIMES.items():
        p = np.array(odds) / sum(odds)
        drawn[regime] = [
            tuple(rng.choice(MENU, p=p, size=len(layers)).tolist()) for _ in range(PER_REGIME)
        ]
    position = np.arange(len(layers)) * len(MENU)
    unit = {
        b: tuple((position + [MENU.index(x) for x in b]).tolist())
        for c in drawn.values()
        for b in c
    }
    settings = MeasurementSettings(MENU, batch_size=options.batch_size)
    batches = make_batches(model, samples, options.batch_size)
    with measuring(model), WeightSwap(model, layers, settings.scheme) as swap:
        keys = {u: k for k, u in enumerate(dict.fromkeys(unit.values()))}
        bench = Workbench(
            model, layers, batches, settings, loss=cross_entropy, swap=swap, keys=keys
        )
        losses = bench.losses(list(keys))
    return {
        regime: (chosen, np.array([losses[unit[b]].sum() for b in chosen]))
        for regime, chosen in drawn.items()
    }


def _decisions(exact: SensitivityMatrix, cheap: SensitivityMatrix) -> dict[str, Any]:
    """Objective on the exact matrix of what the cheap one chooses, above the best, per budget."""
    solver, above = LocalSearchSolver(), []
    for mine, theirs in zip(budgets(exact), budgets(cheap), strict=True):
        best = solver.solve(mine).objective
        chosen = exact.objective(solver.solve(theirs).assignment.bits)
        above.append((chosen - best) / abs(best))
    within = int(sum(x <= 0.01 for x in above))
    return {"within_1_percent": f"{within} of {N_BUDGETS}", "worst": float(max(above))}


def _network(options: argparse.Namespace, n: int) -> Network:
    if not (IMAGES / "cifar10_jpeg_train.npz").is_file():
        sys.stderr.write(f"No CIFAR-10 in {IMAGES}: the built-in digits network is measured.\n")
        model, samples = load_model("digits-resnet").module, load_data("digits").split("train")
        samples = Samples(samples.x[:n], samples.y[:n], samples.name)
        return model, find_layers(model, samples.x[:1]), samples
    source = load_data(f"cifar10:{IMAGES}")
    torch.manual_seed(0)
    model, weights = build(), options.weights or SHIPPED
    if not weights.is_file():
        weights = options.cache / "resnet20.safetensors"
        if not weights.is_file():
            _train(model, source, options.epochs)
            save_file(model.state_dict(), weights)
    model.load_state_dict(load_file(weights))
    samples = source.sensitivity_set(n, seed=0)
    return model.eval().requires_grad_(False), find_layers(model, samples.x[:1]), samples


def _train(model: nn.Module, source: DataSource, epochs: int, size: int = 128) -> None:
    """A few epochs on 10,000 images: enough that layers differ, whatever the accuracy."""
    images = source.sensitivity_set(10_000, seed=1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
    steps = epochs * (len(images) // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=steps)
    for step in range(steps):
        chosen = torch.randint(0, len(images), (size,))
        x = images.x[chosen].flip(3) if step % 2 else images.x[chosen]
        loss = F.cross_entropy(model.train()(x), images.y[chosen])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()

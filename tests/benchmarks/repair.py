"""What repairing takes: every step run as a user would run it, in CPU seconds of its command.

Ratios are to measuring single layers of the same network (one loss each on the sensitivity set, by
rounding to nearest), the unit in which a user knows the cost of a network.

Example:
  python -m tests.benchmarks.repair cifar10-resnet20 --data cifar10:FOLDER --out repair-cost.json
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
REFERENCE_LOSSES = 300
"""60 single layers, five times: what a database of candidates may take."""


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds of a command and its processes, and wall seconds."""

    cpu_s: float
    wall_s: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(max(0.0, self.cpu_s - other.cpu_s), max(0.0, self.wall_s - other.wall_s))


def main(arguments: Iterable[str] | None = None) -> dict[str, Any]:
    """Run the steps; a table goes to standard error, one line of JSON to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", nargs="?", default="digits-resnet")
    parser.add_argument("--data", help="where its images are, such as cifar10:FOLDER")
    parser.add_argument("--granularity", default="per-tensor")
    parser.add_argument("--bits", default="2,4,8")
    parser.add_argument("--avg-bits", default="2.5", help="of the choice that is repaired")
    parser.add_argument("--samples", default="1024")
    parser.add_argument("--out", type=Path, help="also write the JSON there")
    options = parser.parse_args(None if arguments is None else list(arguments))
    with tempfile.TemporaryDirectory() as folder:
        result = {"machine": _machine(), "network": options.network, **_steps(options, folder)}
    for step in result["steps"]:
        sys.stderr.write(
            f"{step['name']:<58} {step['cpu_s']:8.1f} CPU s {step['wall_s']:8.1f} s "
            f"{step['losses']:8.0f} single losses\n"
        )
    text = json.dumps(result)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(text)
    return result


def _steps(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    data = ["--data", options.data] if options.data else []
    measured = ["--granularity", options.granularity, "--bits", options.bits, *data]
    measured += ["--samples", options.samples, "--loss", "kl", "--estimator", "calibrated"]
    start = _run("models")[0]
    spent: dict[str, Spent] = {}
    losses, plain = 0, Spent(0, 0)
    for rounding in ("nearest", "gptq", "adaround"):
        out = f"{folder}/{rounding}.clado"
        words = ["measure", options.network, *measured, "--rounding", rounding, "--out", out]
        took, said = _run(*words)
        if rounding == "nearest":
            losses, plain = said["forwards"], took
            spent[f"{losses} losses: single layers and some pairs"] = took - start
        else:
            spent[f"database of candidates, {rounding}"] = took - plain
    artifact = f"{folder}/adaround.clado"
    chosen = Path(folder, "chosen.json")
    chosen.write_text(json.dumps(_run("solve", artifact, "--avg-bits", options.avg_bits)[1]))
    repair = ["repair", artifact, "--assignment", str(chosen), *data]
    repaired: Spent | None = None
    # Where the measurement was calibrated with other images, the first repair rounds with its own.
    _run(*repair, "--out", f"{folder}/repaired.safetensors")
    for name, more in (
        ("repair of a choice from the database", []),
        ("reconstruction of its blocks", ["--reconstruct"]),
        ("one epoch of fine-tuning", ["--finetune", "1"]),
    ):
        took = _run(*repair, "--out", f"{folder}/repaired.safetensors", *more)[0]
        spent[name] = took - (repaired or start)
        repaired = repaired or took
    one = next(iter(spent.values())).cpu_s / losses
    steps = [
        {"name": name, "cpu_s": each.cpu_s, "wall_s": each.wall_s, "losses": each.cpu_s / one}
        for name, each in spent.items()
    ]
    return {"settings": measured[:4], "reference_losses": REFERENCE_LOSSES, "steps": steps}


def _run(*words: str) -> tuple[Spent, dict[str, Any]]:
    """A command, what it took, and what it says."""
    before, began = _children_s(), time.perf_counter()
    command = [sys.executable, "-m", "clado_core", *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    spent = Spent(_children_s() - before, time.perf_counter() - began)
    return spent, json.loads(done.stdout)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _machine() -> dict[str, Any]:
    return {"python": platform.python_version(), "processor": platform.machine()}


if __name__ == "__main__":
    main()

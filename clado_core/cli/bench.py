"""Run the benchmarks: ratios against the baselines, measured in one run on this machine.

solve: every tier of the solver against CVXPY's quad_form with SCIP, on real matrices; with --peers
HiGHS, CP-SAT, SCIP, CVXPY with SCIP, toulbar2 and Gurobi, whichever are installed, against ours.
measure: the estimators against the naive loops. repair: what each of its steps takes, in losses of
single layers. dashboard: what a person at the page waits for.
large: the same for networks of up to 200 layers.

Example:
  python -m clado_core bench solve
  python -m clado_core bench solve --peers --out peers.json
  python -m clado_core bench --json measure --parts timing
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from clado_core.errors import InputError

ROOT = Path(__file__).resolve().parent.parent.parent
BENCHMARKS = ("solve", "measure", "repair", "dashboard", "large")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument(
        "options",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="passed on to the benchmark: see --help after its name",
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start the benchmark as its own process; its table goes to standard error."""
    module = f"tests.benchmarks.{arguments.benchmark}"
    # Those after the benchmark's name, too, where ours is meant: no benchmark has a --json.
    options = [option for option in arguments.options if option not in ("--", "--json")]
    arguments.json = arguments.json or "--json" in arguments.options
    if not (ROOT / "tests" / "benchmarks" / f"{arguments.benchmark}.py").is_file():
        raise InputError(
            "The benchmarks are part of the project's repository, and this is an installed "
            "package: run them from a clone."
        )
    done = subprocess.run(
        [sys.executable, "-m", module, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if {"-h", "--help"} & set(options):
        print(done.stdout, end="")
        raise SystemExit(done.returncode)
    if done.returncode:
        raise InputError(f"The benchmark {arguments.benchmark} stopped; it says why above.")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def show(result: dict[str, Any]) -> str:
    """Where the benchmark has printed its table, only what it ran on is left to say."""
    return f"Machine: {json.dumps(result.get('machine'))}. Use --json for every number."

"""Writes the generated blocks of README.md: ``python -m tests.readme``; ``--check`` only compares.

Every number in the README comes from here, and everything here is measured on the shipped files.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import clado_core as cc
from clado_core.networks.builtin import BUILTIN_NETWORKS
from clado_core.problem.allocation_problem import bits_for_average
from tests.evidence_table import accuracy_table, stored_evidence, summary_table, verdict
from tests.peers_table import peers_table
from tests.shipped_table import ranking_table, shipped_table, shipped_verdict, with_repair
from tests.test_architecture import TORCH_ROOMS

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "assets"
REPAIR_IMAGES = 512
BUDGETS = (2.5, 3.0, 4.0)
EVIDENCE_PAGE = "evidence.md"
EVIDENCE_HEAD = """# Measured on CIFAR-10: every method, budget by budget

Written by `python -m tests.readme` from `*.evidence.json`; top-1 on all 10,000 test images, which
were used to choose nothing. "(repaired)" stands by methods that choose on a matrix measured with
the candidates that a repair ships; the others know weights rounded to nearest.

In the tables of rounded networks ▼ marks choices significantly worse than CLADO's, ▲ better ones
(McNemar's exact test on the same images, p < 0.05). A budget is tight where diagonal or uniform
loses 2 points of top-1 or more; a difference is the mean over those, in points, and in brackets
stands at how many of all budgets it is significantly above : below zero. The last column is the
rank correlation of predicted and measured loss along CLADO's choices, on test images (in brackets:
on those of the sensitivity set)."""


def networks() -> str:
    """What the built-in networks are, and what quantizing them does to held-out digits."""
    from clado_core.data.sources import load_data
    from clado_core.evaluation.evaluate import evaluate
    from clado_core.networks.load import load_model

    held_out = load_data("digits").split("held-out")
    about = [
        "| network | searched layers | weights | size in float32 | held-out images right |",
        "|---|---|---|---|---|",
    ]
    measured = [
        "| network | average bits | CLADO | diagonal only | uniform |",
        "|---|---|---|---|---|",
    ]
    for name in [name for name, network in BUILTIN_NETWORKS.items() if network.data == "digits"]:
        matrix, model = cc.load(ASSETS / f"{name}.clado"), load_model(name)
        top1 = {}
        for avg_bits in BUDGETS:
            problem = cc.AllocationProblem(
                matrix, budget_bits=bits_for_average(avg_bits, matrix.layers)
            )
            for method in ("clado", "diagonal", "uniform"):
                chosen = cc.allocate(problem, method=method).assignment
                result = evaluate(model.module, chosen, held_out)
                top1[method] = f"{result.top1:.1%} ({chosen.avg_bits:.2f} bits)"
            measured.append(f"| {name} | {avg_bits:g} | " + " | ".join(top1.values()) + " |")
        about.append(_about(name, matrix, result.float_top1, len(held_out)))
    for name, known in {each.network: each for each in stored_evidence(ASSETS)}.items():
        matrix = cc.load(ASSETS / f"{known.name}.clado")
        about.append(_about(name, matrix, known.float_top1, known.n))
    return "\n".join(
        [
            *about,
            "",
            f"Measured top-1 on the {len(held_out)} held-out digits, each method within the same "
            "budget (in brackets: the average bits it used; uniform can only use the menu's):",
            "",
            *measured,
        ]
    )


def _about(name: str, matrix: cc.SensitivityMatrix, top1: float, n: int) -> str:
    float_mb = (4 * matrix.layers.total_weights + matrix.layers.other_bytes) / 1e6
    return (
        f"| {name} | {matrix.n_layers} | {matrix.layers.total_weights:,} | {float_mb:.3f} MB "
        f"| {top1:.1%} of {n:,} |"
    )


def exports() -> str:
    """What each target keeps, and packed files against their promise."""
    from clado_core.exports import FORMATS, Configuration, ExportJob, load_network

    table = [
        "| `--format` | writes | loaded in the tests with |",
        "|---|---|---|",
        *(
            f"| {name} | {format.keeps} | {', '.join(format.checked_with) or 'nothing yet'} |"
            for name, format in FORMATS.items()
        ),
    ]
    sizes = [
        "| network | average bits | float32 | promised | packed file |",
        "|---|---|---|---|---|",
    ]
    for name in (n for n in BUILTIN_NETWORKS if (ASSETS / f"{n}.clado").is_file()):
        matrix = cc.load(ASSETS / f"{name}.clado")
        problem = cc.AllocationProblem(matrix, budget_bits=bits_for_average(4, matrix.layers))
        chosen = Configuration(matrix, cc.allocate(problem).assignment)
        file = FORMATS["safetensors"].contents(ExportJob(chosen, load_network(chosen)))
        float_bytes = 4 * matrix.layers.total_weights + matrix.layers.other_bytes
        sizes.append(
            f"| {name} | {chosen.assignment.avg_bits:.2f} | {float_bytes:,} bytes "
            f"| {chosen.assignment.size_bytes:,} bytes | {len(file):,} bytes |"
        )
    return "\n".join([*table, "", *sizes])


def evidence() -> str:
    """Measured accuracy of every method on the CIFAR-10 networks."""
    several = stored_evidence(ASSETS)
    return "\n".join(
        [shipped_table(several), "", shipped_verdict(several), "", ranking_table(several)]
    )


def all_evidence() -> str:
    """The page of every number: all methods, budget by budget, rounded and repaired."""
    several = stored_evidence(ASSETS)
    parts = [
        EVIDENCE_HEAD,
        "## As shipped: every choice repaired",
        accuracy_table(with_repair(several), repaired=True),
        "## Rounded to nearest",
        summary_table(several),
        verdict(several),
        accuracy_table(several),
    ]
    return "\n\n".join(parts) + "\n"


def rooms() -> str:
    """The rooms of both packages, as their docstrings describe them."""
    table = ["| room | what happens there |", "|---|---|"]
    for package in ("clado_core", "dashboard"):
        for folder in sorted((ROOT / package).iterdir()):
            if not any(folder.glob("*.py")):
                continue
            in_torch = package == "clado_core" and folder.name in TORCH_ROOMS
            room = f"`{package}/{folder.name}/`" + (", **torch**" if in_torch else "")
            table.append(f"| {room} | {_first_sentence(folder)} |")
    return "\n".join(table)


def _first_sentence(folder: Path) -> str:
    """Of a package's docstring; of a folder that is no package, what Streamlit takes it for."""
    package = folder / "__init__.py"
    if not package.exists():
        return "The pages, laid out top to bottom."
    text = ast.get_docstring(ast.parse(package.read_text())) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("``", "`")


def repair() -> str:
    """What repairing is worth on held-out digits, by the quick way."""
    from clado_core.repairs.repair import halves
    from clado_core.repairs.repair import repair as repaired_of

    digits = cc.load_data("digits")
    held_out, images = digits.split("held-out"), digits.sensitivity_set(REPAIR_IMAGES, seed=1)
    lines = [
        "| network | average bits | rounded to nearest | repaired (`--rounding gptq`) | float |",
        "|---|---|---|---|---|",
    ]
    for name in ("digits-resnet", "digits-vit"):
        matrix, network = cc.load(ASSETS / f"{name}.clado"), cc.load_model(name).module
        for avg_bits in (2.25, 2.5, 3.0):
            budget = bits_for_average(avg_bits, matrix.layers)
            chosen = cc.allocate(cc.AllocationProblem(matrix, budget_bits=budget)).assignment
            shipped = repaired_of(network, matrix, chosen, *halves(images), rounding="gptq")
            rounded, repaired = (cc.evaluate(network, c, held_out) for c in (chosen, shipped))
            lines.append(
                f"| {name} | {chosen.avg_bits:.2f} | {rounded.top1:.0%} | {repaired.top1:.0%} | "
                f"{rounded.float_top1:.0%} |"
            )
    return "\n".join(
        [
            *lines,
            "",
            f"Top-1 on {len(held_out)} held-out digits, CLADO's choices; {REPAIR_IMAGES // 2} "
            f"training images to repair with and {REPAIR_IMAGES // 2} to judge by, no labels.",
        ]
    )


def peers() -> str:
    """Other solvers against ours, from the stored run."""
    return peers_table(ASSETS / "peers.json")


def repair_cost() -> str:
    """What each step of a repair takes, as the benchmark has stored it."""
    stored = json.loads((ASSETS / "repair-cost.json").read_text())
    lines = [
        f"| {stored['network']}, {', '.join(stored['settings'][1::2])} | CPU seconds | "
        "in losses of single layers |",
        "|---|---|---|",
    ]
    lines += [
        f"| {step['name']} | {step['cpu_s']:.0f} | {step['losses']:.0f} |"
        for step in stored["steps"]
    ]
    return "\n".join(lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "networks": networks,
    "repair": repair,
    "repair-cost": repair_cost,
    "evidence": evidence,
    "exports": exports,
    "rooms": rooms,
    "peers": peers,
}


def filled(text: str) -> str:
    """The README with every generated block made anew."""
    for name, make in BLOCKS.items():
        block = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not block.search(text):
            raise ValueError(f"README.md has no block 'generated: {name}'.")
        content = make()
        text = block.sub(lambda found, content=content: f"{found[1]}{content}\n{found[2]}", text)
    return text


def main() -> int:
    """Write, or compare; returns the exit code."""
    readme = ROOT / "README.md"
    page = ASSETS / EVIDENCE_PAGE
    made = {readme: filled(readme.read_text()), page: all_evidence()}
    if "--check" in sys.argv:
        return int(any(path.read_text() != text for path, text in made.items()))
    for path, text in made.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

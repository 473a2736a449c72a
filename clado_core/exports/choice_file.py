"""Read a choice with what is known of it: how it was solved, and under which wishes and budgets."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clado_core.exports.configuration import Configuration
from clado_core.files.artifact import artifact_digest, load
from clado_core.files.assignment_file import read_assignment
from clado_core.problem.solution import Solution, SolveStatus, solution_of
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.scheme import bits_to_json, parse_bits


def read_configuration(artifact: str | Path, choice: str | Path, /) -> Configuration:
    """Put an artifact and a choice of its bit-widths together.

    Args:
        artifact: A ``.clado`` file.
        choice: JSON as ``read_assignment`` takes it: what ``solve --json`` prints, what the
            dashboard keeps, an exported configuration, or layer names with bit-widths alone.

    Raises:
        InputError: The choice does not fit the artifact.
        ArtifactError: The artifact cannot be used.
    """
    matrix = load(artifact)
    assignment = read_assignment(choice, matrix)
    facts = json.loads(Path(choice).read_text(encoding="utf-8"))
    return Configuration(
        matrix=matrix,
        assignment=assignment,
        solution=_solution(facts, matrix, assignment),
        artifact_sha256=artifact_digest(artifact),
        pins=_pins(facts, assignment),
        budgets=_budgets(facts),
        rules=_mapping(facts.get("rules")),
    )


def choice_contents(configuration: Configuration, /) -> dict[str, Any]:
    """As plain values, from which ``read_configuration`` makes the same configuration again."""
    solution = configuration.solution
    found = {} if solution is None else solution.to_json()
    chosen = configuration.assignment.by_layer()
    return {
        **found,
        "assignment": {name: bits_to_json(b) for name, b in chosen.items()},
        "pins": {name: bits_to_json(b) for name, b in configuration.pins.items()},
        "budgets": dict(configuration.budgets),
        "rules": dict(configuration.rules),
    }


def _solution(
    facts: Mapping[str, Any], matrix: SensitivityMatrix, assignment: Assignment
) -> Solution | None:
    """What solved it; None where that is not told, or the bit-widths were changed since."""
    nested = facts.get("solver")
    told: Mapping[str, Any] = nested if isinstance(nested, dict) else facts
    try:
        objective, bound = float(told["objective"]), told["bound"]
        found = solution_of(
            matrix,
            assignment,
            solver=str(told["solver"]),
            method=str(told["method"]),
            bound=-math.inf if bound is None else float(bound),
            otherwise=SolveStatus[str(told["status"]).upper()],
            runtime_s=float(told["runtime_s"]),
            first_answer_s=float(told.get("first_answer_s", told["runtime_s"])),
        )
    except (KeyError, TypeError, ValueError):
        return None
    same = math.isclose(found.objective, objective, rel_tol=1e-6, abs_tol=1e-9)
    return found if same else None


def _pins(facts: Mapping[str, Any], assignment: Assignment) -> dict[str, int]:
    rows = facts.get("layers")
    if isinstance(rows, list):
        pinned = {row["name"] for row in rows if row.get("pinned")}
        return {name: bits for name, bits in assignment.by_layer().items() if name in pinned}
    pins = facts.get("pins")
    return {n: parse_bits(str(b)) for n, b in pins.items()} if isinstance(pins, dict) else {}


def _budgets(facts: Mapping[str, Any]) -> dict[str, int]:
    totals = facts.get("totals")
    return _mapping(totals.get("budgets") if isinstance(totals, dict) else facts.get("budgets"))


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}

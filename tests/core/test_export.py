import csv
import io
import json
from pathlib import Path

import pytest

import clado_core as cc
from clado_core import export
from clado_core.assignment_file import read_assignment
from clado_core.errors import InputError
from clado_core.solvers.enumerate import EnumerationSolver


@pytest.fixture
def configuration(toy_matrix: cc.SensitivityMatrix) -> export.Configuration:
    problem = cc.AllocationProblem(toy_matrix, budget_bits=4 * toy_matrix.layers.total_weights)
    solution = EnumerationSolver().solve(problem)
    return export.Configuration(
        toy_matrix,
        solution.assignment,
        solution,
        artifact_sha256="ab" * 32,
        budgets=problem.budgets,
    )


def test_json_names_what_it_promises(configuration: export.Configuration) -> None:
    document = json.loads(export.FORMATS["json"].render(configuration))
    assert document["schema"] == "clado-mpq/1"
    assert {row["name"]: row["bits"] for row in document["layers"]} == (
        configuration.assignment.by_layer()
    )
    rows = sum(row["weight_bytes"] + row["scale_bytes"] for row in document["layers"])
    assert document["totals"]["bytes"] == rows + document["unquantized_bytes"]
    assert document["solver"]["status"] == "optimal"


def test_json_reads_back_to_the_same_assignment(
    configuration: export.Configuration, tmp_path: Path
) -> None:
    export.write(configuration, export.FORMATS["json"], tmp_path / "c.json")
    again = read_assignment(tmp_path / "c.json", configuration.matrix)
    assert again == configuration.assignment


def test_csv_has_one_row_per_layer(configuration: export.Configuration) -> None:
    text = export.FORMATS["csv"].render(configuration).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["bits"]) for row in rows] == list(configuration.assignment.bits)
    assert rows[0]["shape"] == "4x3x3x3"


def test_file_name_carries_model_bits_and_digest(configuration: export.Configuration) -> None:
    name = export.file_name(configuration, export.FORMATS["csv"])
    assert name == f"toy_{configuration.assignment.avg_bits:.2f}b_abababab.csv"


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(InputError, match="choose one of json, csv"):
        export.find_format("exe")

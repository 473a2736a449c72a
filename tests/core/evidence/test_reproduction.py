"""Redone rows against stored ones, on outcomes made by hand."""

import dataclasses
import json

import pytest

from clado_core.errors import ArtifactCorruptError
from clado_core.evidence import Choice, Evidence, Outcome, load_evidence, save_evidence
from clado_core.evidence.reproduction import compare, of_stored_rows


def outcome(method, budget, *, bits=(2, 4), status="optimal"):
    choice = Choice(method, budget, bits, 3.0, 100, 0.1, status)
    return Outcome(choice, 0.9, (0.88, 0.92), 0.3, 0.2, {})


ROWS = (
    outcome("clado", 3.0),
    outcome("clado-refined", 3.0, status="heuristic"),
    outcome("uniform", 4.0),
)
STORED = Evidence("net", "net", {"matrix": "a"}, 1000, 0.95, 0.1, ROWS, {}, refine_k=3)


def redone(field, value):
    """The refined row made again, but for one field of it or of its choice."""
    row = ROWS[1]
    if field in ("bits", "status"):
        row = dataclasses.replace(row, choice=dataclasses.replace(row.choice, **{field: value}))
    else:
        row = dataclasses.replace(row, **{field: value})
    return dataclasses.replace(STORED, outcomes=(ROWS[0], row))


@pytest.mark.parametrize(
    ("field", "value", "same"),
    [
        ("top1", 0.9004, True),
        ("top1", 0.8994, False),
        ("loss", 0.30009, True),
        ("loss", 0.2998, False),
        ("sensitivity_loss", 0.19991, True),
        ("sensitivity_loss", 0.2002, False),
        ("bits", (4, 2), False),
        ("status", "optimal", True),
    ],
)
def test_a_row_is_the_same_up_to_the_last_digits_of_sums(field, value, same):
    found = compare(redone(field, value), STORED, [3.0])
    assert found.matches == same and found.not_redone == ()
    assert found.differing == (() if same else ("clado-refined",))


def test_rows_of_other_files_do_not_match():
    other = dataclasses.replace(STORED, digests={"matrix": "b"})
    found = compare(other, STORED, [3.0, 4.0])
    assert not found.matches and found.differing == ()


def test_rows_that_were_not_redone_are_named_at_these_budgets_alone():
    part = dataclasses.replace(STORED, outcomes=ROWS[:1])
    found = compare(part, STORED, [3.0])
    assert found.matches and found.not_redone == ("clado-refined",)
    assert compare(part, STORED, [3.0, 4.0]).not_redone == ("clado-refined", "uniform")


@pytest.mark.parametrize("status", ["time_limit", "gap_limit", "optimal", "heuristic"])
def test_a_choice_is_taken_as_stored_only_where_its_solve_ran_out_of_time(status):
    row = outcome("clado", 3.0, bits=(4, 2), status=status)
    stored = dataclasses.replace(STORED, outcomes=(row, *ROWS[1:]))
    again = [each.choice for each in ROWS]
    others = [outcome("clado", 2.5).choice, outcome("hawq", 3.0).choice]
    found = of_stored_rows([*others, *again], stored, [3.0])
    unproven = status in ("time_limit", "gap_limit")
    assert found == [row.choice if unproven else again[0], again[1]]


def test_k_is_stored_and_evidence_of_before_it_was_can_be_read(tmp_path):
    file = tmp_path / "a.evidence.json"
    save_evidence(STORED, file)
    assert load_evidence(file) == STORED
    content = json.loads(file.read_text())
    del content["refine_k"]
    file.write_text(json.dumps(content))
    assert load_evidence(file) == dataclasses.replace(STORED, refine_k=None)
    del content["digests"]
    file.write_text(json.dumps(content))
    with pytest.raises(ArtifactCorruptError, match="a field cannot be used: 'digests'"):
        load_evidence(file)

"""What was measured is kept beside its artifact, whatever happens to the file."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import clado_core as cc
from clado_core.files.outcomes import keep_outcome, outcomes_path, read_outcomes
from clado_core.records.image_outcomes import ImageOutcomes
from clado_core.records.measured_choice import ImageSet, MeasuredChoice, RepairSettings
from tests.conftest import make_matrix

REPAIR = RepairSettings("gptq", 0, 256, "f" * 64)
WEIGHTS = "a" * 64


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, cc.SensitivityMatrix]:
    matrix = replace(make_matrix(), provenance=cc.Provenance(weights_sha256=WEIGHTS))
    cc.save_matrix(matrix, tmp_path / "toy.clado")
    return tmp_path / "toy.clado", matrix


def measured(
    bits: tuple[int, ...] = (2, 4, 8, 8), repair: RepairSettings | None = None, seed: int = 0
) -> MeasuredChoice:
    draw = np.random.default_rng(seed)
    outcomes, reference = (ImageOutcomes(draw.random(19) < p, 1 - p) for p in (0.6, 0.9))
    return MeasuredChoice(bits, ImageSet("toys", "held-out", "d" * 64), outcomes, reference, repair)


def same(a: MeasuredChoice, b: MeasuredChoice) -> bool:
    return a.to_json() == b.to_json()


def test_what_is_kept_is_read_back(stored: tuple[Path, cc.SensitivityMatrix]) -> None:
    path, matrix = stored
    assert read_outcomes(path, matrix) == ()
    kept = [measured(), measured(repair=REPAIR, seed=1), measured((2, 2, 2, 2), seed=2)]
    for each in kept:
        keep_outcome(path, matrix, each)
    found = read_outcomes(path, matrix)
    assert all(map(same, found, kept)) and len(found) == 3
    assert [each.measured_as for each in found] == ["rounded", "repaired", "rounded"]
    assert found[1].repair == REPAIR and found[0].drop == kept[0].drop
    assert outcomes_path(path).name == "toy.outcomes.jsonl"


def test_of_two_measurements_of_the_same_the_last_counts(
    stored: tuple[Path, cc.SensitivityMatrix],
) -> None:
    path, matrix = stored
    for seed in (1, 2):
        keep_outcome(path, matrix, measured(seed=seed))
    (found,) = read_outcomes(path, matrix)
    assert same(found, measured(seed=2))


def test_whatever_one_byte_becomes_only_its_line_is_lost(
    stored: tuple[Path, cc.SensitivityMatrix],
) -> None:
    path, matrix = stored
    kept = [measured(), measured((4, 4, 4, 4), REPAIR), measured((8, 8, 8, 8))]
    for each in kept:
        keep_outcome(path, matrix, each)
    file = outcomes_path(path)
    whole, draw = file.read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[draw.integers(len(whole))] = draw.integers(256)
        file.write_bytes(bytes(damaged))
        found = read_outcomes(path, matrix)
        assert len(found) >= len(kept) - 2  # a newline in place of a letter, or the reverse
        assert all(any(same(each, one) for one in kept) for each in found)


def test_cut_off_anywhere_and_continued(stored: tuple[Path, cc.SensitivityMatrix]) -> None:
    path, matrix = stored
    keep_outcome(path, matrix, measured())
    first = len(outcomes_path(path).read_bytes())
    keep_outcome(path, matrix, measured((4, 4, 4, 4)))
    whole = outcomes_path(path).read_bytes()
    for end in range(first, len(whole) - 1, 7):
        outcomes_path(path).write_bytes(whole[:end])
        assert len(read_outcomes(path, matrix)) == 1
        keep_outcome(path, matrix, measured((8, 8, 8, 8)))
        assert [each.bits[0] for each in read_outcomes(path, matrix)] == [2, 8]


def test_lines_of_others_are_not_used(
    stored: tuple[Path, cc.SensitivityMatrix], tmp_path: Path
) -> None:
    path, matrix = stored
    keep_outcome(path, matrix, measured())
    other = replace(matrix, base_loss=0.7)
    cc.save_matrix(other, tmp_path / "other.clado")
    shutil.copy(outcomes_path(path), outcomes_path(tmp_path / "other.clado"))
    assert read_outcomes(tmp_path / "other.clado", other) == ()
    weights = replace(matrix, provenance=cc.Provenance(weights_sha256="b" * 64))
    assert read_outcomes(path, weights) == ()
    assert len(read_outcomes(path, matrix)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"bits": [2, 4, 8]},
        {"bits": [2, 4, 8, 5]},
        {"bits": None},
        {"measured_as": "shipped"},
        {"measured_as": "repaired"},
        {"repair": {"rounding": "gptq"}},
        {"repair": {"rounding": "up", "epochs": 0, "n": 1, "images_sha256": ""}},
        {"n": 16},
        {"float_right": "4A=="},
        {"loss": None},
    ],
)
def test_values_that_make_no_sense_are_left_out(
    stored: tuple[Path, cc.SensitivityMatrix], change: dict[str, object]
) -> None:
    from clado_core.files.outcomes import CHECKSUM, _checksum

    path, matrix = stored
    keep_outcome(path, matrix, measured())
    values = json.loads(outcomes_path(path).read_text())
    del values[CHECKSUM]
    values |= change
    outcomes_path(path).write_text(json.dumps(values | {CHECKSUM: _checksum(values)}))
    assert read_outcomes(path, matrix) == ()
    keep_outcome(path, matrix, measured())
    assert len(read_outcomes(path, matrix)) == 1

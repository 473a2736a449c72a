"""What stays float: checked, stored, grouped for people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

import clado_core as cc
from clado_core.errors import ArtifactError, InputError
from clado_core.files.artifact import _digest
from clado_core.records.float_parts import FloatPart, grouped, parts_to_json
from tests.conftest import make_matrix

PARTS = (
    FloatPart("a.bias", "bias", 8, "biases stay float"),
    FloatPart("up", "ConvTranspose2d", 40, "layers of this kind are not searched", is_weight=True),
    FloatPart("b.bias", "bias", 16, "biases stay float"),
)


def matrix_with(parts: tuple[FloatPart, ...] | None) -> cc.SensitivityMatrix:
    matrix = make_matrix()
    return replace(matrix, layers=replace(matrix.layers, float_parts=parts))


def test_rows_name_each_weight_and_count_the_rest():
    rows = grouped(parts_to_json(PARTS, 640))
    assert [(row["name"], row["kind"], row["bytes"]) for row in rows] == [
        ("up", "ConvTranspose2d", 40),
        ("b.bias, a.bias", "2 × bias", 24),
    ]
    assert [row["share"] for row in rows] == [pytest.approx(40 / 640), pytest.approx(24 / 640)]
    many = [FloatPart(f"{k}.bias", "bias", 4, "") for k in range(9)]
    (row,) = grouped(parts_to_json(many, 640))
    assert (row["name"], row["kind"]) == ("0.bias, …", "9 × bias")
    own = [FloatPart(f"p{k}", "parameter", 4, "") for k in range(9)]
    assert len(grouped(parts_to_json(own, 401))) == 1
    assert [row["name"] for row in grouped(parts_to_json(own, 400))] == [p.name for p in own]
    assert grouped([]) == [] and parts_to_json(None, 640) is None


def test_parts_that_are_not_the_rest_of_the_file_are_refused():
    with pytest.raises(InputError, match="have 24 bytes together, expected 64"):
        matrix_with((PARTS[0], PARTS[2]))


@pytest.mark.parametrize(
    "fields",
    [("a", "bias", -1, ""), ("a", "bias", 1.0, ""), (3, "bias", 1, ""), ("a", "bias", True, "")],
)
def test_fields_of_other_types_are_refused(fields):
    with pytest.raises(InputError):
        FloatPart(*fields)


names = st.text(max_size=8)


@given(st.lists(st.builds(FloatPart, names, names, st.integers(0, 99), names, st.booleans())))
def test_groups_keep_every_byte(parts):
    rows = grouped(parts_to_json(parts, 1000))
    assert sum(row["bytes"] for row in rows) == sum(part.n_bytes for part in parts)
    assert sum(row["share"] for row in rows) == pytest.approx(sum(p.n_bytes for p in parts) / 1000)
    assert [row["is_weight"] for row in rows] == sorted(
        (row["is_weight"] for row in rows), reverse=True
    )


@pytest.mark.parametrize("parts", [PARTS, None])
def test_an_artifact_keeps_them_or_says_that_nobody_did(tmp_path: Path, parts):
    matrix = matrix_with(parts)
    digest = cc.save_matrix(matrix, tmp_path / "a.clado")
    again = cc.load(tmp_path / "a.clado")
    assert again.layers == matrix.layers and again.layers.float_parts == parts
    assert cc.save_matrix(again, tmp_path / "b.clado") == digest


def rewritten(path: Path, field: str, value: object) -> None:
    """Store the same arrays under a changed header, with the digest that belongs to it."""
    with safe_open(path, framework="np") as file:
        metadata, names = file.metadata(), list(file.keys())
        arrays = {name: file.get_tensor(name) for name in names}
    header = json.dumps(json.loads(metadata["header"]) | {field: value}, sort_keys=True)
    save_file(arrays, path, {"header": header, "sha256": _digest(header, arrays)})


GOOD = {"name": "a", "kind": "bias", "n_bytes": 64, "why": "", "is_weight": False}


@pytest.mark.parametrize(
    "stored",
    [
        3,
        [3],
        ["a"],
        [],
        [{"name": "a"}],
        [GOOD | {"n_bytes": "64"}],
        [GOOD | {"n_bytes": 63}],
        [GOOD | {"other": 1}],
        [GOOD | {"is_weight": 1}],
    ],
)
def test_a_file_whose_parts_cannot_be_is_one_sentence(tmp_path: Path, stored):
    cc.save_matrix(matrix_with(PARTS), tmp_path / "a.clado")
    rewritten(tmp_path / "a.clado", "float_parts", [GOOD])
    assert cc.load(tmp_path / "a.clado").layers.float_parts == (FloatPart("a", "bias", 64, ""),)
    rewritten(tmp_path / "a.clado", "float_parts", stored)
    with pytest.raises(ArtifactError, match=r"a\.clado") as caught:
        cc.load(tmp_path / "a.clado")
    assert "\n" not in str(caught.value)


ABOUT = cc.Provenance().to_json()


@pytest.mark.parametrize(
    "more", [{"classes": 3}, {"classes": "ab"}, {"classes": [1]}, {"labels": 3}, {"labels": {}}]
)
def test_a_file_whose_classes_or_labels_cannot_be_is_one_sentence(tmp_path: Path, more):
    cc.save_matrix(make_matrix(), tmp_path / "a.clado")
    rewritten(tmp_path / "a.clado", "provenance", ABOUT | {"classes": ["a"]})
    assert cc.load(tmp_path / "a.clado").provenance.classes == ("a",)
    rewritten(tmp_path / "a.clado", "provenance", ABOUT | more)
    with pytest.raises(ArtifactError, match=r"a\.clado"):
        cc.load(tmp_path / "a.clado")

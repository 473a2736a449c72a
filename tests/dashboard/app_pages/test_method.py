"""The Method page says what stays float, which classes there are, and how labels fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import clado_core as cc
from clado_core.records.float_parts import FloatPart
from clado_core.records.label_check import check_labels
from tests.conftest import make_matrix
from tests.dashboard.conftest import OpenPage

PARTS = (
    FloatPart("up", "ConvTranspose2d", 40, "layers of this kind are not searched", is_weight=True),
    FloatPart("a.bias", "bias", 8, "biases stay float"),
    FloatPart("b.bias", "bias", 16, "biases stay float"),
)


def rows(app: object) -> dict[str, str]:
    table = app.table[0].value  # type: ignore[attr-defined]
    return dict(zip(table["What"], table["Value"], strict=True))


@pytest.fixture
def told(own_artifacts: Path) -> None:
    """A network that says everything, labels raised by one."""
    matrix = make_matrix()
    labels = np.random.default_rng(0).integers(0, 4, 64)
    about = cc.Provenance(
        classes=("ant", "bee", "cat", "dog"),
        labels=check_labels(labels + 1, labels, classes=5, named=4),
    )
    layers = replace(matrix.layers, float_parts=PARTS)
    cc.save_matrix(replace(matrix, layers=layers, provenance=about), own_artifacts / "told.clado")


@pytest.mark.usefixtures("told")
def test_what_stays_float_and_what_labels_look_like_are_shown(open_page: OpenPage) -> None:
    app = open_page("method", model="told")
    assert not app.exception
    found = rows(app)
    assert found["Stays float32"].endswith("of the float32 file, with 1 weight among it")
    assert found["Classes"] == "4: ant, bee, cat, …"
    assert found["Float network"].startswith("0 % of 64 samples classified as labelled")
    parts, classes = (frame.value for frame in app.dataframe[-2:])
    assert parts["Name"].tolist() == ["up", "b.bias, a.bias"]
    assert parts["Why"].tolist()[0] == "layers of this kind are not searched"
    assert classes["Name"].tolist() == ["ant", "bee", "cat", "dog"]
    said = [warning.value for warning in app.warning]
    assert any("labels look shifted by one" in sentence for sentence in said)
    assert any("tells 5 classes apart and the data has 4" in sentence for sentence in said)


def test_an_older_artifact_is_said_not_to_record_it(open_page: OpenPage) -> None:
    found = rows(open_page("method", model="alpha"))
    assert "what it is was not recorded by the version that measured" in found["Stays float32"]
    assert found["Classes"] == found["Float network"] == "not recorded"

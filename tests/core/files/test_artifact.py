import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

import clado_core as cc
from clado_core.errors import ArtifactCorruptError, ArtifactError, ArtifactVersionError
from clado_core.files.artifact import SCHEMA_VERSION, artifact_digest
from tests.conftest import make_matrix


@pytest.fixture
def stored(tmp_path: Path, toy_matrix: cc.SensitivityMatrix) -> Path:
    cc.save_matrix(toy_matrix, tmp_path / "toy.clado")
    return tmp_path / "toy.clado"


def _rewrite(path: Path, **changes: object) -> None:
    """Store the same arrays under a changed header, keeping the old digest."""
    with safe_open(path, framework="np") as file:
        metadata, G = file.metadata(), file.get_tensor("G")
    header = json.loads(metadata["header"])
    header.update(changes)
    save_file({"G": G}, path, metadata | {"header": json.dumps(header, sort_keys=True)})


def test_a_matrix_survives_the_file(stored: Path, toy_matrix: cc.SensitivityMatrix) -> None:
    again = cc.load(stored)
    np.testing.assert_array_equal(again.G, toy_matrix.G)
    assert again.layers == toy_matrix.layers
    assert (again.scheme, again.provenance) == (toy_matrix.scheme, toy_matrix.provenance)
    assert again.base_loss == toy_matrix.base_loss


def test_equal_contents_have_equal_digests(tmp_path: Path, stored: Path) -> None:
    digest = cc.save_matrix(cc.load(stored), tmp_path / "copy.clado")
    assert digest == artifact_digest(stored)
    assert cc.save_matrix(make_matrix(seed=1), tmp_path / "other.clado") != digest


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_a_truncated_or_changed_file_is_always_refused(stored: Path, data: st.DataObject) -> None:
    content = bytearray(stored.read_bytes())
    damaged = stored.with_name("damaged.clado")
    if data.draw(st.booleans()):
        damaged.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    else:
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] ^= data.draw(st.integers(1, 255))
        damaged.write_bytes(content)
    with pytest.raises(ArtifactError):
        cc.load(damaged)


def test_a_newer_schema_is_refused_by_name(stored: Path) -> None:
    _rewrite(stored, schema_version=99)
    with pytest.raises(ArtifactVersionError, match="schema_version") as caught:
        cc.load(stored)
    assert (caught.value.found, caught.value.expected) == (99, SCHEMA_VERSION)


def test_a_changed_header_is_refused_by_name(stored: Path) -> None:
    _rewrite(stored, base_loss=0.0)
    with pytest.raises(ArtifactCorruptError, match="sha256"):
        cc.load(stored)


def test_another_safetensors_file_is_not_an_artifact(tmp_path: Path) -> None:
    save_file({"w": np.zeros(3)}, tmp_path / "weights.safetensors")
    with pytest.raises(ArtifactCorruptError, match="header"):
        cc.load(tmp_path / "weights.safetensors")


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="There is no artifact"):
        cc.load(tmp_path / "none.clado")


def test_a_missing_folder_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, toy_matrix: cc.SensitivityMatrix
) -> None:
    with pytest.raises(ArtifactError, match="Cannot write"):
        cc.save_matrix(toy_matrix, tmp_path / "no" / "toy.clado")
    assert not os.listdir(tmp_path)

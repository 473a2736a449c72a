"""Arrays from elsewhere: what a file declares is checked before anything of that size is made."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from clado_core.errors import InputError
from clado_core.files import npz_import
from clado_core.files.npz_import import matrix_from_npz

ARRAYS = {
    "G": np.eye(4),
    "layer_names": np.array(["a", "b"]),
    "n_weights": np.array([3, 4]),
    "bits": np.array([4, 8]),
}


def _written(path: Path, **changes: bytes) -> Path:
    """An .npz of those arrays, some members replaced by other bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in ARRAYS.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(f"{name}.npy", changes.get(name, buffer.getvalue()))
    return path


def _header(shape: str, dtype: str = "<f8") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_what_numpy_wrote_is_read(tmp_path: Path) -> None:
    matrix = matrix_from_npz(_written(tmp_path / "m.npz"), name="m")
    assert matrix.layers.names == ("a", "b") and (np.diag(matrix.G) == 1).all()


@pytest.mark.parametrize("shape", ["(100000, 100000)", "(10**30,)", "(3, 3)", "(4, 4, 0)", "()"])
def test_what_an_array_declares_must_be_there(tmp_path: Path, shape: str) -> None:
    file = _written(tmp_path / "m.npz", G=_header(shape))
    with pytest.raises(InputError, match=r"damaged|not a readable|square"):
        matrix_from_npz(file, name="m")


def test_a_small_archive_that_inflates_to_much_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz_import, "LARGEST_BYTES", 10**6)
    file = _written(tmp_path / "m.npz", G=_header("(500, 500)") + bytes(8 * 500 * 500))
    assert file.stat().st_size < 10**4
    with pytest.raises(InputError, match=r"G\.npy in .* would take 0\.0 GB"):
        matrix_from_npz(file, name="m")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00", _header("(4, 4)", "|O"), _header("x"), b"hello"],
)
def test_a_member_that_is_no_array_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"m\.npz"):
        matrix_from_npz(_written(tmp_path / "m.npz", G=content), name="m")


@pytest.mark.parametrize("seed", range(100))
def test_damage_anywhere_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    rng, file = np.random.default_rng(seed), _written(tmp_path / "m.npz")
    content = bytearray(file.read_bytes())
    for at in rng.integers(len(content), size=3):
        content[at] = rng.integers(256)
    file.write_bytes(bytes(content[: rng.integers(len(content)) if seed % 3 == 0 else None]))
    try:
        matrix_from_npz(file, name="m")
    except InputError as refused:
        assert str(refused)

"""Read a packed file back into a network, bit for bit what the quantizer gave."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from clado_core.errors import ArtifactCorruptError, ArtifactError, ArtifactVersionError
from clado_core.exports.bit_packing import unpack
from clado_core.exports.network import PackedWeight
from clado_core.exports.packed import (
    CONFIGURATION,
    DIGEST,
    LENGTH,
    NO_DIGEST,
    SCHEMA,
    rest_parts,
    structure,
)
from clado_core.records.layers import LayerInfo

if TYPE_CHECKING:
    from torch import Tensor, nn


class PackedFile(NamedTuple):
    """A packed file that was read whole and whose digest is right.

    Args:
        facts: The metadata's ``clado``: "layers" (name → bits), "weights_sha256", ...
        scales: float32, of all layers in their order.
        rest: Bytes of everything that stays float.
        weights: The packed integers.
    """

    facts: dict[str, Any]
    scales: npt.NDArray[np.float32]
    rest: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.uint8]


def read_packed(path: str | Path, /) -> PackedFile:
    """Read a packed file and check its digest; needs no network and no torch.

    Raises:
        ArtifactCorruptError: A byte was changed, or the file is not complete.
        ArtifactVersionError: Written by a newer schema.
        ArtifactError: There is no such file.
    """
    path = Path(path)
    try:
        file = path.read_bytes()
    except OSError as problem:
        raise ArtifactError(f"Cannot read {path}: {problem.strerror}.") from None
    try:
        (length,) = LENGTH.unpack_from(file)
        header = json.loads(file[LENGTH.size : LENGTH.size + length])
        digest = str(header["__metadata__"][DIGEST])
        facts = json.loads(header["__metadata__"][CONFIGURATION])
        schema = str(facts["schema"])
        version = int(schema.rpartition("/")[2])
        tensors = load_tensors(file)
    except (ValueError, KeyError, TypeError, struct.error, SafetensorError) as problem:
        raise ArtifactCorruptError(
            f"{path.name} is not a complete packed file ({type(problem).__name__}); export again."
        ) from None
    plain = file.replace(digest.encode(), NO_DIGEST.encode(), 1)
    if hashlib.sha256(plain).hexdigest() != digest:
        raise ArtifactCorruptError(
            f"{path.name}: the field 'sha256' does not match the contents, so the file was changed "
            "or damaged after it was written; export again."
        )
    if schema != SCHEMA:
        raise ArtifactVersionError(
            f"{path.name} has schema {schema}, and this program reads {SCHEMA}; upgrade it.",
            found=version,
            expected=1,
        )
    return PackedFile(facts, tensors["scales"], tensors["rest"], tensors["weights"])


def load_packed(path: str | Path, module: nn.Module, /) -> PackedFile:
    """Fill a network with the weights of a packed file. Imports torch.

    Args:
        path: What ``export --format safetensors`` wrote.
        module: The network's architecture; its parameters and buffers are overwritten.

    Raises:
        ArtifactError: The file belongs to another network, or is damaged (see ``read_packed``).
    """
    file = read_packed(path)
    layers = _layers_of(module, file.facts["layers"], Path(path).name)
    if structure(module, layers) != file.facts["structure"]:
        raise ArtifactError(f"{Path(path).name} belongs to another network: its parts differ.")
    _fill_rest(module, layers, file.rest)
    for weight in packed_weights(file, layers):
        layer, parameter = weight.layer, module.get_parameter(weight.layer.parameter).data
        _copy(parameter[layer.row_start : layer.row_start + layer.shape[0]], weight.dequantized)
    return file


def packed_weights(file: PackedFile, layers: tuple[LayerInfo, ...], /) -> Iterator[PackedWeight]:
    """The integers and scales of a packed file, layer by layer."""
    row = start = 0
    for layer, bits in zip(layers, file.facts["layers"].values(), strict=True):
        rows = layer.out_channels if file.facts["granularity"] == "per-channel" else 1
        stop = start + layer.weight_bytes(bits)
        integers = unpack(file.weights[start:stop].tobytes(), bits, layer.shape)
        yield PackedWeight(layer, bits, integers, file.scales[row : row + rows])
        row, start = row + rows, stop


def _layers_of(module: nn.Module, names: dict[str, int], file: str) -> tuple[LayerInfo, ...]:
    from clado_core.networks.discovery import searchable_weights

    known = {layer.name: layer for layer in searchable_weights(module)}
    missing = [name for name in names if name not in known]
    if missing:
        raise ArtifactError(
            f"{file} belongs to another network: this one has no layer '{missing[0]}'."
        )
    return tuple(known[name] for name in names)


def _fill_rest(
    module: nn.Module, layers: tuple[LayerInfo, ...], rest: npt.NDArray[np.uint8]
) -> None:
    import torch

    start = 0
    for part in rest_parts(module, layers):
        kind = torch.float32 if part.is_floating_point() else part.dtype
        stored = np.empty(part.shape, dtype=torch.empty(0, dtype=kind).numpy().dtype)
        stop = start + stored.nbytes
        _copy(part, np.frombuffer(rest[start:stop].tobytes(), stored.dtype).reshape(stored.shape))
        start = stop


def _copy(target: Tensor, values: npt.NDArray[np.generic]) -> None:
    import torch

    target.copy_(torch.from_numpy(np.array(values)))

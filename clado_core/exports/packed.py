"""Packed safetensors: integers at their real bit-width, scales, and everything else as it is.

Any safetensors reader opens the file. It holds three tensors: ``scales`` (float32), ``rest`` (the
bytes of every other entry of the state dict, in its order, floats as float32) and ``weights`` (the
packed integers, layer after layer, each from a whole byte on). The metadata's ``clado`` is JSON
with the bit-width of every layer and where the choice comes from; ``sha256`` is that of the file
with this digest's own characters as zeros. Names and positions of the rest are left to the
network, which keeps the header as small as ``container_bytes`` promises.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from clado_core.errors import ArtifactError, InputError
from clado_core.exports.bit_packing import pack
from clado_core.exports.capability import Capability
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob
from clado_core.exports.receipt import LayerBytes, Receipt
from clado_core.records.layers import LayerInfo
from clado_core.records.scheme import input_bits
from clado_core.records.sizes import container_bytes

if TYPE_CHECKING:
    from torch import Tensor, nn

SCHEMA = "clado-packed/1"
CONFIGURATION, DIGEST = "clado", "sha256"
NO_DIGEST = "0" * 64
LENGTH = struct.Struct("<Q")
PARTS = ("scales", "rest", "weights")
NAME_CHARACTERS = 48
"""A longer name of the network is cut; its digest still tells which it was."""


def render(job: ExportJob, report: Capability, /) -> bytes:
    """The whole file, exactly as long as ``size_bytes`` promises."""
    network, layers = job.require_network(), job.configuration.matrix.layers
    packed = [pack(weight.integers, weight.bits) for weight in network.weights.values()]
    scales = np.concatenate([weight.scales for weight in network.weights.values()])
    rest = b"".join(map(_float32_bytes, rest_parts(network.module, layers.layers)))
    tensors = {
        "scales": ("F32", scales.astype("<f4").tobytes()),
        "rest": ("U8", rest),
        "weights": ("U8", b"".join(packed)),
    }
    header = _header(job, tensors)
    room = container_bytes(layers) - LENGTH.size
    if len(header) > room:
        raise ArtifactError(f"The header takes {len(header)} bytes, {room} were promised.")
    file = LENGTH.pack(room) + header.ljust(room) + b"".join(data for _, data in tensors.values())
    return file.replace(NO_DIGEST.encode(), hashlib.sha256(file).hexdigest().encode(), 1)


def configuration_text(job: ExportJob, /) -> str:
    """What the metadata says of the choice, as compact JSON."""
    matrix, assignment = job.configuration.matrix, job.configuration.assignment
    origin, scheme = matrix.provenance, matrix.scheme
    network = job.require_network()
    facts = {
        "schema": SCHEMA,
        "model": re.sub(r"[^\w:/.-]", "-", origin.model or matrix.name, flags=re.ASCII)[
            -NAME_CHARACTERS:
        ],
        "granularity": scheme.granularity,
        "range": scheme.range_rule,
        "activation_bits": scheme.act_bits,
        "weights_sha256": origin.weights_sha256,
        "artifact_sha256": job.configuration.artifact_sha256,
        "structure": structure(network.module, matrix.layers.layers),
        "predicted_loss_increase": float(f"{matrix.predicted_loss_increase(assignment.bits):.6g}"),
        "layers": {name: weight.bits for name, weight in network.weights.items()},
    }
    inputs = [input_bits(bits) for bits in assignment.bits]
    if any(inputs):
        facts["inputs"] = "".join(map(str, inputs))  # one digit per layer
    return json.dumps(facts, separators=(",", ":"))


def structure(module: nn.Module, layers: tuple[LayerInfo, ...], /) -> str:
    """16 hexadecimal characters of the names, types and shapes of a network and its layers."""
    entries = [(n, str(v.dtype), tuple(v.shape)) for n, v in module.state_dict().items()]
    slots = [(layer.name, layer.parameter, layer.row_start, layer.shape) for layer in layers]
    return hashlib.sha256(repr((entries, slots)).encode()).hexdigest()[:16]


def rest_parts(module: nn.Module, layers: tuple[LayerInfo, ...], /) -> Iterator[Tensor]:
    """The parts of the state dict that no searched layer covers, as views, in its order.

    Of entries that are one tensor under two names the first counts.
    """
    taken: dict[str, list[tuple[int, int]]] = {}
    for layer in layers:
        rows = (layer.row_start, layer.row_start + layer.out_channels)
        taken.setdefault(layer.parameter, []).append(rows)
    seen: set[int] = set()
    for name, entry in module.state_dict(keep_vars=True).items():
        if id(entry) in seen:
            continue
        seen.add(id(entry))
        start = 0
        for first, after in sorted(taken.get(name, [])):
            if start < first:
                yield entry.data[start:first]
            start = after
        if name not in taken:
            yield entry.data
        elif start < len(entry):
            yield entry.data[start:]


def _float32_bytes(part: Tensor) -> bytes:
    if part.is_floating_point():
        if part.element_size() > 4:
            raise InputError(
                "The network has float64 entries, which a packed file would round to float32; "
                "convert it with .float() and measure that."
            )
        part = part.float()
    return part.detach().cpu().contiguous().numpy().tobytes()


def _header(job: ExportJob, tensors: dict[str, tuple[str, bytes]]) -> bytes:
    header: dict[str, object] = {
        "__metadata__": {CONFIGURATION: configuration_text(job), DIGEST: NO_DIGEST}
    }
    start = 0
    for name, (kind, data) in tensors.items():
        stop = start + len(data)
        shape = [len(data) // 4 if kind == "F32" else len(data)]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, stop]}
        start = stop
    return json.dumps(header, separators=(",", ":")).encode()


def receipt(job: ExportJob, file: bytes, /) -> Receipt:
    """What each layer takes in the file, from the file's own header."""
    (room,) = LENGTH.unpack_from(file)
    header = json.loads(file[LENGTH.size : LENGTH.size + room])
    first, after = header["weights"]["data_offsets"]
    layers, start = [], first
    for name, weight in job.require_network().weights.items():
        taken = len(pack(weight.integers, weight.bits))
        promised = weight.layer.weight_bytes(weight.bits)
        layers.append(LayerBytes(name, weight.bits, weight.bits, promised, taken))
        start += taken
    sizes = {n: header[n]["data_offsets"][1] - header[n]["data_offsets"][0] for n in PARTS}
    return Receipt(
        tuple(layers),
        job.configuration.assignment.size_bytes,
        {
            "scales": sizes["scales"],
            "everything else, float32": sizes["rest"] + after - start,
            "header": LENGTH.size + room,
        },
    )


FORMAT = Format(
    name="safetensors",
    suffix=".safetensors",
    mime="application/octet-stream",
    keeps="Packed integers at their real bit-width, scales, everything else as float32, and the "
    "configuration; clado_core.exports.load_packed fills the network with it, bit for bit.",
    render=render,
    needs_network=True,
    checked_with=("safetensors",),
    notes=("The file is exactly as long as promised; no other program runs packed integers.",),
    receipt=receipt,
)

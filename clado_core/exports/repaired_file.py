"""Repaired networks as packed files: what evaluating and every export take up again."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clado_core.errors import ArtifactError
from clado_core.exports import write
from clado_core.exports.configuration import Configuration
from clado_core.exports.network import QuantizedNetwork, packed_weight
from clado_core.exports.packed import FORMAT
from clado_core.exports.packed_load import load_packed, packed_weights
from clado_core.records.assignment import Assignment, assignment_from_mapping
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.scheme import parse_bits

if TYPE_CHECKING:
    from torch import nn

    from clado_core.repairs.repaired import Repaired


def repaired_network(
    module: nn.Module, repaired: Repaired, /, *, input_shape: tuple[int, int, int] | None = None
) -> QuantizedNetwork:
    """The network that exports take: repaired integers, and a copy with the repaired statistics.

    Args:
        module: The float network that was repaired; not changed.
        repaired: Of this network.
        input_shape: Channels, height and width of one input, where they are known.
    """
    from clado_core.quantization.network_state import state_views

    own = copy.deepcopy(module).cpu().eval().requires_grad_(False)
    for name, view in state_views(own, repaired.state).items():
        view.copy_(repaired.state[name])
    layers = repaired.assignment.layers.layers
    weights = {x.name: packed_weight(own, x, repaired.weights[x.name]) for x in layers}
    return QuantizedNetwork(own, weights, input_shape)


def write_repaired(
    path: str | Path, matrix: SensitivityMatrix, module: nn.Module, repaired: Repaired, /
) -> int:
    """Write a repaired network as a packed file, as large as the choice promises; gives its bytes.

    Args:
        path: Appears only once it is complete.
        matrix: What was measured.
        module: The float network.
        repaired: Of this network.
    """
    network = repaired_network(module, repaired)
    write(Configuration(matrix, repaired.assignment), FORMAT, path, network=network)
    return Path(path).stat().st_size


def read_repaired(path: str | Path, matrix: SensitivityMatrix, module: nn.Module, /) -> Repaired:
    """Read a packed file as a repaired network. Imports torch.

    Args:
        path: What ``write_repaired`` wrote, or any packed export.
        matrix: What was measured.
        module: The float network; not changed.

    Raises:
        ArtifactError: It is damaged, or of another network or other weights.
    """
    import torch

    from clado_core.quantization.network_state import state_entries
    from clado_core.quantization.weights import QuantizedWeight
    from clado_core.repairs.repaired import Repaired

    other = copy.deepcopy(module).cpu()
    file = load_packed(path, other)
    if file.facts.get("weights_sha256") != matrix.provenance.weights_sha256:
        raise ArtifactError(
            f"{Path(path).name} was made of other weights than '{matrix.name}' was measured on."
        )
    _require_quantizer(file.facts, matrix, Path(path).name)
    assignment = _assignment(file.facts, matrix)
    weights = {
        packed.layer.name: QuantizedWeight(
            torch.from_numpy(packed.integers), torch.from_numpy(packed.scales), packed.bits
        )
        for packed in packed_weights(file, assignment.layers.layers)
    }
    searched = {layer.parameter for layer in matrix.layers.layers}
    before = state_entries(module)
    state = {
        name: value
        for name, value in state_entries(other).items()
        if name not in searched and not torch.equal(value, before[name].to(value))
    }
    return Repaired(assignment, weights, state)


def _require_quantizer(facts: dict[str, Any], matrix: SensitivityMatrix, file: str) -> None:
    """Refuse a file of another quantizer: its scales and inputs would be taken for this one's."""
    scheme = matrix.scheme
    ours = (scheme.granularity, scheme.range_rule, scheme.act_bits)
    theirs = tuple(facts.get(name) for name in ("granularity", "range", "activation_bits"))
    if theirs != ours:
        raise ArtifactError(
            f"{file} was quantized as {theirs}, and '{matrix.name}' was measured as {ours} "
            "(granularity, range, bits of inputs); give the artifact that it was made with."
        )


def _assignment(facts: dict[str, Any], matrix: SensitivityMatrix) -> Assignment:
    bits: dict[str, int] = dict(facts["layers"])
    if "inputs" in facts:
        inputs: Iterable[str] = facts["inputs"]
        bits = {n: parse_bits(f"{b}a{a}") for (n, b), a in zip(bits.items(), inputs, strict=True)}
    return assignment_from_mapping(matrix.layers, matrix.scheme, bits)

"""Write a choice in other tools' formats, from a network in memory or one that has a name."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from clado_core.exports import Configuration, QuantizedNetwork, Receipt, find_format, write
from clado_core.exports.network import quantize_weights
from clado_core.exports.repaired_file import repaired_network
from clado_core.library.evaluate import Chosen, assignment_of, require_measured
from clado_core.problem.solution import Solution
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix

if TYPE_CHECKING:
    from torch import nn


def export(
    matrix: SensitivityMatrix,
    choice: Assignment | Chosen,
    format: str,
    path: str | Path,
    /,
    *,
    module: nn.Module | None = None,
    input_shape: tuple[int, int, int] | None = None,
    upcast: bool = False,
) -> Receipt | None:
    """Write a choice as a file of another tool; a file is complete or not there.

    Args:
        matrix: What was measured.
        choice: An Assignment, or what holds one; a Solution's proof is written along, a Repaired
            gives its own integers and statistics to formats that hold weights.
        format: "json", "safetensors", "onnx", ...: see ``clado_core.exports.FORMATS``.
        path: The file to write.
        module: The network that was measured; loaded by its name where None and there is one.
        input_shape: Channels, height and width of one input; ONNX files need it beside a module.
        upcast: Give layers that the format has no form for more bits, or float32.

    Returns:
        What each layer takes in the file, for formats that hold weights; else None.

    Raises:
        InputError: The format has no form for a layer, or something it needs is missing.
        ArtifactError: The file cannot be written, or the network is not the measured one.
    """
    solution = choice if isinstance(choice, Solution) else None
    configuration = Configuration(matrix, assignment_of(choice), solution)
    network = None if module is None else _network(configuration, choice, module, input_shape)
    return write(configuration, find_format(format), path, network=network, upcast=upcast)


def _network(
    configuration: Configuration,
    choice: object,
    module: nn.Module,
    input_shape: tuple[int, int, int] | None,
) -> QuantizedNetwork:
    from clado_core.repairs.repaired import Repaired

    require_measured(module, configuration.matrix)
    if isinstance(choice, Repaired):
        return repaired_network(module, choice, input_shape=input_shape)
    # Exporters run the network; the caller's own stays as it is.
    own = copy.deepcopy(module).cpu().eval().requires_grad_(False)
    return QuantizedNetwork(own, quantize_weights(own, configuration), input_shape)

"""What every export target starts from: an assignment with where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clado_core.problem.solution import Solution
from clado_core.records.assignment import Assignment
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.scheme import input_bits, weight_bits


@dataclass(frozen=True, slots=True)
class Configuration:
    """A chosen assignment of a measured network.

    Args:
        matrix: The sensitivities it was chosen with.
        assignment: The chosen bit-widths.
        solution: How it was found, or None for an assignment from elsewhere.
        artifact_sha256: Digest of the artifact, empty where there is no file.
        pins: Layers whose bit-width the user fixed.
        budgets: Budget field → limit, as asked for.
        rules: The other wishes it follows, as ``AllocationProblem.rules`` gives them.
    """

    matrix: SensitivityMatrix
    assignment: Assignment
    solution: Solution | None = None
    artifact_sha256: str = ""
    pins: Mapping[str, int] = field(default_factory=dict)
    budgets: Mapping[str, int] = field(default_factory=dict)
    rules: Mapping[str, Any] = field(default_factory=dict)

    def layer_rows(self) -> list[dict[str, Any]]:
        """One row per searched layer, in network order, with its bytes in the file."""
        scheme = self.matrix.scheme
        return [
            {
                "name": layer.name,
                "type": layer.kind,
                "shape": list(layer.shape),
                "numel": layer.n_weights,
                "bits": weight_bits(bits),
                "weight_bytes": layer.weight_bytes(weight_bits(bits)),
                "scale_bytes": scheme.scale_bytes(layer.out_channels),
                "pinned": layer.name in self.pins,
                "group": layer.block or None,
            }
            | ({} if input_bits(bits) is None else {"activation_bits": input_bits(bits)})
            for layer, bits in zip(self.matrix.layers.layers, self.assignment.bits, strict=True)
        ]

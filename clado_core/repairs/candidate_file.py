"""Candidates on disk: made once, whatever asks for them, and never lost when making is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from safetensors.torch import load, save
from torch import Tensor

from clado_core.files.journal import Journal
from clado_core.quantization.candidate import Candidate
from clado_core.quantization.weights import QuantizedWeight
from clado_core.records.layers import LayerTable
from clado_core.records.scheme import MAX_BITS

SUFFIX = ".candidates"
INTEGERS, SCALES, STATE = "integers", "scales", "state."


class CandidateFile:
    """A file of candidates; a context manager that closes it.

    Args:
        path: Made if it is not there.
        identity: What candidates depend on; plain values.
        layers: Of the network.

    Raises:
        InputError: The file holds something else, or candidates of another identity.
        ArtifactError: The file cannot be written.
    """

    def __init__(self, path: Path, identity: dict[str, Any], layers: LayerTable) -> None:
        self._layers = layers
        self._positions = {name: i for i, name in enumerate(layers.names)}
        n_keys = len(layers) * (MAX_BITS + 1)
        identity = {**identity, "layers": list(layers.names)}
        self._journal = Journal(path, identity, n_keys, holds="candidates")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._journal.__exit__(*error)

    def read(self) -> dict[tuple[str, int], Candidate]:
        """All that are there: (layer, bit-width) → candidate."""
        found = {}
        for key, payload in self._journal.records.items():
            i, bits = divmod(key, MAX_BITS + 1)
            found[self._layers.names[i], bits] = _unpacked(load(payload), bits)
        return found

    def append(self, key: tuple[str, int], candidate: Candidate, /) -> None:
        """Keep one more."""
        layer, bits = key
        tensors = {INTEGERS: candidate.weight.integers, SCALES: candidate.weight.scales}
        tensors |= {STATE + name: value for name, value in candidate.state.items()}
        payload = save({name: value.contiguous().cpu() for name, value in tensors.items()})
        self._journal.append(self._positions[layer] * (MAX_BITS + 1) + bits, payload)


def _unpacked(tensors: dict[str, Tensor], bits: int) -> Candidate:
    weight = QuantizedWeight(tensors.pop(INTEGERS), tensors.pop(SCALES), bits)
    return Candidate(weight, {name.removeprefix(STATE): x for name, x in tensors.items()})

"""What a layer is at a bit-width: integers, and the statistics that go with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from clado_core.errors import InputError
from clado_core.quantization.weights import QuantizedWeight
from clado_core.records.calibration import Calibration


class Candidate(NamedTuple):
    """One layer at one bit-width.

    Args:
        weight: Its integers and scales.
        state: Name → value of what the network keeps beside it, as of ``using_state``: the
            statistics of the normalization that follows, or its own bias.
    """

    weight: QuantizedWeight
    state: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class CandidateTable:
    """Every layer of a network at every bit-width of a menu.

    Args:
        made: (name of the layer, bit-width of its weight) → candidate; no two layers share an
            entry of their states.
        calibration: How they were made.
    """

    made: Mapping[tuple[str, int], Candidate]
    calibration: Calibration

    def of(self, layer: str, bits: int, /) -> Candidate:
        """One of them; an InputError where there is none."""
        try:
            return self.made[layer, bits]
        except KeyError:
            raise InputError(
                f"There is no candidate of '{layer}' at {bits} bits; make the candidates for this "
                "network and menu."
            ) from None

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of all that their states change."""
        return tuple(dict.fromkeys(name for each in self.made.values() for name in each.state))

    def names_of(self, layer: str, /) -> tuple[str, ...]:
        """Names of what a layer's candidates change beside its weight."""
        states = (each.state for (name, _), each in self.made.items() if name == layer)
        return tuple(dict.fromkeys(entry for state in states for entry in state))

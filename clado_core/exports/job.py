"""One export: what is written, from which network, and what may be done to unsupported layers."""

from __future__ import annotations

from dataclasses import dataclass

from clado_core.errors import InputError
from clado_core.exports.configuration import Configuration
from clado_core.exports.network import QuantizedNetwork


@dataclass(frozen=True, slots=True, eq=False)
class ExportJob:
    """What a target renders.

    Args:
        configuration: The choice, with where it comes from.
        network: Its network and integer weights; None for targets that need names alone.
        upcast: Whether a layer that the target has no form for may take more bits, or float32.
    """

    configuration: Configuration
    network: QuantizedNetwork | None = None
    upcast: bool = False

    def require_network(self) -> QuantizedNetwork:
        """The network; raises InputError where none was loaded."""
        if self.network is None:
            raise InputError(
                "This format needs the network's weights: load it with "
                "clado_core.exports.load_network."
            )
        return self.network

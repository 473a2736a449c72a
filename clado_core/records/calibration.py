"""How the candidates were made that a network was measured with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from clado_core.records.names import Rounding
from clado_core.records.portable import Portable

IMAGES = 512
"""Calibration images where nobody says how many."""
SEED = 1
"""Draws other images than the sensitivity set's first ones, where there are enough."""


@dataclass(frozen=True, slots=True)
class Calibration(Portable):
    """What integers and statistics of candidates depend on, beside network and quantizer.

    Args:
        rounding: "gptq" or "adaround"; what is rounded to nearest needs no calibration.
        n_images: Images that candidates were calibrated with.
        seed: That drew them from the training part; None for images in memory.
        images_sha256: Digest of their inputs.
        version: Of the algorithms; others give other integers.
    """

    rounding: Rounding
    n_images: int
    seed: int | None
    images_sha256: str
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

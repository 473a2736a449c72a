"""One choice of bit-widths that was run: as what, on which images, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from clado_core.errors import InputError
from clado_core.records.image_outcomes import Drop, ImageOutcomes, drop_from
from clado_core.records.names import MEASURED_AS, REPAIRED, ROUNDED, ROUNDINGS, MeasuredAs, Rounding
from clado_core.records.scheme import BitWidths, bits_to_json, parse_bits


@dataclass(frozen=True, slots=True)
class RepairSettings:
    """What makes two repairs of one choice the same.

    Args:
        rounding: "nearest", "gptq" or "adaround".
        epochs: Of fine-tuning; 0 for none.
        n: Training images it was calibrated with and judged by, together.
        images_sha256: Digest of those images; labels are not used.
        version: Of the algorithms.
    """

    rounding: Rounding
    epochs: int
    n: int
    images_sha256: str
    version: int = 1

    def __post_init__(self) -> None:
        if self.rounding not in ROUNDINGS:
            raise InputError(f"Unknown rounding '{self.rounding}'.")


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Which images something was run on.

    Args:
        data: Name of the data set.
        split: "train", "held-out", "all" or "validation" (training images that neither the
            matrix nor a repair has seen); None for data in memory.
        sha256: Digest of inputs and labels.
    """

    data: str
    split: str | None
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredChoice:
    """What a choice of bit-widths was measured to do, beside the float network.

    Args:
        bits: One bit-width per layer, shape (L,).
        images: What it was run on.
        outcomes: Of the quantized network.
        reference: Of the float network, on the same images.
        repair: How it was repaired; None where weights were rounded to nearest and nothing else.

    Raises:
        InputError: The two networks were not run on as many images.
    """

    bits: BitWidths
    images: ImageSet
    outcomes: ImageOutcomes
    reference: ImageOutcomes
    repair: RepairSettings | None = None

    def __post_init__(self) -> None:
        drop_from(self.reference, self.outcomes)

    @property
    def measured_as(self) -> MeasuredAs:
        """ "repaired" or "rounded"."""
        return ROUNDED if self.repair is None else REPAIRED

    @property
    def drop(self) -> Drop:
        """Top-1 accuracy lost against the float network."""
        return drop_from(self.reference, self.outcomes)

    @property
    def key(self) -> tuple[BitWidths, RepairSettings | None, str]:
        """Equal for two measurements that give the same."""
        return self.bits, self.repair, self.images.sha256

    def to_json(self) -> dict[str, Any]:
        """As plain values, flat."""
        reference = self.reference.to_json()
        return {
            "bits": [bits_to_json(b) for b in self.bits],
            "measured_as": self.measured_as,
            "repair": None if self.repair is None else asdict(self.repair),
            "data": self.images.data,
            "split": self.images.split,
            "data_sha256": self.images.sha256,
            **self.outcomes.to_json(),
            "float_loss": reference["loss"],
            "float_right": reference["right"],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], /) -> Self:
        """From such values.

        Raises:
            InputError: A field is missing or of another type.
        """
        try:
            repair, n = values["repair"], values["n"]
            if values["measured_as"] not in MEASURED_AS:
                raise InputError(f"'measured_as' is {values['measured_as']!r}")
            split = None if values["split"] is None else str(values["split"])
            found = cls(
                tuple(parse_bits(str(b)) for b in values["bits"]),
                ImageSet(str(values["data"]), split, str(values["data_sha256"])),
                ImageOutcomes.from_json(values),
                ImageOutcomes.from_json(
                    {"n": n, "loss": values["float_loss"], "right": values["float_right"]}
                ),
                None if repair is None else RepairSettings(**repair),
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise InputError(f"this is no measured choice: {problem!r}") from None
        if found.measured_as != values["measured_as"]:
            raise InputError("'measured_as' and 'repair' contradict each other")
        return found

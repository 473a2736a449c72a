"""How sensitivities are measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from clado_core.errors import InputError
from clado_core.networks.steady import Steadiness
from clado_core.records.names import ESTIMATORS, MEASURED_ALONG
from clado_core.records.scheme import (
    BitWidths,
    QuantizationScheme,
    act_widths,
    bit_menu,
    input_bits,
)


@dataclass(frozen=True, slots=True)
class MeasurementSettings:
    """How sensitivities are measured.

    Args:
        bit_widths: The menu; joint choices quantize inputs too.
        scheme: The quantizer.
        loss: "ce", "kl", or the name of a loss function passed to ``measure``.
        batch_size: Samples per forward; part of the measurement, as sums depend on it.
        estimator: One of ``ESTIMATORS``.
        baselines: Those of ``MEASURED_ALONG`` to measure along.
        memory_bytes: Most memory to use above the loaded network; None for as much as is useful.
        reuse: False runs the whole network for every loss, as the paper does.
        group_bits: Run the bit-widths of one layer as one batch: faster where batches are small
            for the machine, and equal to 1e-6, not to the last bit.
        allow_noise: Measure a network whose outputs differ from run to run, with a warning.

    Raises:
        InputError: A field cannot be used.
    """

    bit_widths: BitWidths = (2, 4, 8)
    scheme: QuantizationScheme = field(default_factory=QuantizationScheme)
    loss: str = "ce"
    batch_size: int = 256
    estimator: str = "pairwise"
    baselines: tuple[str, ...] = ()
    memory_bytes: int | None = None
    reuse: bool = True
    group_bits: bool = False
    allow_noise: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "bit_widths", bit_menu(self.bit_widths))
        if self.scheme.act_bits is not None and input_bits(self.bit_widths[0]) is not None:
            raise InputError("The menu names bits of inputs already; leave act_bits out.")
        if self.estimator == "hvp" and act_widths(self.bit_widths, self.scheme):
            raise InputError(
                "The estimator hvp sees weights alone; choose another, or leave inputs float."
            )
        if self.batch_size < 1:
            raise InputError(f"The batch size must be 1 or more, not {self.batch_size}.")
        if self.estimator not in ESTIMATORS:
            raise InputError(
                f"Unknown estimator '{self.estimator}': choose one of {', '.join(ESTIMATORS)}."
            )
        for name in self.baselines:
            if name not in MEASURED_ALONG:
                raise InputError(
                    f"Unknown baseline '{name}': choose among {', '.join(MEASURED_ALONG)}."
                )
        if self.memory_bytes is not None and self.memory_bytes < 1:
            raise InputError(f"The memory must be positive, not {self.memory_bytes} bytes.")

    def for_network(self, found: Steadiness, /) -> MeasurementSettings:
        """The same where each forward has to start from the same buffers: whole forwards, as parts
        of them would read what other runs have changed."""
        return replace(self, reuse=False) if found.changing else self

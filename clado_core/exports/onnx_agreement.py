"""Whether a file computes what the quantized network computes, up to the rounding of a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Outputs: TypeAlias = npt.NDArray[np.floating]

BATCH_SIZES = (1, 3)
"""Not the exporter's 2, and on both sides of it."""
SHARE = 1e-4
"""Of the outputs' spread: another runtime's rounding takes about 1e-6 of it (on networks of
torchvision), the faults that exporters were found to make 0.01 and more."""
ROUNDINGS = 16
"""Of the largest output: what is left where outputs lie close together far from zero."""
NUDGE = 2.0**-18
"""Relative change of the inputs that shows how far the network itself carries rounding: many
times what a runtime's takes, and no less than one step of float16."""
SWAY = 4
"""Times what the nudged outputs change: activations that the network rounds fall on the other side
of a step, others than in the runtime."""
MOST = 0.05
"""Of the spread, however far the network carries a nudge: half of it is a fault."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Inputs, and what the quantized network gives for them.

    Args:
        x: One batch, shape (n, channels, height, width).
        wanted: Outputs, shape (n, classes).
        nudged: Outputs for the nudged inputs, same shape.
    """

    x: Outputs
    wanted: Outputs
    nudged: Outputs


@dataclass(frozen=True, slots=True)
class Reference:
    """What a file is held against.

    Args:
        probes: Batches of different sizes.
        epsilon: Relative rounding of the coarsest type that the network computes in.
    """

    probes: tuple[Probe, ...]
    epsilon: float

    @property
    def reach(self) -> float:
        """The largest magnitude of an output."""
        return max(float(np.abs(probe.wanted).max()) for probe in self.probes)

    @property
    def tolerance(self) -> float:
        """The largest difference that is no fault, for all batches together.

        max(SHARE·spread, ROUNDINGS·ε·reach, min(SWAY·sway, MOST·spread)); spread is how far the
        outputs lie apart, sway the largest change of an output by a nudge.
        """
        wanted = np.concatenate([probe.wanted.ravel() for probe in self.probes])
        spread = float(np.ptp(wanted.astype(np.float64)))
        sway = max(difference(probe.nudged, probe.wanted) for probe in self.probes)
        rounding = ROUNDINGS * self.epsilon * self.reach
        return max(SHARE * spread, rounding, min(SWAY * sway, MOST * spread))


def random_inputs(shape: tuple[int, int, int], kind: npt.DTypeLike, /) -> Mapping[int, Outputs]:
    """Batches by their size: one between 0 and 1, one normal with a mean below zero.

    Their means have different signs, so that a branch on a sign is taken either way.
    """
    rng = np.random.default_rng(0)
    one, three = BATCH_SIZES
    return {
        one: rng.random((one, *shape)).astype(kind),
        three: (rng.normal(size=(three, *shape)) - 0.5).astype(kind),
    }


def nudged(x: Outputs, /) -> Outputs:
    """The inputs changed by a relative ``NUDGE``, up or down at random."""
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=x.shape)
    change = max(NUDGE, float(np.finfo(x.dtype).eps))
    return (x * (1 + change * signs)).astype(x.dtype)


def difference(got: Outputs, wanted: Outputs, /) -> float:
    """The largest magnitude of a difference; infinite where shapes or what is finite differ."""
    if got.shape != wanted.shape or not np.isfinite(got).all():
        return np.inf
    return float(np.abs(got.astype(np.float64) - wanted).max())


@dataclass(frozen=True, slots=True)
class FileRun:
    """A file that was run, and agreed.

    Args:
        runtime: Name of the program.
        version: Its version.
        batch_sizes: Of the batches.
        largest_difference: From the quantized network's outputs, over all batches.
        largest_output: The largest magnitude among those.
        tolerance: The difference that would have been a fault.
    """

    runtime: str
    version: str
    batch_sizes: tuple[int, ...]
    largest_difference: float
    largest_output: float
    tolerance: float

    @property
    def sentence(self) -> str:
        """What was run and found."""
        sizes = " and ".join(map(str, self.batch_sizes))
        return (
            f"Run in {self.runtime} {self.version} with random batches of {sizes}: its outputs are "
            f"the quantized network's up to {self.largest_difference:.2g} (outputs up to "
            f"{self.largest_output:.2g})."
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "runtime": self.runtime,
            "version": self.version,
            "batch_sizes": list(self.batch_sizes),
            "largest_difference": self.largest_difference,
            "largest_output": self.largest_output,
            "tolerance": self.tolerance,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FileRun:
        """From what ``to_json`` gives."""
        return cls(**{**values, "batch_sizes": tuple(values["batch_sizes"])})

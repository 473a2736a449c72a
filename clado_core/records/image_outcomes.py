"""What one network does on some images, and what another does differently on the same ones."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from clado_core.errors import InputError

NORMAL_95 = 1.959964
"""97.5 % quantile of the standard normal distribution."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageOutcomes:
    """What one network does on n images.

    Args:
        right: Whether each image is classified right, shape (n,).
        loss: Mean cross-entropy; NaN where outputs are not finite.

    Raises:
        InputError: There are no images.
    """

    right: npt.NDArray[np.bool_]
    loss: float

    def __post_init__(self) -> None:
        if self.right.ndim != 1 or not len(self.right):
            raise InputError(f"Outcomes are of one image or more, not of shape {self.right.shape}.")
        right = self.right.copy()
        right.flags.writeable = False
        object.__setattr__(self, "right", right)

    def __len__(self) -> int:
        return len(self.right)

    @property
    def n_right(self) -> int:
        """Images classified right."""
        return int(self.right.sum())

    @property
    def top1(self) -> float:
        """Fraction classified right."""
        return float(self.right.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """Wilson interval of ``top1``, 95 %."""
        return wilson_interval(self.n_right, len(self))

    def to_json(self) -> dict[str, Any]:
        """As plain values: ``n``, ``loss``, and ``right``, eight images to a byte, in base64."""
        packed = base64.b64encode(np.packbits(self.right).tobytes()).decode()
        return {"n": len(self), "loss": self.loss, "right": packed}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], /) -> Self:
        """From such values.

        Raises:
            InputError: A field is missing or of another type, or there are fewer images than n.
        """
        try:
            packed = np.frombuffer(base64.b64decode(values["right"], validate=True), dtype=np.uint8)
            right, n = np.unpackbits(packed).astype(np.bool_), int(values["n"])
            if not 1 <= n <= len(right) < n + 8:
                raise InputError(f"there are {len(right)} bits for {n} images")
            return cls(right[:n], float(values["loss"]))
        except (KeyError, TypeError, ValueError) as problem:
            raise InputError(f"these are no outcomes of images: {problem!r}") from None


def wilson_interval(right: int, n: int, /) -> tuple[float, float]:
    """95 % confidence interval of a proportion; holds near 0 and 1, unlike the normal one.

    Source: Wilson, 1927.
    """
    from scipy.stats import binomtest

    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True, slots=True)
class Drop:
    """How much less accurate one network is than another on the same n images.

    Args:
        lost: Images that only the other network classifies right.
        gained: Images that only this one does.
        n: All images.
    """

    lost: int
    gained: int
    n: int

    @property
    def share(self) -> float:
        """(lost − gained) / n: a fraction of the images, negative where this one is better."""
        return (self.lost - self.gained) / self.n

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of ``share``: Wald's, with one image added to the lost and the gained.

        p₁ − p₂ ± 1.96·√((p₁ + p₂ − (p₁ − p₂)²) / (n + 2)), p₁ = (lost + 1) / (n + 2) and p₂
        likewise of the gained. Images on which both agree widen nothing, as they should not.

        Source: Bonett and Price, 2012, for paired proportions.
        """
        n = self.n + 2
        lost, gained = (self.lost + 1) / n, (self.gained + 1) / n
        half = NORMAL_95 * math.sqrt((lost + gained - (lost - gained) ** 2) / n)
        return max(lost - gained - half, -1.0), min(lost - gained + half, 1.0)


def drop_from(reference: ImageOutcomes, outcomes: ImageOutcomes, /) -> Drop:
    """What a network loses against a reference, image by image.

    Raises:
        InputError: They are not of as many images.
    """
    if len(reference) != len(outcomes):
        raise InputError(
            f"Outcomes of {len(outcomes)} and of {len(reference)} images cannot be compared."
        )
    lost = int((reference.right & ~outcomes.right).sum())
    return Drop(lost, int((outcomes.right & ~reference.right).sum()), len(reference))

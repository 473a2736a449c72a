"""Do a network's answers go with the labels it was measured on? Wrong labels measure nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clado_core.errors import InputError

LEVEL = 0.01
"""Agreement counts as above chance where chance alone gives as much less often than this."""

MUCH_BETTER = 2
"""Shifted labels are named where they agree at least so many times as often as those given."""


class Agreement(NamedTuple):
    """Samples on which the network's answer is the label.

    Args:
        right: How many.
        chance: Share expected of answers as frequent as these that know nothing of the labels.
    """

    right: int
    chance: float

    def p_value(self, n: int, /) -> float:
        """How often chance alone agrees on as many of n samples: a one-sided binomial test."""
        from scipy.stats import binomtest

        return float(binomtest(self.right, n, self.chance, alternative="greater").pvalue)


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """What the float network says of the sensitivity set, against its labels.

    Args:
        n: Number of samples.
        classes: How many the network tells apart.
        as_given: Agreement with the labels.
        raised: Agreement with every label plus one.
        lowered: Agreement with every label minus one.
        named: How many classes the data has names for; None where it has none.

    Raises:
        InputError: Counts or chances out of their range.
    """

    n: int
    classes: int
    as_given: Agreement
    raised: Agreement
    lowered: Agreement
    named: int | None = None

    def __post_init__(self) -> None:
        counts = [self.n, self.classes, 1 if self.named is None else self.named]
        found = (self.as_given, self.raised, self.lowered)
        whole = all(type(count) is int for count in (*counts, *(each.right for each in found)))
        if not whole or min(counts) < 1 or not all(map(self._is_share, found)):
            raise InputError(f"The check of labels holds numbers that cannot be: {self}.")

    def _is_share(self, agreement: Agreement) -> bool:
        return 0 <= agreement.right <= self.n and 0.0 <= agreement.chance <= 1.0 + 1e-9

    @property
    def accuracy(self) -> float:
        """Share of the samples that the float network classifies as they are labelled."""
        return self.as_given.right / self.n

    @property
    def is_near_chance(self) -> bool:
        """Whether that is not significantly above chance (binomial test, 1 %)."""
        return self.as_given.p_value(self.n) >= LEVEL

    @property
    def shift(self) -> int:
        """+1 or −1 where labels changed by that agree much more often; 0 else.

        Much: twice as often or more, significantly so on the samples that tell the two apart, and
        significantly above chance.
        """
        for shift, other in ((1, self.raised), (-1, self.lowered)):
            apart = Agreement(other.right, 0.5).p_value(max(other.right + self.as_given.right, 1))
            above = other.p_value(self.n) < LEVEL
            if above and apart < LEVEL and other.right >= MUCH_BETTER * self.as_given.right:
                return shift
        return 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on what looks wrong; none where all is well."""
        found = [count_mismatch(self.classes, self.named)]
        if self.shift:
            found.append(self._shifted())
        elif self.is_near_chance:
            found.append(
                f"The float network classifies {self.accuracy:.1%} of the {self.n:,} samples as "
                f"they are labelled, no better than chance ({self.as_given.chance:.1%}; binomial "
                f"test, p = {self.as_given.p_value(self.n):.2g}): check the weights, how the "
                "images are prepared, and which class has which index."
            )
        return tuple(sentence for sentence in found if sentence)

    def _shifted(self) -> str:
        other, how = (self.raised, "raised") if self.shift > 0 else (self.lowered, "lowered")
        why = (
            "the network may count a background class first, as those with 1,001 classes do"
            if self.shift > 0
            else "they may count from 1, or from a class that the network does not know"
        )
        return (
            f"The labels look shifted by one: with each {how} by one, the float network classifies "
            f"{other.right / self.n:.1%} of the {self.n:,} samples right, as given "
            f"{self.accuracy:.1%} (chance: {self.as_given.chance:.1%}); {why}, or the class "
            "folders are in another order than it was trained with."
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        values = asdict(self)
        return {k: v._asdict() if isinstance(v, Agreement) else v for k, v in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LabelCheck:
        """From such values; TypeError where they are of another form."""
        given: dict[str, Any] = dict(values)
        for key in ("as_given", "raised", "lowered"):
            given[key] = Agreement(**given[key])
        return cls(**given)


def check_labels(
    answers: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    /,
    *,
    classes: int,
    named: int | None = None,
) -> LabelCheck:
    """Compare a network's answers with labels as given, and shifted by one.

    Args:
        answers: Index of the largest class score of each sample, shape (n,).
        labels: Shape (n,).
        classes: Scores per sample.
        named: As of ``LabelCheck``.
    """
    found = (_agreement(answers, labels + shift, classes) for shift in (0, 1, -1))
    as_given, raised, lowered = found
    return LabelCheck(len(labels), classes, as_given, raised, lowered, named)


def _agreement(
    answers: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], classes: int
) -> Agreement:
    """Chance is Σ_c P(answer = c)·P(label = c); labels all alike leave 1/classes to guess by."""
    right = int((answers == labels).sum())
    if len(np.unique(labels)) == 1:
        return Agreement(right, 1 / classes)
    inside = labels[(labels >= 0) & (labels < classes)]
    shares = [np.bincount(values, minlength=classes) / len(labels) for values in (answers, inside)]
    return Agreement(right, float(shares[0] @ shares[1]))


def count_mismatch(classes: int, named: int | None, /) -> str:
    """A sentence where network and data have different numbers of classes; "" else."""
    if named in (None, classes):
        return ""
    return (
        f"The network tells {classes:,} classes apart and the data has {named:,}: make sure that "
        "class k of the data is class k of the network."
    )

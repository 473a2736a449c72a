"""Where a measured matrix comes from: what makes two matrices the same measurement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from clado_core.errors import InputError
from clado_core.records.calibration import Calibration
from clado_core.records.label_check import LabelCheck
from clado_core.records.names import Split
from clado_core.records.portable import Portable

OPTIONAL = ("classes", "labels", "calibration")
"""Fields that older files do not have."""


@dataclass(frozen=True, slots=True)
class Provenance(Portable):
    """What was measured, on which data, how; None where it is not known (an imported matrix).

    Args:
        model: As given to ``measure``: a built-in name, ``torchvision:NAME`` or ``FILE:FACTORY``.
        weights_sha256: Digest of the network's state dict.
        data: Name or path of the data set.
        data_sha256: Digest of the sensitivity set's inputs and labels.
        n_samples: Samples in the sensitivity set.
        seed: Seed that drew them.
        estimator: "pairwise", "adaptive", ..., or "imported".
        loss: "ce" or "kl".
        created: ISO 8601 time, UTC.
        versions: Library name → version at the time of measuring.
        details: What the estimator reports of itself, such as the share of pairs it measured.
        classes: Class index → name, where the data has names.
        labels: How the float network's answers agree with the labels.
        split: Part of the data that the samples were drawn from; None in files of before it was
            kept, and for data in memory.
        calibration: How the candidates were made that it was measured with; None where weights
            were rounded to nearest.
    """

    model: str | None = None
    weights_sha256: str | None = None
    data: str | None = None
    data_sha256: str | None = None
    n_samples: int | None = None
    seed: int | None = None
    estimator: str | None = None
    loss: str | None = None
    created: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, int | float | str] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    labels: LabelCheck | None = None
    split: Split | None = None
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if self.classes is not None:
            object.__setattr__(self, "classes", _names(self.classes))
        for name in ("versions", "details"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def weights(self) -> str | None:
        """The checkpoint or the name of the weights, where they are not the default ones."""
        named = self.details.get("weights")
        return None if named is None else str(named)

    def to_json(self) -> dict[str, Any]:
        """As plain values for a JSON header; of what is optional, what there is."""
        values = {
            f.name: dict(value) if isinstance(value, MappingProxyType) else value
            for f in fields(self)
            for value in [getattr(self, f.name)]
            if f.name not in OPTIONAL
        }
        if self.classes is not None:
            values["classes"] = list(self.classes)
        if self.labels is not None:
            values["labels"] = self.labels.to_json()
        if self.calibration is not None:
            values["calibration"] = self.calibration.to_json()
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Provenance:
        """From such values; unknown keys are an error of the file and raise TypeError."""
        given = dict(values)
        if given.get("labels") is not None:
            given["labels"] = LabelCheck.from_json(given["labels"])
        if given.get("calibration") is not None:
            given["calibration"] = Calibration(**given["calibration"])
        return cls(**given)


def _names(names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InputError("The field 'classes' must be a list of names.")
    return tuple(names)

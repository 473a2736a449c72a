"""Where a measured matrix comes from: what makes two matrices the same measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from clado_core.records.names import Split
from clado_core.records.portable import Portable


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
        split: Part of the data that the samples were drawn from; None in files of before it was
            kept, and for data in memory.
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
    details: Mapping[str, float | str] = field(default_factory=dict)
    split: Split | None = None

    def __post_init__(self) -> None:
        for name in ("versions", "details"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def weights(self) -> str | None:
        """The checkpoint or the name of the weights, where they are not the default ones."""
        named = self.details.get("weights")
        return None if named is None else str(named)

    def to_json(self) -> dict[str, Any]:
        """As plain values for a JSON header."""
        return {
            f.name: dict(value) if isinstance(value, MappingProxyType) else value
            for f in fields(self)
            for value in [getattr(self, f.name)]
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Provenance:
        """From such values; unknown keys are an error of the file and raise TypeError."""
        return cls(**values)

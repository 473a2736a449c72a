"""Every error a user can meet, as one tree; each leaf is one thing the user can do.

CladoError
├─ InputError                 correct the argument, name or array that the sentence names
├─ ArtifactError              choose another file
│  ├─ ArtifactVersionError    re-measure, or upgrade; carries found and expected versions
│  └─ ArtifactCorruptError    restore or re-measure the file; the sentence names the field
├─ MeasurementError           look at the layer and bit-width it carries
├─ InfeasibleBudgetError      raise the budget; carries requested, minimum and maximum
└─ SolverError                a fault of the solver or of ours

A solve that stops at a time limit is not an error: it is a Solution with a gap.
"""

from __future__ import annotations


class CladoError(Exception):
    """Root of all errors that are shown to users as one sentence."""


class InputError(CladoError):
    """An argument, a name or an array given by the user cannot be used."""


class ArtifactError(CladoError):
    """A file of measured sensitivities cannot be used."""


class ArtifactVersionError(ArtifactError):
    """The file was written in a schema that this version does not read.

    Args:
        message: The sentence for the user.
        found: Schema version in the file.
        expected: Newest schema version this program reads.
    """

    def __init__(self, message: str, *, found: int, expected: int) -> None:
        super().__init__(message)
        self.found = found
        self.expected = expected


class ArtifactCorruptError(ArtifactError):
    """The file is truncated, was changed after it was written, or lacks a field."""


class MeasurementError(CladoError):
    """A loss could not be measured.

    Args:
        message: The sentence for the user.
        layer: Name of the perturbed layer, or None for the unperturbed network.
        bits: Its bit-width, or None.
    """

    def __init__(self, message: str, *, layer: str | None = None, bits: int | None = None) -> None:
        super().__init__(message)
        self.layer = layer
        self.bits = bits


class InfeasibleBudgetError(CladoError):
    """No assignment satisfies the budgets.

    Args:
        message: The sentence for the user; names the constraint that binds.
        constraint: Its name: "budget_bits", "budget_bytes" or "budget_bops".
        requested: The limit asked for, in the constraint's unit.
        minimum: The smallest value any allowed assignment reaches.
        maximum: The largest value any allowed assignment reaches.
    """

    def __init__(
        self, message: str, *, constraint: str, requested: int, minimum: int, maximum: int
    ) -> None:
        super().__init__(message)
        self.constraint = constraint
        self.requested = requested
        self.minimum = minimum
        self.maximum = maximum


class SolverError(CladoError):
    """The solver itself failed."""

"""Stored evidence: every choice with what it was measured to do."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

from clado_core.errors import ArtifactCorruptError, ArtifactError, ArtifactVersionError
from clado_core.evidence.choices import Choice
from clado_core.evidence.significance import PairedComparison, rank_correlation
from clado_core.files.atomic import write_atomically
from clado_core.records.measured_choice import RepairSettings
from clado_core.records.names import CLADO

SCHEMA, SCHEMA_VERSION = "clado-evidence", 4
READABLE = (3, SCHEMA_VERSION)
"""Files of version 3 have no repaired outcomes, and are otherwise the same."""
SUFFIX = ".evidence.json"


@dataclass(frozen=True, slots=True)
class RepairedOutcome:
    """A choice as it is shipped, evaluated on the held-out images.

    Args:
        top1: Fraction classified right.
        ci95: Its 95 % Wilson interval.
        loss: Mean cross-entropy.
        paired: As of ``Outcome``, both choices repaired.
    """

    top1: float
    ci95: tuple[float, float]
    loss: float
    paired: dict[str, PairedComparison]


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well predictions rank random assignments of one size, shipped as repaired.

    Args:
        avg_bits: Their average bits per searched weight.
        n: How many.
        images: Held-out images that each was run on.
        by: Which prediction → Spearman's rank correlation with the measured loss; None where all
            are equal.
    """

    avg_bits: float
    n: int
    images: int
    by: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A choice, quantized for real and evaluated.

    Args:
        choice: What was chosen, within which budget.
        top1: Fraction of held-out images classified right.
        ci95: Its 95 % Wilson interval.
        loss: Mean cross-entropy on them.
        sensitivity_loss: Mean cross-entropy on the sensitivity set, whose loss was predicted.
        paired: For each of ``REFERENCES`` but its own method, that method's choice within the same
            budget against this one (gained: images that only that method's classifies right).
        repaired: The same choice repaired; all else is of weights rounded to nearest. None where
            it was not run.
    """

    choice: Choice
    top1: float
    ci95: tuple[float, float]
    loss: float
    sensitivity_loss: float
    paired: dict[str, PairedComparison]
    repaired: RepairedOutcome | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All outcomes of one network in one setting.

    Args:
        name: Of the artifact whose measured matrix was minimized.
        network: As ``measure`` takes it.
        digests: SHA-256 by name: "weights", "data" (the held-out images), "matrix", "gram", and
            "repaired", the matrix measured with a repair's candidates, where there is one.
        n: Held-out images.
        float_top1: Fraction classified right without quantization.
        float_loss: Mean cross-entropy without quantization.
        outcomes: By ascending budget.
        versions: Library name → version that evaluated them.
        refine_k: The ``k`` of ``refine`` behind the refined outcomes, 0 where there are none; None
            in files of before it was stored.
        repair: How choices were repaired; None where they were not.
        rankings: Of random assignments.
    """

    name: str
    network: str
    digests: dict[str, str]
    n: int
    float_top1: float
    float_loss: float
    outcomes: tuple[Outcome, ...]
    versions: dict[str, str]
    refine_k: int | None = None
    repair: RepairSettings | None = None
    rankings: tuple[Ranking, ...] = ()

    def of(self, method: str, /) -> tuple[Outcome, ...]:
        """A method's outcomes by ascending budget."""
        return tuple(each for each in self.outcomes if each.choice.method == method)

    def loss_increase(self, outcome: Outcome, /) -> float:
        """Measured loss above the float network's, on held-out images."""
        return outcome.loss - self.float_loss

    def rank_correlation(
        self, method: str | None = CLADO, /, *, held_out: bool = True
    ) -> float | None:
        """Spearman's, of predicted loss increase and measured loss.

        Args:
            method: Whose choices; those of all methods where None.
            held_out: Measured on the held-out images; otherwise on the sensitivity set, which
                leaves out how the network's errors carry over to other images.
        """
        some = self.outcomes if method is None else self.of(method)
        distinct = list({each.choice.bits: each for each in some}.values())
        return rank_correlation(
            [each.choice.predicted_loss_increase for each in distinct],
            [each.loss if held_out else each.sensitivity_loss for each in distinct],
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values, with what follows from them."""
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            **asdict(self),
            "rank_correlation": {
                CLADO: self.rank_correlation(),
                "all": self.rank_correlation(None),
                f"{CLADO}, sensitivity set": self.rank_correlation(held_out=False),
            },
        }


def save_evidence(evidence: Evidence, path: Path, /) -> None:
    """Write it as JSON, atomically."""
    write_atomically(path, (json.dumps(evidence.to_json(), indent=1) + "\n").encode())


def load_evidence(path: str | Path, /) -> Evidence:
    """Read stored evidence.

    Raises:
        ArtifactError: There is no such file.
        ArtifactVersionError: It was written by a newer program.
        ArtifactCorruptError: It is something else, or a field is missing.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ArtifactError(f"Cannot read {path}: {problem.strerror}.") from None
    except ValueError as problem:
        raise ArtifactCorruptError(f"{path.name} is not JSON: {problem}.") from None
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        raise ArtifactCorruptError(f"{path.name} holds no evidence: its schema is not '{SCHEMA}'.")
    if values.get("schema_version") not in READABLE:
        raise ArtifactVersionError(
            f"{path.name}: the field 'schema_version' is {values.get('schema_version')}, and this "
            f"program reads {SCHEMA_VERSION}; upgrade it or evaluate again.",
            found=int(values.get("schema_version", 0)),
            expected=SCHEMA_VERSION,
        )
    try:
        fields = {
            each.name: values[each.name]
            for each in dataclass_fields(Evidence)
            if each.name in values or each.default is MISSING
        }
        fields["outcomes"] = tuple(map(_outcome, values["outcomes"]))
        fields["rankings"] = tuple(Ranking(**each) for each in values.get("rankings", ()))
        if (repair := values.get("repair")) is not None:
            fields["repair"] = RepairSettings(**repair)
        return Evidence(**fields)
    except (KeyError, TypeError) as problem:
        raise ArtifactCorruptError(f"{path.name}: a field cannot be used: {problem}.") from None


def _outcome(values: dict[str, Any]) -> Outcome:
    choice = Choice(**values["choice"] | {"bits": tuple(values["choice"]["bits"])})
    return Outcome(
        choice,
        values["top1"],
        tuple(values["ci95"]),
        values["loss"],
        values["sensitivity_loss"],
        _paired(values),
        _repaired(values.get("repaired")),
    )


def _repaired(values: dict[str, Any] | None) -> RepairedOutcome | None:
    if values is None:
        return None
    interval = tuple(values["ci95"])
    return RepairedOutcome(values["top1"], interval, values["loss"], _paired(values))


def _paired(values: dict[str, Any]) -> dict[str, PairedComparison]:
    return {name: PairedComparison(**paired) for name, paired in values["paired"].items()}

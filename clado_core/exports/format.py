"""One export target: its file, what it needs, and what it does with a choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clado_core.errors import InputError
from clado_core.exports.capability import (
    Capability,
    Fate,
    Fates,
    chosen_layers,
    keep_all,
    with_upcast,
)
from clado_core.exports.job import ExportJob
from clado_core.exports.receipt import Receipt
from clado_core.records.layers import LayerTable
from clado_core.records.scheme import act_widths, weight_bits

NAMED_AT_MOST = 10
WITHOUT_WEIGHTS = (
    "This format holds no weights, so nothing of a repair is in it: accuracy will be that of the "
    "rounding that its reader does."
)


@dataclass(frozen=True, slots=True)
class Format:
    """One export target.

    Args:
        name: As given to ``export --format``.
        suffix: Of the file's name, with its dot.
        mime: Media type for a browser.
        keeps: What the file holds, one sentence for the capability list.
        render: Job and its capability report, in which nothing is refused → the file's bytes.
        fates: Chosen layers → what becomes of each.
        needs_network: Whether the weights are needed, and so torch.
        writes_with: Packages needed to write the file, as installed.
        checked_with: Packages whose loading of the file the tests check; empty: not verified.
        notes: Sentences on running the file, whatever the choice.
        notes_on: The same, from what becomes of a choice's layers.
        receipt: File's bytes → what the layers take in it; None where the file holds no weights.
    """

    name: str
    suffix: str
    mime: str
    keeps: str
    render: Callable[[ExportJob, Capability], bytes]
    fates: Fates = keep_all
    needs_network: bool = False
    writes_with: tuple[str, ...] = ()
    checked_with: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    notes_on: Callable[[tuple[Fate, ...]], tuple[str, ...]] = lambda fates: ()
    receipt: Callable[[ExportJob, bytes], Receipt] | None = None

    @property
    def holds_weights(self) -> bool:
        """Whether the file has the integers, and so what a repair made of them."""
        return self.receipt is not None

    @property
    def is_text(self) -> bool:
        """Whether the file can be shown as text."""
        return self.mime.startswith("text/") or self.mime.endswith(("json", "yaml"))

    def capability(self, job: ExportJob, /) -> Capability:
        """What this target does with the job's choice."""
        matrix, assignment = job.configuration.matrix, job.configuration.assignment
        chosen = chosen_layers(matrix.layers.layers, tuple(map(weight_bits, assignment.bits)))
        fates = self.fates(chosen)
        if job.upcast:
            fates = tuple(map(with_upcast, fates))
        notes = self.notes_on(fates) + self.notes
        if acts := act_widths(matrix.bit_widths, matrix.scheme):
            widths = " or ".join(map(str, acts))
            notes += (
                f"The sensitivities were measured with layer inputs of {widths} bits; this file "
                "says nothing about inputs, which stay float.",
            )
        return Capability(self.name, chosen, fates, notes + _left_float(matrix.layers))

    def contents(self, job: ExportJob, /) -> bytes:
        """The file's bytes.

        Raises:
            InputError: The target has no form for some layers, which the sentence names, or a
                library is missing.
        """
        report = self.capability(job)
        if report.refused:
            named = "; ".join(
                f"'{chosen.layer.name}' at {chosen.bits} bits ({fate.why}; upcast: {fate.stored})"
                for chosen, fate in report.refused
            )
            raise InputError(
                f"{self.name} has no form for {named}. Solve again with other bit-widths allowed "
                "for these layers, or upcast: accept more bits for them."
            )
        return self.render(job, report)

    def to_json(self) -> dict[str, Any]:
        """What the capability list says of this target, whatever the choice."""
        checked = ", ".join(self.checked_with)
        return {
            "keeps": self.keeps,
            "suffix": self.suffix,
            "needs_weights": self.needs_network,
            "needs_packages": list(self.writes_with),
            "verified": f"loaded with {checked} in the tests" if checked else "not verified",
            "notes": list(self.notes),
        }


def _left_float(layers: LayerTable) -> tuple[str, ...]:
    """A note that names the weights that no bit-width was chosen for; none where there are none."""
    parts = [part for part in layers.float_parts or () if part.is_weight]
    if not parts:
        return ()
    share = sum(part.n_bytes for part in parts) / layers.float_bytes
    named = ", ".join(part.name for part in parts[:NAMED_AT_MOST])
    more = len(parts) - NAMED_AT_MOST
    return (
        f"No bit-width is chosen for these weights, which stay float32: {named}"
        f"{f' and {more} more' if more > 0 else ''} ({share:.1%} of the file in float32).",
    )

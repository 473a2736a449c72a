"""What ``evidence`` ships networks with: candidates, and a matrix measured with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from torch import nn

from clado_core.data.sources import DataSource, Samples
from clado_core.data.validation import validation_part
from clado_core.errors import InputError
from clado_core.quantization.candidate import CandidateTable
from clado_core.records.calibration import SEED
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import Rounding
from clado_core.repairs.database import calibration_of, candidate_table, candidates_in
from clado_core.repairs.repair import calibration_sets
from clado_core.repairs.repairer import Repairer


class Reporter(Protocol):
    """Tells how far something is."""

    def update(self, done: int, total: int, /) -> None:
        """So many of so many are done."""


ProgressOf = Callable[[str, str], AbstractContextManager[Reporter]]
"""(what is done, its unit) → tells how far it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Shipping:
    """What choosing for repaired weights, and shipping them, needs.

    Args:
        table: The candidates that ``matrix`` was measured with.
        matrix: All pairs measured with them, by the divergence from the float network's outputs.
        calibrated: Likewise, from single candidates.
        repairer: Ships a choice, with the same candidates.
    """

    table: CandidateTable
    matrix: SensitivityMatrix
    calibrated: SensitivityMatrix
    repairer: Repairer

    def to_choose_by(self, source: DataSource, seen: Samples, /) -> Samples:
        """As many training images as were measured on, which neither that nor a repair has seen;
        those measured on where too few are left."""
        about, used = self.matrix.provenance, self.repairer.images
        try:
            return validation_part(source, about, used, n=len(seen))
        except InputError:
            return seen


@contextmanager
def shipping(
    module: nn.Module,
    matrix: SensitivityMatrix,
    source: DataSource,
    measured_with: Callable[[CandidateTable, str], SensitivityMatrix],
    /,
    *,
    database: Path,
    rounding: Rounding,
    n_images: int,
    progress: ProgressOf,
    allow_noise: bool,
) -> Iterator[Shipping]:
    """Make candidates, or find them, and measure with them.

    Args:
        module: The float network, on its device.
        matrix: Measured with rounding to nearest.
        source: Its data.
        measured_with: Measures with candidates, by an estimator, or finds what was measured before.
        database: File of the candidates.
        rounding: "gptq" or "adaround".
        n_images: To calibrate with, and as many to judge by.
        progress: Shows how far making candidates is.
        allow_noise: As for ``Repairer``.
    """
    sets, layers = calibration_sets(source, n_images, seed=SEED), matrix.layers
    calibration = calibration_of(sets[0], rounding=rounding, seed=SEED)
    inside = (module, layers, matrix.scheme, sets[0], calibration)
    with candidates_in(database, *inside) as candidates:
        with progress(f"Rounding {matrix.name}", "candidates") as line:
            menu = matrix.bit_widths
            table = candidate_table(candidates, layers, menu, calibration, on_progress=line.update)
        repaired, calibrated = (measured_with(table, how) for how in ("pairwise", "calibrated"))
        make = partial(Repairer, rounding=rounding, allow_noise=allow_noise)
        repairer = make(module, repaired, *sets, candidates=candidates)
        yield Shipping(table, repaired, calibrated, repairer)

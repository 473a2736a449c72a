"""Make evidence of one network in one setting: artifacts, choices, and networks that are run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from clado_core.data.sources import DataSource, Samples
from clado_core.evaluation.choice_runner import ChoiceRunner
from clado_core.evaluation.evidence_repaired import rankings, with_repaired
from clado_core.evaluation.evidence_run import evaluated, measured, refined, shifts_of
from clado_core.evaluation.evidence_shipping import ProgressOf, Shipping, shipping
from clado_core.evidence import Choice, Evidence, choose, load_evidence
from clado_core.evidence.choices import REFINED_REPAIRED, choose_repaired
from clado_core.evidence.record import SUFFIX as EVIDENCE
from clado_core.evidence.reproduction import of_stored_rows
from clado_core.files.artifact import SUFFIX, artifact_digest
from clado_core.files.outcomes import keep_outcome, read_outcomes
from clado_core.networks.load import LoadedModel
from clado_core.quantization.candidate import CandidateTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import NEAREST, REFINED, LayerSelection, Rounding
from clado_core.repairs.database import database_path
from clado_core.sensitivity import MeasurementSettings

GRAM = "-logit-gram"
RANKED_BITS = (2.5, 3.0)
"""Average bits of the random assignments that predictions rank."""
RANKED_IMAGES = 2000
"""Held-out images that random assignments are run on."""


@dataclass(frozen=True, slots=True)
class EvidenceOptions:
    """What to make, and where.

    Args:
        out: Folder of artifacts and evidence.
        methods: Whose choices are run.
        selection: Of layers, as for ``find_layers``.
        seed: Drew the sensitivity set.
        time_limit_s: Of each solve.
        rounding: Of repairs; "nearest" for none.
        repair_images: To calibrate repairs with, and as many to judge by.
        ranked: Random assignments of each size to rank.
        allow_noise: Run a network whose outputs differ from run to run, with a warning.
    """

    out: Path
    methods: tuple[str, ...]
    selection: LayerSelection
    seed: int
    time_limit_s: float
    rounding: Rounding
    repair_images: int
    ranked: int
    allow_noise: bool


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceTask:
    """One network in one setting, made ready.

    Args:
        options: What to make, and where.
        model: On its device.
        source: Its data.
        samples: The sensitivity set.
        settings: How it is measured with rounding to nearest.
        name: Of the files.
        progress: Shows how far each part is.
    """

    options: EvidenceOptions
    model: LoadedModel
    source: DataSource
    samples: Samples
    settings: MeasurementSettings
    name: str
    progress: ProgressOf

    def evidence(
        self, budgets: Sequence[float], k: int, cache: Path | None, stored: Evidence | None, /
    ) -> Evidence:
        """Choose by every method and run what was chosen, as rounded and as repaired.

        Args:
            budgets: Average bits per searched weight.
            k: As for ``refine``; 0 for not at all.
            cache: Keeps what was run.
            stored: Whose rows at these budgets are to be redone; None for all.
        """
        gram = replace(self.settings, estimator="logit-gram", baselines=())
        matrix = self._measured(self.name, self.settings)
        matrices = matrix, self._measured(self.name + GRAM, gram)
        if self.options.rounding == NEAREST:
            choices = self._choices(matrices, budgets, k, cache, anew=stored is not None)
            return self._evaluated(matrix, choices, budgets, cache, stored)
        with self._shipping(matrix) as shipped:
            choices = self._choices(matrices, budgets, k, cache, anew=stored is not None)
            choices += self._repaired_choices(matrix, shipped, budgets, k, cache)
            evidence = self._evaluated(matrix, choices, budgets, cache, stored)
            return self._shipped(evidence, matrix, shipped, anew=stored is not None)

    def _path(self, name: str) -> Path:
        return self.options.out / f"{name}{SUFFIX}"

    def _measured(
        self, name: str, settings: MeasurementSettings, candidates: CandidateTable | None = None
    ) -> SensitivityMatrix:
        with self.progress(f"Measuring {name}", "losses") as line:
            return measured(
                *(self._path(name), self.model, self.samples, settings),
                selection=self.options.selection,
                seed=self.options.seed,
                candidates=candidates,
                on_progress=line.update,
            )

    def _shipping(self, matrix: SensitivityMatrix) -> AbstractContextManager[Shipping]:
        options = self.options
        how = replace(self.settings, loss="kl", baselines=())

        def measured_with(table: CandidateTable, estimator: str) -> SensitivityMatrix:
            name = f"{self.name}-{options.rounding}"
            name += "" if estimator == "pairwise" else f"-{estimator}"
            return self._measured(name, replace(how, estimator=estimator), table)

        return shipping(
            *(self.model.module, matrix, self.source, measured_with),
            database=database_path(self._path(self.name), options.rounding),
            rounding=options.rounding,
            n_images=options.repair_images,
            progress=self.progress,
            allow_noise=options.allow_noise,
        )

    def _choices(
        self,
        matrices: tuple[SensitivityMatrix, SensitivityMatrix],
        budgets: Sequence[float],
        k: int,
        cache: Path | None,
        *,
        anew: bool,
    ) -> list[Choice]:
        """Of all methods that know weights rounded to nearest; refined ones may be stored."""
        matrix = matrices[0]
        with self.progress(f"Certificate of {matrix.name}", "sizes") as line:
            shifts = shifts_of(self._path(matrix.name), matrix, on_progress=line.update)
        with self.progress(f"Allocating {matrix.name}", "budgets") as line:
            solve = partial(choose, shifts=shifts, time_limit_s=self.options.time_limit_s)
            choices = solve(*matrices, budgets, on_progress=line.update)
        before = [] if anew else self._refined_before(k)
        choices += [each for each in before if each.budget in budgets]
        left = sorted(set(budgets) - {each.budget for each in before})
        if k and left and REFINED in self.options.methods:
            with self.progress(f"Refining {matrix.name}", "budgets") as line:
                choices += refined(
                    *(self.model, matrix, self.samples, left),
                    k=k,
                    shifts=shifts,
                    cache=cache,
                    allow_noise=self.options.allow_noise,
                    on_progress=line.update,
                )
        return choices

    def _refined_before(self, k: int) -> list[Choice]:
        """Refined choices of stored evidence of the same matrix: a search would find them again."""
        path = self.options.out / f"{self.name}{EVIDENCE}"
        if not k or not path.is_file():
            return []
        stored, digest = load_evidence(path), artifact_digest(self._path(self.name))
        if stored.digests["matrix"] != digest or stored.refine_k not in (k, None):
            return []
        return [each.choice for each in stored.of(REFINED)]

    def _repaired_choices(
        self,
        matrix: SensitivityMatrix,
        shipped: Shipping,
        budgets: Sequence[float],
        k: int,
        cache: Path | None,
    ) -> list[Choice]:
        """Of the methods that know weights as they are shipped."""
        repaired = shipped.matrix
        with self.progress(f"Certificate of {repaired.name}", "sizes") as line:
            shifts = shifts_of(self._path(repaired.name), repaired, on_progress=line.update)
        with self.progress(f"Allocating {repaired.name}", "budgets") as line:
            solve = partial(choose_repaired, shifts=shifts, time_limit_s=self.options.time_limit_s)
            matrices = matrix, repaired, shipped.calibrated
            choices = solve(*matrices, budgets, on_progress=line.update)
        if k and REFINED_REPAIRED in self.options.methods:
            images = shipped.to_choose_by(self.source, self.samples)
            with self.progress(f"Refining {repaired.name}", "budgets") as line:
                choices += refined(
                    *(self.model, repaired, images, budgets),
                    k=k,
                    shifts=shifts,
                    cache=cache,
                    method=REFINED_REPAIRED,
                    scored_by=matrix,
                    candidates=shipped.table,
                    allow_noise=self.options.allow_noise,
                    on_progress=line.update,
                )
        return choices

    def _evaluated(
        self,
        matrix: SensitivityMatrix,
        choices: list[Choice],
        budgets: Sequence[float],
        cache: Path | None,
        stored: Evidence | None,
    ) -> Evidence:
        choices = [each for each in choices if each.method in self.options.methods]
        names = {"matrix": self.name, "gram": self.name + GRAM}
        if self.options.rounding != NEAREST:
            names["repaired"] = f"{self.name}-{self.options.rounding}"
        with self.progress(f"Evaluating {self.name}", "assignments") as line:
            return evaluated(
                self.model,
                matrix,
                (self.samples, self.source.split("held-out")),
                choices if stored is None else of_stored_rows(choices, stored, budgets),
                digests={what: artifact_digest(self._path(name)) for what, name in names.items()},
                cache=cache,
                allow_noise=self.options.allow_noise,
                on_progress=line.update,
            )

    def _shipped(
        self,
        evidence: Evidence,
        matrix: SensitivityMatrix,
        shipped: Shipping,
        *,
        anew: bool,
    ) -> Evidence:
        """With all choices as repaired; and how well predictions rank, where that is asked for."""
        held_out, options = self.source.split("held-out"), self.options
        artifact = self._path(self.name)
        runner = ChoiceRunner(
            *(self.model.module, matrix, held_out, shipped.repairer),
            known=() if anew else read_outcomes(artifact, matrix),
            keep=None if anew else partial(keep_outcome, artifact, matrix),
            allow_noise=options.allow_noise,
        )
        with self.progress(f"Repairing {self.name}", "assignments") as line:
            found = with_repaired(evidence, shipped.matrix, runner, on_progress=line.update)
        if anew or not options.ranked:
            return found
        few = replace(held_out, x=held_out.x[:RANKED_IMAGES], y=held_out.y[:RANKED_IMAGES])
        with self.progress(f"Ranking {self.name}", "assignments") as line:
            ranked_by = rankings(
                {
                    "nearest": matrix,
                    "repaired": shipped.matrix,
                    "calibrated": shipped.calibrated,
                },
                *(runner.on(few), RANKED_BITS, options.ranked),
                on_progress=line.update,
            )
        return replace(found, rankings=ranked_by)

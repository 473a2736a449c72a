"""What ``evidence`` does once it is asked for: artifacts, choices, and networks that are run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

from clado_core.cli.evidence_shipping import Shipping, shipping
from clado_core.cli.progress import ProgressLine
from clado_core.data.sources import DataSource, Samples
from clado_core.errors import InputError
from clado_core.evaluation.choice_runner import ChoiceRunner
from clado_core.evaluation.evidence_repaired import rankings, with_repaired
from clado_core.evaluation.evidence_run import evaluated, measured, refined, shifts_of
from clado_core.evidence import Choice, Evidence, choose, load_evidence
from clado_core.evidence.choices import REFINED_REPAIRED, choose_repaired
from clado_core.evidence.record import SUFFIX as EVIDENCE
from clado_core.evidence.reproduction import of_stored_rows
from clado_core.files.artifact import SUFFIX, artifact_digest
from clado_core.files.outcomes import keep_outcome, read_outcomes
from clado_core.networks.load import LoadedModel, load_model
from clado_core.networks.measured import open_data
from clado_core.networks.placement import choose_device, default_batch_size, fit_memory, place
from clado_core.quantization.candidate import CandidateTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import MEASURED_ALONG, NEAREST, REFINED
from clado_core.records.scheme import QuantizationScheme, parse_bit_menu
from clado_core.repairs.database import database_path
from clado_core.sensitivity import MeasurementSettings

GRAM = "-logit-gram"
RANKED_BITS = (2.5, 3.0)
"""Average bits of the random assignments that predictions rank."""
RANKED_IMAGES = 2000
"""Held-out images that random assignments are run on."""


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceTask:
    """One network in one setting, made ready.

    Args:
        arguments: Of the command.
        model: On its device.
        source: Its data.
        samples: The sensitivity set.
        settings: How it is measured with rounding to nearest.
        name: Of the files.
    """

    arguments: argparse.Namespace
    model: LoadedModel
    source: DataSource
    samples: Samples
    settings: MeasurementSettings
    name: str

    @classmethod
    def opened(cls, arguments: argparse.Namespace, /) -> Self:
        """Load network and data."""
        settings = _settings(arguments)
        model = load_model(arguments.model, arguments.weights)
        place(model.module, choose_device(arguments.device))
        spec = arguments.data or model.data
        if spec is None:
            raise InputError(f"Say which data to evaluate {arguments.model} on with --data.")
        source = open_data(model, spec)
        samples = source.sensitivity_set(arguments.samples, seed=arguments.seed)
        fit_memory(model.module, samples.x)
        return cls(arguments, model, source, samples, settings, _name(arguments, model, settings))

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
        if self.arguments.repair == NEAREST:
            choices = self._choices(matrices, budgets, k, cache)
            return self._evaluated(matrix, choices, budgets, cache, stored)
        with self._shipping(matrix) as shipped:
            choices = self._choices(matrices, budgets, k, cache)
            choices += self._repaired_choices(matrix, shipped, budgets, k, cache)
            evidence = self._evaluated(matrix, choices, budgets, cache, stored)
            return self._shipped(evidence, matrix, shipped, anew=stored is not None)

    def _path(self, name: str) -> Path:
        folder: Path = self.arguments.out
        return folder / f"{name}{SUFFIX}"

    def _measured(
        self, name: str, settings: MeasurementSettings, candidates: CandidateTable | None = None
    ) -> SensitivityMatrix:
        with ProgressLine(f"Measuring {name}", "losses") as line:
            return measured(
                *(self._path(name), self.model, self.samples, settings),
                selection=self.arguments.layers,
                seed=self.arguments.seed,
                candidates=candidates,
                on_progress=line.update,
            )

    def _shipping(self, matrix: SensitivityMatrix) -> AbstractContextManager[Shipping]:
        arguments = self.arguments
        how = replace(self.settings, loss="kl", baselines=())

        def measured_with(table: CandidateTable, estimator: str) -> SensitivityMatrix:
            name = f"{self.name}-{arguments.repair}"
            name += "" if estimator == "pairwise" else f"-{estimator}"
            return self._measured(name, replace(how, estimator=estimator), table)

        return shipping(
            *(self.model.module, matrix, self.source, measured_with),
            database=database_path(self._path(self.name), arguments.repair),
            rounding=arguments.repair,
            n_images=arguments.repair_images,
            n_validation=len(self.samples),
            allow_noise=arguments.allow_noise,
        )

    def _choices(
        self,
        matrices: tuple[SensitivityMatrix, SensitivityMatrix],
        budgets: Sequence[float],
        k: int,
        cache: Path | None,
    ) -> list[Choice]:
        """Of all methods that know weights rounded to nearest."""
        matrix = matrices[0]
        with ProgressLine(f"Certificate of {matrix.name}", "sizes") as line:
            shifts = shifts_of(self._path(matrix.name), matrix, on_progress=line.update)
        with ProgressLine(f"Allocating {matrix.name}", "budgets") as line:
            how = {"shifts": shifts, "time_limit_s": self.arguments.time_limit}
            choices = choose(*matrices, budgets, **how, on_progress=line.update)
        before = self._refined_before(k)
        choices += [each for each in before if each.budget in budgets]
        left = sorted(set(budgets) - {each.budget for each in before})
        if k and left:
            with ProgressLine(f"Refining {matrix.name}", "budgets") as line:
                choices += refined(
                    *(self.model, matrix, self.samples, left),
                    k=k,
                    shifts=shifts,
                    cache=cache,
                    allow_noise=self.arguments.allow_noise,
                    on_progress=line.update,
                )
        return choices

    def _refined_before(self, k: int) -> list[Choice]:
        """Refined choices of stored evidence of the same matrix: a search would find them again."""
        path = self.arguments.out / f"{self.name}{EVIDENCE}"
        if not k or self.arguments.reproduce is not None or not path.is_file():
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
        with ProgressLine(f"Certificate of {repaired.name}", "sizes") as line:
            shifts = shifts_of(self._path(repaired.name), repaired, on_progress=line.update)
        with ProgressLine(f"Allocating {repaired.name}", "budgets") as line:
            how = {"shifts": shifts, "time_limit_s": self.arguments.time_limit}
            matrices = matrix, repaired, shipped.calibrated
            choices = choose_repaired(*matrices, budgets, **how, on_progress=line.update)
        if k:
            with ProgressLine(f"Refining {repaired.name}", "budgets") as line:
                choices += refined(
                    *(self.model, repaired, shipped.validation, budgets),
                    k=k,
                    shifts=shifts,
                    cache=cache,
                    method=REFINED_REPAIRED,
                    scored_by=matrix,
                    candidates=shipped.table,
                    allow_noise=self.arguments.allow_noise,
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
        choices = [each for each in choices if each.method in self.arguments.methods]
        names = {"matrix": self.name, "gram": self.name + GRAM}
        if self.arguments.repair != NEAREST:
            names["repaired"] = f"{self.name}-{self.arguments.repair}"
        with ProgressLine(f"Evaluating {self.name}", "assignments") as line:
            return evaluated(
                self.model,
                matrix,
                (self.samples, self.source.split("held-out")),
                choices if stored is None else of_stored_rows(choices, stored, budgets),
                digests={what: artifact_digest(self._path(name)) for what, name in names.items()},
                cache=cache,
                allow_noise=self.arguments.allow_noise,
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
        held_out, arguments = self.source.split("held-out"), self.arguments
        artifact = self._path(self.name)
        runner = ChoiceRunner(
            *(self.model.module, matrix, held_out, shipped.repairer),
            known=() if anew else read_outcomes(artifact, matrix),
            keep=None if anew else partial(keep_outcome, artifact, matrix),
            allow_noise=arguments.allow_noise,
        )
        with ProgressLine(f"Repairing {self.name}", "assignments") as line:
            found = with_repaired(evidence, shipped.matrix, runner, on_progress=line.update)
        if anew or not arguments.rank:
            return found
        few = replace(held_out, x=held_out.x[:RANKED_IMAGES], y=held_out.y[:RANKED_IMAGES])
        with ProgressLine(f"Ranking {self.name}", "assignments") as line:
            ranked_by = rankings(
                {
                    "nearest": matrix,
                    "repaired": shipped.matrix,
                    "calibrated": shipped.calibrated,
                },
                *(runner.on(few), RANKED_BITS, arguments.rank),
                on_progress=line.update,
            )
        return replace(found, rankings=ranked_by)


def _settings(arguments: argparse.Namespace) -> MeasurementSettings:
    batch_size = arguments.batch_size or default_batch_size(choose_device(arguments.device))
    return MeasurementSettings(
        parse_bit_menu(arguments.bits),
        QuantizationScheme(arguments.granularity, act_bits=arguments.act_bits),
        loss=arguments.loss,
        batch_size=batch_size,
        baselines=MEASURED_ALONG,
        allow_noise=arguments.allow_noise,
    )


def _name(arguments: argparse.Namespace, model: LoadedModel, settings: MeasurementSettings) -> str:
    """Of the files: network, granularity, menu, and what is not the default."""
    parts = [model.name, arguments.granularity, "".join(map(str, settings.bit_widths))]
    parts += [] if arguments.act_bits is None else [f"a{arguments.act_bits}"]
    parts += [] if arguments.loss == "ce" else [arguments.loss]
    parts += [] if arguments.layers == "all" else [f"{arguments.layers}-layers"]
    return "-".join(parts)

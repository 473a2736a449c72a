"""Fine-tune a repaired network: distilled from the float one, rounded in every forward.

Every forward runs what would be shipped: weights (and inputs, where the choice says so) are
rounded, and gradients pass as if they were not. The loss is the divergence KL(float ‖ rounded) at
temperature 1, on images moved by up to an eighth and normalized by batch; Adam, with a warm-up and
half a cosine.

Sources: Hinton et al., 2015; Bengio et al., 2013; Esser et al., 2020.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeAlias

import torch
from torch import nn

from clado_core.data.sources import Samples
from clado_core.errors import InputError
from clado_core.networks.discovery import attention_fast_path_off
from clado_core.networks.inference import kl_divergence, make_batches, measuring, run_batch
from clado_core.networks.state_digest import state_digest
from clado_core.networks.steady import STEADY, Steadiness
from clado_core.quantization.batch_norm import normalizing_by_batch
from clado_core.records.matrix import SensitivityMatrix
from clado_core.repairs.repair import REESTIMATED, Trials
from clado_core.repairs.repaired import Repaired, changed_state, running_as
from clado_core.repairs.straight_through import Learned, trainable_copy
from clado_core.training.precision import bfloat16_runs, bfloat16_steps
from clado_core.training.recipes import Augmentation, augment, learning_rate_schedule
from clado_core.training.state import load_state, save_state

OnImages: TypeAlias = Callable[[int, int], None]
"""Called with (images done, images in all)."""

BEFORE, FINETUNED = "repaired", "fine-tuned"
MOST_TO_NORMALIZE = 2048
"""More images than these change statistics little."""
BATCH = 64
"""Images per step; a normalization's statistics are those of so many."""
RATE = 1e-3
"""Of Adam at its peak, as a share of the weights' size: the integers start out well,
and five times that undid them."""
AUGMENTATION: Augmentation = "crop"
"""Right for every kind of image: mirrored digits took normalizations' statistics off the track."""
SAVE_S = 30.0
"""Seconds between two states that are kept."""
TIMED_STEPS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Finetuning:
    """What to fine-tune with.

    Args:
        epochs: Passes over the images; 1 or more.
        images: Labels are not used; none of those that judge.
        seed: Of order and augmentation.
        state: File that keeps a stopped fine-tuning, which then goes on from it; it stays until
            the caller has written what came out.
        on_images: Called after every step, and once before the first.

    Raises:
        InputError: No epoch, or too few images for one step.
    """

    epochs: int
    images: Samples
    seed: int = 0
    state: Path | None = None
    on_images: OnImages | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"Fine-tuning takes 1 epoch or more, not {self.epochs}.")
        if len(self.images) < BATCH:
            raise InputError(
                f"Fine-tuning takes {BATCH} images or more, not {len(self.images)}; give more, or "
                "leave it out."
            )

    def moved(self, n: int, /) -> Samples:
        """The first n images as they are learned from."""
        few = replace(self.images, x=self.images.x[:n], y=self.images.y[:n])
        generator = torch.Generator().manual_seed(self.seed)
        return replace(few, x=augment(few.x, AUGMENTATION, generator))

    def report(self, steps: int, /) -> None:
        """Say how many steps are done."""
        if self.on_images:
            self.on_images(steps * BATCH, self.steps * BATCH)

    @property
    def steps(self) -> int:
        """In all; images that fill no batch of an epoch are left out of it."""
        return self.epochs * (len(self.images) // BATCH)


def finetune(
    model: nn.Module,
    matrix: SensitivityMatrix,
    repaired: Repaired,
    judges: Samples,
    plan: Finetuning,
    /,
    *,
    batch_size: int = 64,
    allow_noise: bool = False,
) -> Repaired:
    """Learn weights, scales and all that stays float, in the same bytes; kept if it comes closer.

    Args:
        model: The float network, on its device; as it was afterwards.
        matrix: What was measured: ranges of quantized inputs.
        repaired: Where it starts, such as ``repair`` gives.
        judges: As for ``repair``.
        plan: Images, epochs, and where a stopped one is kept.
        batch_size: Per forward of the judges.
        allow_noise: As for ``repair``.

    Raises:
        InputError: The network cannot be copied; or the state is of another fine-tuning.
        MeasurementError: No gradient reaches its weights.
    """
    trials = Trials(model, matrix, judges, batch_size, allow_noise=allow_noise)
    trials.offer(BEFORE, repaired)
    tuned = _tuned(model, matrix, repaired, plan, trials.steady)
    trials.offer(FINETUNED, tuned)
    moved, name = plan.moved(MOST_TO_NORMALIZE), f"{FINETUNED}, {REESTIMATED}"
    return trials.reestimated(tuned, moved, name).after(repaired)


def _tuned(
    model: nn.Module,
    matrix: SensitivityMatrix,
    start: Repaired,
    plan: Finetuning,
    known: Steadiness,
) -> Repaired:
    """What comes of it, better or not."""
    run = _identity(model, start, plan)
    with _learning(model, matrix, start, known) as pair:
        _fit(pair, plan, run)
        pair.learned.write()
        state = changed_state(model, pair.student, start.assignment)
        lasting = {name: value for name, value in state.items() if name not in known.changing}
        return Repaired(start.assignment, pair.learned.quantized(), lasting)


def seconds_per_step(
    model: nn.Module, matrix: SensitivityMatrix, start: Repaired, plan: Finetuning, /
) -> float:
    """About how long a step takes: the later ones of a few, nothing of which is kept.

    Args:
        model: The float network, on its device; as it was afterwards.
        matrix: As for ``finetune``, likewise ``plan``.
        start: Any repair of the choice.
        plan: Its first images are learned from.
    """
    with _learning(model, matrix, start, STEADY) as pair:
        optimizer = torch.optim.Adam(pair.learned.groups(RATE))
        (few,) = make_batches(model, _drawn(plan, 0), BATCH)
        bfloat16 = bfloat16_runs(model, few.x)
        ends = []
        for _ in range(1 + TIMED_STEPS):
            pair.step(optimizer, _drawn(plan, 0), bfloat16)
            ends.append(time.perf_counter())
    return (ends[-1] - ends[0]) / TIMED_STEPS


@contextmanager
def _learning(
    model: nn.Module, matrix: SensitivityMatrix, start: Repaired, known: Steadiness
) -> Iterator[_Pair]:
    student = trainable_copy(model)
    with (
        running_as(student, matrix, start),
        normalizing_by_batch(student, known=known),
        measuring(model, known=known),
        attention_fast_path_off(),
        torch.enable_grad(),
    ):
        yield _Pair(model, student, Learned(student, start, model, changing=known.changing))


@dataclass(frozen=True, slots=True)
class _Pair:
    """The float network, the one that learns from it, and what that learns."""

    teacher: nn.Module
    student: nn.Module
    learned: Learned

    def step(self, optimizer: torch.optim.Optimizer, samples: Samples, bfloat16: bool) -> None:
        (shown,), (seen,) = (make_batches(m, samples, BATCH) for m in (self.teacher, self.student))
        with bfloat16_steps(bfloat16):
            with torch.no_grad():
                wanted = run_batch(self.teacher, shown)
            made = self.learned.write()
            outputs = run_batch(self.student, seen)
        loss = kl_divergence(outputs, seen.y, wanted) / len(samples)
        self.learned.learn(loss, made, optimizer)


def _fit(pair: _Pair, plan: Finetuning, run: str) -> None:
    optimizer = torch.optim.Adam(pair.learned.groups(RATE))
    generator = torch.Generator().manual_seed(plan.seed)
    kept = None if plan.state is None else (plan.state, pair.learned, optimizer, generator)
    stopped = load_state(*kept, run=run) if kept else ()
    done = stopped[-1][0] if stopped else 0
    rates = learning_rate_schedule(optimizer, plan.steps, done=done)
    (few,) = make_batches(pair.teacher, _drawn(plan, 0), BATCH)
    bfloat16 = bfloat16_runs(pair.teacher, few.x)
    saved = time.perf_counter()
    plan.report(done)
    for step in range(done, plan.steps):
        samples = _drawn(plan, step)
        x = augment(samples.x, AUGMENTATION, generator)
        pair.step(optimizer, replace(samples, x=x), bfloat16)
        rates.step()
        if kept and (time.perf_counter() - saved > SAVE_S or step + 1 == plan.steps):
            save_state(*kept, run=run, schedule=((step + 1, plan.steps),))
            saved = time.perf_counter()
        plan.report(step + 1)


def _drawn(plan: Finetuning, step: int) -> Samples:
    """A step's images; every epoch has an order of its own, wherever one was stopped."""
    n = len(plan.images)
    epoch, within = divmod(step, n // BATCH)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(plan.seed + epoch))
    drawn = order[within * BATCH : (within + 1) * BATCH]
    return replace(plan.images, x=plan.images.x[drawn], y=plan.images.y[drawn])


def _identity(model: nn.Module, start: Repaired, plan: Finetuning) -> str:
    """What must be equal for a stopped fine-tuning to go on."""
    chosen = start.assignment
    what = [state_digest(model), plan.images.digest, asdict(chosen.scheme), chosen.bits]
    return json.dumps([*what, plan.epochs, plan.seed, BATCH, RATE])

"""Block-wise reconstruction: each block answers as the float network's does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from clado_core.data.sources import Samples
from clado_core.networks.discovery import attention_fast_path_off
from clado_core.networks.inference import make_batches, measuring, running
from clado_core.networks.steady import STEADY, Steadiness
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.repairs.repair import REESTIMATED, Trials
from clado_core.repairs.repaired import Repaired, changed_state, running_as
from clado_core.repairs.straight_through import Learned, trainable_copy
from clado_core.training.recipes import learning_rate_schedule

OnBlock: TypeAlias = Callable[[int, int], None]
"""Called with (blocks done, blocks in all)."""

BEFORE, RECONSTRUCTED = "repaired", "reconstructed blocks"
BATCH, STEPS = 32, 100
"""Samples in a step, and steps for each block."""
TIMED_STEPS = 5
RATE, SCALE_RATE = 5e-3, 5e-4
"""Of Adam at its peak: of weights as a share of their size, and of scales and vectors."""


def reconstruct(
    model: nn.Module,
    matrix: SensitivityMatrix,
    repaired: Repaired,
    calibration: Samples,
    judges: Samples,
    /,
    *,
    batch_size: int = 64,
    allow_noise: bool = False,
    on_block: OnBlock | None = None,
) -> Repaired:
    """Learn block after block to answer as the float one does; kept if outputs come closer.

    A block reads what the network as quantized so far gives it, and learns by straight-through
    gradients what the float block answers to float inputs (squared error): errors before it are
    made up for, and those of its own layers cancel. Layers that stand alone are left as they are,
    and blocks that are called more than once or with more than one tensor, or give more.

    Args:
        model: The float network, on its device; as it was afterwards.
        matrix: What was measured: ranges of quantized inputs.
        repaired: Where it starts, such as ``repair`` gives.
        calibration: Images to learn from, as for ``repair``.
        judges: Others that say whether it is kept.
        batch_size: Per forward of the whole network.
        allow_noise: As for ``repair``.
        on_block: Called after every block.

    Raises:
        InputError, MeasurementError: The network cannot be copied, run, or gives no gradients.

    Source: Li et al., 2021 (BRECQ); the squared error is not weighted by gradients.
    """
    trials = Trials(model, matrix, judges, batch_size, allow_noise=allow_noise)
    trials.offer(BEFORE, repaired)
    xs = [batch.x for batch in make_batches(model, calibration, batch_size)]
    made = _reconstructed(model, matrix, repaired, xs, trials.steady, on_block)
    trials.offer(RECONSTRUCTED, made)
    return trials.reestimated(made, calibration, f"{RECONSTRUCTED}, {REESTIMATED}").after(repaired)


def _reconstructed(
    model: nn.Module,
    matrix: SensitivityMatrix,
    start: Repaired,
    inputs: list[Tensor],
    known: Steadiness,
    on_block: OnBlock | None,
) -> Repaired:
    """What comes of it, better or not."""
    generator = torch.Generator().manual_seed(0)
    with _learning(model, matrix, start, known) as (student, learned):
        blocks = _blocks(student, start.assignment.layers, inputs[0][:2])
        for k, name in enumerate(blocks):
            calls = _Calls(_calls(student, name, inputs).x, _calls(model, name, inputs).y)
            _fit(student.get_submodule(name), learned, calls, generator)
            if on_block:
                on_block(k + 1, len(blocks))
        learned.write()
        state = changed_state(model, student, start.assignment)
        lasting = {name: value for name, value in state.items() if name not in known.changing}
        return Repaired(start.assignment, learned.quantized(), lasting)


def seconds_to_reconstruct(
    model: nn.Module, matrix: SensitivityMatrix, start: Repaired, calibration: Samples, /
) -> float:
    """About how long the blocks take, from a few steps of one of them; nothing of it is kept.

    Args:
        model: The float network, on its device; as it was afterwards.
        matrix: As for ``reconstruct``, likewise ``calibration``.
        start: Any repair of the choice.
        calibration: A batch of it is run.
    """
    x, generator = make_batches(model, calibration, BATCH)[0].x, torch.Generator().manual_seed(0)
    with _learning(model, matrix, start, STEADY) as (student, learned):
        if not (blocks := _blocks(student, start.assignment.layers, x[:2])):
            return 0.0
        name = blocks[len(blocks) // 2]
        marks = [time.perf_counter()]
        calls = _Calls(_calls(student, name, [x]).x, _calls(model, name, [x]).y)
        marks.append(time.perf_counter())
        for steps in (1, TIMED_STEPS):  # what only a first step takes is left out
            _fit(student.get_submodule(name), learned, calls, generator, steps)
            marks.append(time.perf_counter())
    seeing = (marks[1] - marks[0]) * len(calibration) / len(x)
    return len(blocks) * (seeing + (marks[3] - marks[2]) * STEPS / TIMED_STEPS)


@contextmanager
def _learning(
    model: nn.Module, matrix: SensitivityMatrix, start: Repaired, known: Steadiness
) -> Iterator[tuple[nn.Module, Learned]]:
    """The network that learns, and what it learns."""
    student = trainable_copy(model)
    with (
        running_as(student, matrix, start),
        measuring(student, known=known),
        measuring(model, known=known),
        attention_fast_path_off(),
    ):
        yield student, Learned(student, start, model, changing=known.changing)


class _Calls(NamedTuple):
    """What a block reads and answers, sample by sample."""

    x: Tensor
    y: Tensor


def _fit(
    block: nn.Module,
    learned: Learned,
    calls: _Calls,
    generator: torch.Generator,
    steps: int = STEPS,
) -> None:
    """Learn a block's answers; in the end the network holds what was learned."""
    optimizer = torch.optim.Adam(learned.groups(RATE, of_scales=SCALE_RATE))
    rates = learning_rate_schedule(optimizer, STEPS)
    size = calls.y.to(torch.float32).square().mean().clamp_min(torch.finfo(torch.float32).tiny)
    for _ in range(steps):
        drawn = torch.randint(len(calls.x), (BATCH,), generator=generator).to(calls.x.device)
        x, y = calls.x[drawn], calls.y[drawn].to(torch.float32)
        with torch.enable_grad():
            made = learned.write()
            with running(x):
                error = block(x) - y
            learned.learn(error.square().mean() / size, made, optimizer)
        rates.step()
    learned.write()


def _blocks(model: nn.Module, layers: LayerTable, example: Tensor) -> list[str]:
    """Modules around two searched layers or more that take and give one tensor, in network order.

    Args:
        model: Run once.
        layers: Its searched layers.
        example: Two samples, or one.
    """
    names = [layer.block for layer in layers.layers]
    modules = dict(model.named_modules())
    calls = {n: list[bool]() for n in names if n in modules and names.count(n) > 1}

    def watch(name: str) -> Any:
        def after(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], y: Any) -> None:
            tensors = len(args) == 1 and all(isinstance(v, Tensor) for v in (*args, y))
            # Where the first axis is not that of samples they cannot be drawn.
            calls[name].append(tensors and not kwargs and len(args[0]) == len(y) == len(example))

        return after

    handles = [modules[n].register_forward_hook(watch(n), with_kwargs=True) for n in calls]
    with _hooked(handles), running(example):
        model(example.clone())
    return [name for name, seen in calls.items() if seen == [True]]


class _AnsweredError(Exception):
    """A block has answered, and what comes after it need not run."""


def _calls(model: nn.Module, name: str, inputs: Iterable[Tensor]) -> _Calls:
    """What a block reads and answers, one call for each batch."""
    block, reads, answers = model.get_submodule(name), list[Tensor](), list[Tensor]()

    def before(_: nn.Module, args: tuple[Tensor]) -> None:
        # A copy, for blocks that change their input in place.
        reads.append(args[0].clone())

    def after(_: nn.Module, args: tuple[Tensor], y: Tensor) -> None:
        answers.append(y)
        raise _AnsweredError

    with _hooked([block.register_forward_pre_hook(before), block.register_forward_hook(after)]):
        for x in inputs:
            with running(x), suppress(_AnsweredError):
                model(x.clone())
    return _Calls(torch.cat(reads), torch.cat(answers))


@contextmanager
def _hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    held = list(handles)
    try:
        yield
    finally:
        for handle in held:
            handle.remove()

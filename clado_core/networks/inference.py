"""Run a network over samples: eval mode, fixed batches, and losses summed in float64."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clado_core.data.sources import Samples
from clado_core.errors import CladoError, InputError, MeasurementError
from clado_core.networks.ordinary import evaluating
from clado_core.networks.placement import is_channels_last
from clado_core.networks.steady import (
    STEADY,
    Home,
    Steadiness,
    changed_buffers,
    difference,
    fresh_buffers,
    own_buffers,
    require_steady,
    shown,
    steadiness,
)

logger = logging.getLogger(__name__)

LossFunction: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(outputs, labels, the float network's outputs) of one batch → sum over its samples, float64."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs, shape (n, C, H, W), and labels, shape (n,), on the device."""

    x: Tensor
    y: Tensor


def cross_entropy(outputs: Tensor, labels: Tensor, reference: Tensor, /) -> Tensor:
    """−Σ log p(label); outputs are logits of shape (n, classes)."""
    return F.cross_entropy(outputs.double(), labels, reduction="sum")


def kl_divergence(outputs: Tensor, labels: Tensor, reference: Tensor, /) -> Tensor:
    """Σ KL(p_float ‖ p_quantized); needs no labels and is 0 for the float network."""
    log_p, log_q = reference.double().log_softmax(1), outputs.double().log_softmax(1)
    return F.kl_div(log_q, log_p, reduction="sum", log_target=True)


LOSSES: dict[str, LossFunction] = {"ce": cross_entropy, "kl": kl_divergence}


def make_batches(model: nn.Module, samples: Samples, batch_size: int, /) -> list[Batch]:
    """Split samples in their order, on the model's device, in its type and memory format."""
    if batch_size < 1:
        raise InputError(f"The batch size must be 1 or more, not {batch_size}.")
    parameter = next((p for p in model.parameters() if p.is_floating_point()), samples.x)
    x = samples.x.to(parameter.device, parameter.dtype)
    if is_channels_last(model):
        x = x.contiguous(memory_format=torch.channels_last)
    y = samples.y.to(parameter.device)
    pieces = zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True)
    return [Batch(*piece) for piece in pieces]


@contextmanager
def measuring(
    model: nn.Module,
    batches: Sequence[Batch] = (),
    /,
    *,
    allow_noise: bool = False,
    known: Steadiness | None = None,
) -> Iterator[Steadiness]:
    """Eval mode without gradients or TF32, every forward with the same buffers, so that losses
    repeat; modes and buffers are put back after.

    Args:
        model: Left as it was.
        batches: What will be run: whether the network repeats itself is found out on the first,
            before and after. Without any it is taken on trust.
        allow_noise: Warn of a network that does not, instead of refusing it.
        known: What was found out before; nothing is run then.

    Raises:
        MeasurementError: The network does not repeat itself, or cannot run the batches.
    """
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        with (
            evaluating(model),
            torch.no_grad(),
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            ),
            repeating(model, batches, allow_noise=allow_noise, known=known) as found,
        ):
            yield found
    finally:
        torch.set_float32_matmul_precision(precision)


@contextmanager
def repeating(
    model: nn.Module,
    batches: Sequence[Batch],
    /,
    *,
    allow_noise: bool,
    known: Steadiness | None,
) -> Iterator[Steadiness]:
    """The part of ``measuring`` that has every forward start from the same buffers."""
    with own_buffers(model) as homes:
        found, first = known or STEADY, None
        if batches and known is None:
            found, first = _found_out(model, batches, homes, allow_noise)
        with fresh_buffers(model, [home for home in homes if home[0] in found.changing]):
            yield found
            if first is not None and not found.noise:
                _require_unchanged(model, batches[0], homes, first, found)


def _found_out(
    model: nn.Module, batches: Sequence[Batch], homes: Sequence[Home], allow_noise: bool
) -> tuple[Steadiness, Tensor]:
    """How well a network repeats itself, and its outputs for the first batch."""
    changing: set[str] = set()
    first, others = batches[0], batches[1:]
    with fresh_buffers(model, homes, changing):
        noise, outputs = steadiness(
            lambda x: run_batch(model, Batch(x, first.y)),
            first.x,
            others[0].x if others else None,
        )
    if not allow_noise:
        require_steady(noise)
    elif noise:
        logger.warning(
            "The network's outputs for the same images differ by %s from one run to the next; what "
            "is measured holds that noise.",
            shown(noise),
        )
    return Steadiness(noise, tuple(sorted(changing))), outputs


def _require_unchanged(
    model: nn.Module, batch: Batch, homes: Sequence[Home], before: Tensor, found: Steadiness
) -> None:
    """Raises MeasurementError where a network is another one after it was measured."""
    late = set(changed_buffers(homes)) - set(found.changing)
    noise = difference(before, run_batch(model, batch))
    if late or noise:
        raise MeasurementError(
            "The network changed while it was measured: "
            + (
                f"its buffer '{min(late)}' is another"
                if late
                else f"its outputs for the same images differ by {shown(noise)} from those before"
            )
            + "; make it start every forward from the same state."
        )


def run_batch(model: nn.Module, batch: Batch, /) -> Tensor:
    """Outputs of one batch, shape (n, classes).

    Raises:
        MeasurementError: The network cannot run these inputs or gives no such tensor.
    """
    with running(batch.x):
        # A copy, for networks that change their input in place.
        return require_scores(model(batch.x.clone()))


@contextmanager
def running(x: Tensor, /) -> Iterator[None]:
    """Turns a failure inside the network's own code into one sentence, a MeasurementError."""
    try:
        yield
    except CladoError:
        raise
    except Exception as problem:  # the network's own code may raise anything
        reason = (str(problem) or type(problem).__name__).splitlines()[0]
        raise MeasurementError(
            f"The network cannot run inputs of shape {tuple(x.shape)}: {reason}"
        ) from None


def require_scores(outputs: object, /) -> Tensor:
    """The outputs, if they are class scores of shape (n, classes); else a MeasurementError."""
    if isinstance(outputs, Tensor) and outputs.ndim == 2:
        return outputs
    what = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    raise MeasurementError(
        f"The network returns {what}; expected class scores of shape (N, classes)."
    )


def reference_outputs(model: nn.Module, batches: list[Batch], /) -> list[Tensor]:
    """Outputs of the float network, batch by batch; checks that labels are among its classes."""
    outputs = [run_batch(model, batch) for batch in batches]
    require_classes(outputs[0].shape[1], batches)
    return outputs


def require_classes(classes: int, batches: list[Batch], /) -> None:
    """Raises InputError where a label is outside the network's classes."""
    largest = max(int(batch.y.max()) for batch in batches)
    if largest >= classes:
        raise InputError(
            f"The data has class {largest}, but the network knows classes 0 to {classes - 1}; "
            "give data of the network's own classes."
        )

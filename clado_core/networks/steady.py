"""Networks that repeat themselves: every forward starts from the same buffers and weights.

Only a network that gives the same outputs for the same images can be measured. Buffers that its
forward changes (counters, running averages) are put back before the next one. What differs all the
same is noise: dropout that stays on in eval mode, noise that is injected, or memory of earlier
batches that is kept anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from clado_core.errors import InputError, MeasurementError

NOISE_TOLERANCE, NOISE_STEPS = 1e-5, 4
"""Outputs may differ by this share of the largest, or by so many steps of their type, whichever is
more. On one thread a network repeats itself bit for bit; sums that several threads or a GPU take in
any order differ by some 10⁻⁷ of float32 a layer, and the smallest dropout by far more than this."""

Home: TypeAlias = tuple[str, nn.Module, str, Tensor]
"""A buffer's dotted name, the module it stands in, its name there, and the buffer."""


@dataclass(frozen=True, slots=True)
class Steadiness:
    """How well a network repeats itself.

    Args:
        noise: Largest difference of two outputs for the same images, of the largest output; 0
            where it is within the tolerance.
        changing: Dotted names of the buffers that a forward changes.
    """

    noise: float = 0.0
    changing: tuple[str, ...] = ()


STEADY = Steadiness()
"""What is expected of a network."""


@contextmanager
def own_buffers(model: nn.Module, /) -> Iterator[list[Home]]:
    """Copies in place of a network's buffers for as long as this lasts; gives the originals.

    Whatever a forward does to buffers, it does not do to those that the network came with.
    """
    homes = [
        (f"{prefix}.{key}".lstrip("."), module, key, buffer)
        for prefix, module in model.named_modules()
        for key, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
    ]
    # Places that a forward may fill, such as those of positions that are computed when first used.
    empty = [
        (module, key)
        for module in model.modules()
        for key, buffer in module._buffers.items()
        if buffer is None
    ]
    _bind_copies(homes)
    try:
        yield homes
    finally:
        _bind(homes)
        for module, key in empty:
            module._buffers[key] = None


@contextmanager
def fresh_buffers(
    model: nn.Module, homes: Collection[Home], changed: set[str] | None = None, /
) -> Iterator[None]:
    """Gives every forward its own copies of buffers.

    Args:
        model: Its forward is hooked, which leaves out runs of its parts.
        homes: Which buffers, as they have to be.
        changed: Collects the names of those that a forward changes; None does not look.
    """

    def before(*_: object) -> None:
        _bind_copies(homes)

    def after(*_: object) -> None:
        if changed is not None:
            changed.update(changed_buffers(homes))

    handles = [model.register_forward_pre_hook(before), model.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        _bind_copies(homes)


def changed_buffers(homes: Collection[Home], /) -> tuple[str, ...]:
    """Names of the buffers that are not as they were."""
    return tuple(
        name for name, module, key, buffer in homes if not _same(getattr(module, key, None), buffer)
    )


def steadiness(
    run: Callable[[Tensor], Tensor], x: Tensor, other: Tensor | None, /
) -> tuple[float, Tensor]:
    """Run the same images twice, and once more after others: what differs is noise or memory.

    Args:
        run: Images → outputs.
        x: The images.
        other: Others; the same ones mirrored where None.

    Returns:
        The noise, as in ``Steadiness``, and the outputs.
    """
    first, again = run(x), run(x)
    run(x.flip(0, -1) if other is None else other)
    return max(difference(first, again), difference(first, run(x))), first


def difference(first: Tensor, again: Tensor, /) -> float:
    """Largest difference, of the largest output; 0 within the tolerance, or where nothing is
    finite, which the loss will say."""
    finite = torch.isfinite(first)
    if not torch.equal(finite, torch.isfinite(again)):
        return float("inf")
    if not finite.any():
        return 0.0
    largest = float(first[finite].abs().max())
    apart = float((again[finite].double() - first[finite].double()).abs().max())
    tolerance = max(NOISE_TOLERANCE, NOISE_STEPS * torch.finfo(first.dtype).eps)
    if apart <= tolerance * largest:
        return 0.0
    return apart / largest if largest else float("inf")


def require_steady(noise: float, /) -> None:
    """Refuse a network that does not repeat itself.

    Raises:
        MeasurementError: The noise is above 0.
    """
    if noise:
        raise MeasurementError(
            f"The network's outputs for the same images differ by {shown(noise)} from one run to "
            "the next: something in it is random in eval mode, such as F.dropout without "
            "training=self.training, or remembers earlier batches outside of its buffers; make it "
            "repeat itself, or allow noise (allow_noise), which every loss then holds."
        )


def shown(noise: float, /) -> str:
    """A noise in words."""
    return f"up to {noise:.2g} times the largest"


@contextmanager
def same_parameters(model: nn.Module, /) -> Iterator[None]:
    """Make sure that what runs inside leaves the parameters as they are.

    Raises:
        InputError: One has other values, or lies elsewhere, so that swapped weights would not be
            seen.
    """
    before = _marks(model)
    yield
    for name, mark in _marks(model).items():
        if mark != before.get(name, mark):
            raise InputError(
                f"A forward of the network changes its parameter '{name}'; move what constrains or "
                "initializes weights out of forward before measuring."
            )


def _marks(model: nn.Module) -> dict[str, tuple[object, ...]]:
    """Of each parameter where it lies, and what gives changes of its values away."""
    return {
        name: (parameter.data_ptr(), *_sums(parameter.detach()))
        for name, parameter in model.named_parameters()
        if not is_lazy(parameter) and not parameter.is_meta
    }


def _sums(values: Tensor) -> tuple[str, ...]:
    """As text, in which NaN equals NaN."""
    if values.is_floating_point() and values.element_size() < 4:
        values = values.float()  # half precision overflows, and smaller types do not add
    norms = [values.norm()] if values.is_floating_point() or values.is_complex() else []
    return tuple(str(each.item()) for each in (values.sum(), *norms))


def _bind_copies(homes: Collection[Home]) -> None:
    copies = {id(buffer): buffer.detach().clone() for *_, buffer in homes}
    _bind([(name, module, key, copies[id(buffer)]) for name, module, key, buffer in homes])


def _bind(homes: Collection[Home]) -> None:
    for _, module, key, buffer in homes:
        setattr(module, key, buffer)


def _same(found: Tensor | None, buffer: Tensor) -> bool:
    if found is None or (found.shape, found.dtype) != (buffer.shape, buffer.dtype):
        return False
    return torch.equal(_bytes(found), _bytes(buffer))


def _bytes(values: Tensor) -> Tensor:
    """In which NaN equals NaN, and every type can be compared."""
    return values.detach().contiguous().reshape(-1).view(torch.uint8)

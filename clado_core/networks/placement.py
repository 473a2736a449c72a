"""On which device a network runs, and how its tensors lie in memory there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from clado_core.errors import InputError
from clado_core.networks.ordinary import evaluating, require_ordinary
from clado_core.networks.steady import own_buffers
from clado_core.records.names import DEVICES


def choose_device(name: str, /) -> torch.device:
    """The device of "auto", "cpu" or "cuda"; raises InputError where there is no GPU."""
    if name not in DEVICES:
        raise InputError(f"Unknown device '{name}': choose one of {', '.join(DEVICES)}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("There is no CUDA device here; use the device cpu or auto.")
    on_gpu = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if on_gpu else "cpu")


def default_batch_size(device: torch.device, /) -> int:
    """Samples per forward: on a CPU what stays in its caches (1.2 to 2.2 times as fast as 256)."""
    return 64 if device.type == "cpu" else 256


def place(model: nn.Module, device: torch.device, /, *, channels_last: bool = True) -> None:
    """Move a network to a device, in place.

    Args:
        model: Its inputs follow in ``make_batches``.
        device: As of ``choose_device``.
        channels_last: Channels innermost in memory: what GPUs are fastest with, and CPUs too (1.1
            to 2.5 times as fast for networks of 8×8 to 224×224 pixels, measured).
    """
    model.to(device)
    for parameter in model.parameters():
        if parameter.ndim == 4 and channels_last:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def place_for(model: nn.Module, device: torch.device, x: Tensor, /) -> None:
    """Move a network to a device, channels innermost if it runs so on samples like these."""
    place(model, device)
    fit_memory(model, x)


def fit_memory(model: nn.Module, x: Tensor, /) -> None:
    """Put a network back to channels-first memory if it runs on no other, in place.

    ``x.view(x.size(0), -1)`` after a convolution is such a case. One sample is run to see.

    Args:
        model: As ``place`` leaves it.
        x: Samples, shape (n, C, H, W), on any device.
    """
    if not is_channels_last(model):
        return
    first = next(p for p in model.parameters() if p.is_floating_point())
    example = x[:1].to(first.device, first.dtype).contiguous(memory_format=torch.channels_last)
    try:
        with torch.no_grad(), evaluating(model), own_buffers(model):
            model(example.clone())
    except RuntimeError:  # if the memory is not at fault, the first batch fails with a sentence
        for parameter in model.parameters():
            parameter.data = parameter.data.contiguous()


@contextmanager
def placed(model: nn.Module, x: Tensor, /) -> Iterator[torch.device]:
    """Channels innermost for as long as this lasts, on the device where the network is.

    For networks that belong to a caller: parameters and their memory are as before when it ends.

    Args:
        model: The network.
        x: Samples for ``fit_memory``.

    Raises:
        InputError: It is none whose layers can be told apart.
    """
    require_ordinary(model)
    before = [(parameter, parameter.data) for parameter in model.parameters()]
    device = before[0][1].device if before else torch.device("cpu")
    try:
        place_for(model, device, x)
        yield device
    finally:
        for parameter, data in before:
            parameter.data = data


def is_channels_last(model: nn.Module, /) -> bool:
    """Whether a network's convolutions were placed with channels innermost."""
    return any(
        p.ndim == 4 and not p.is_contiguous() and p.is_contiguous(memory_format=torch.channels_last)
        for p in model.parameters()
    )

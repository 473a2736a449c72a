"""Steps of training in bfloat16 on a CPU, with the two operations where that is slow left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

FAST = ("avx512_bf16", "amx_bf16")
"""What CPUs call that they multiply in bfloat16; others take longer than in float32."""


def bfloat16_runs(model: nn.Module, x: Tensor, /) -> bool:
    """Whether steps in bfloat16 are faster where this network is, and it runs in them.

    Args:
        model: In eval mode; networks of a user's own may mix types that do not go together.
        x: Some inputs, on the network's device.
    """
    if x.device.type != "cpu" or not any(torch.cpu.get_capabilities().get(n) for n in FAST):
        return False
    try:
        with torch.no_grad(), bfloat16_steps(True):
            model(x.clone())
    except Exception:  # the network's own code may raise anything
        return False
    return True


@contextmanager
def bfloat16_steps(enabled: bool, /) -> Iterator[None]:
    """Convolutions and matrix products in bfloat16; does nothing where not enabled.

    Measured per image and step on a Zen 5 core: ResNet-20 1.6 times as fast as float32. The CPU's
    flash attention is slow backwards in bfloat16 (plain products: 1.6 times as fast for a small
    ViT), and so are its depthwise convolutions (float32: 1.5 times as fast for a MobileNetV2).
    """
    if not enabled:
        yield
        return
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        sdpa_kernel(SDPBackend.MATH),
        _GroupedConvolutionsInFloat32(),
    ):
        yield


class _GroupedConvolutionsInFloat32(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.conv2d and args[-1] > 1:  # nn.Conv2d passes groups last, by position
            with torch.autocast("cpu", enabled=False):
                return func(args[0].float(), *args[1:], **(kwargs or {}))
        return func(*args, **(kwargs or {}))

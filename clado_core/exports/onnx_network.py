"""The network that an ONNX file is written from, and what it is held against."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clado_core.errors import InputError, MeasurementError
from clado_core.exports.network import PackedWeight, QuantizedNetwork
from clado_core.exports.onnx_agreement import Outputs

if TYPE_CHECKING:
    from torch import nn

IN_FLOAT32 = (
    "The network's own type is {types}, in which runtimes do not compute: the file is float32 "
    "throughout, and so is what it was held against."
)
LONGEST_REASON = 200
"""Characters of another library's own words in a sentence of ours."""


@contextmanager
def exportable(network: QuantizedNetwork, /) -> Iterator[tuple[nn.Module, tuple[str, ...]]]:
    """The network with its quantized weights for as long as this lasts, and notes on it.

    Wrappers such as ``nn.DataParallel`` are left out, weights lie channels-first in memory (a view
    after a convolution needs that), and types in which runtimes do not compute become float32. The
    caller's network is afterwards as it was.

    Raises:
        InputError: The network cannot be copied where it has to be.
    """
    from clado_core.networks.inference import measuring
    from clado_core.networks.wrappers import without_wrappers

    try:
        module, notes = _computable(without_wrappers(network.module))
    except Exception as problem:  # copying runs code of the user's own modules
        raise InputError(f"The network cannot be copied: {first_line(problem)}") from None
    with measuring(module), _holding(module, network.weights):
        yield module, notes


def _computable(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    import torch

    state = [*module.parameters(), *module.buffers()]
    others = {value.dtype for value in state if value.is_floating_point()}
    others -= {torch.float32, torch.float16}
    if not others:
        return module, ()
    named = " and ".join(sorted(str(each).removeprefix("torch.") for each in others))
    return copy.deepcopy(module).float(), (IN_FLOAT32.format(types=named),)


@contextmanager
def _holding(module: nn.Module, weights: Mapping[str, PackedWeight]) -> Iterator[None]:
    import torch

    before = [(value, value.data) for value in [*module.parameters(), *module.buffers()]]
    try:
        for value, data in before:  # buffers too: running a network may change them
            value.data = data.clone(memory_format=torch.contiguous_format)
        for weight in weights.values():
            start = weight.layer.row_start
            held = module.get_parameter(weight.layer.parameter).data
            held[start : start + weight.layer.out_channels] = torch.from_numpy(weight.dequantized)
        yield
    finally:
        for value, data in before:
            value.data = data


def outputs(module: nn.Module, x: Outputs, /) -> Outputs:
    """What PyTorch gives for a batch, shape (n, classes).

    On one thread, so that every process finds the same.

    Raises:
        InputError: The network does not run this batch, or gives no class scores.
    """
    import torch

    from clado_core.networks.discovery import attention_fast_path_off
    from clado_core.networks.inference import require_scores, running

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        given = torch.from_numpy(x.copy())
        with attention_fast_path_off(), running(given):
            found: Outputs = require_scores(module(given)).numpy()
            return found
    except MeasurementError as problem:
        raise InputError(f"{problem}") from None
    finally:
        torch.set_num_threads(threads)


def first_line(problem: BaseException, /) -> str:
    """What an exception says first, or the one behind it that caused it."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    text = (str(problem).strip() or type(problem).__name__).splitlines()[0].rstrip(".")
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"

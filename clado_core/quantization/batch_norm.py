"""Batch normalizations: which one follows a layer, and their statistics estimated anew."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from clado_core.errors import InputError
from clado_core.networks.discovery import attention_fast_path_off
from clado_core.networks.inference import measuring, running
from clado_core.quantization.layer_calls import LayerCall, LayerCalls
from clado_core.quantization.network_state import using_state
from clado_core.quantization.statistics import OutputStatistics, matched_statistics
from clado_core.records.layers import LayerInfo

MEAN, VARIANCE, COUNT = "running_mean", "running_var", "num_batches_tracked"


def following_norms(
    model: nn.Module, layers: Iterable[LayerInfo], example: Tensor, /
) -> dict[str, str]:
    """Which batch normalization directly follows each layer, found by running one input.

    It does where its input is the very tensor that the layer gave, unchanged since, in every call
    of both. Left out are layers that something else follows, that share a normalization, and
    normalizations that keep no statistics.

    Args:
        model: In any mode; run in eval mode and left as it was.
        layers: Some or all of its searched layers.
        example: Shape (n, C, H, W), on its device; one sample is enough.

    Returns:
        Layer name → name of the normalization's module.
    """
    watch = _Watch()
    hooks = {module: watch.reader(name) for name, module in _norms(model).items()}
    with (
        measuring(model),
        attention_fast_path_off(),
        running(example),
        _hooked(hooks),
        LayerCalls(model, layers, watch.note),
    ):
        model(example.clone())
    return watch.one_to_one()


class _Watch:
    """Which tensors layers made, and which of them normalizations read."""

    def __init__(self) -> None:
        # Tensors are kept: another one could get the identity of one that is gone.
        self._made: list[tuple[Tensor, int, str]] = []
        self._reads: dict[str, list[str | None]] = defaultdict(list)

    def note(self, call: LayerCall) -> None:
        if call.output is not None:
            self._made.append((call.output, call.output._version, call.layer.name))

    def reader(self, norm: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x = _input_of(args, kwargs)
            # What was changed in place since, by an activation, is another value.
            same = [name for y, version, name in self._made if y is x and y._version == version]
            self._reads[norm].append(same[0] if same else None)

        return before

    def one_to_one(self) -> dict[str, str]:
        """Layer → normalization, where every call of either is one of the other."""
        made = Counter(name for _, _, name in self._made)
        read = Counter(name for sources in self._reads.values() for name in sources)
        return {
            name: norm
            for norm, sources in self._reads.items()
            if (name := sources[0]) is not None
            and sources.count(name) == len(sources) == made[name] == read[name]
        }


def norm_buffers(
    model: nn.Module, norm: str, before: OutputStatistics, after: OutputStatistics, /
) -> dict[str, Tensor]:
    """What the normalization after a layer stores once the layer's weight is quantized.

    Args:
        model: With the statistics of the float network.
        norm: Name of the normalization's module, as of ``following_norms``.
        before: Of the layer's output with its float weight, its bias included.
        after: With its quantized weight, likewise; see ``matched_statistics``.

    Returns:
        Name of the buffer → value, for ``using_state``.

    Raises:
        InputError: The network has no normalization of this name that keeps statistics.
    """
    if (module := _norms(model).get(norm)) is None:
        raise InputError(f"The network has no batch normalization '{norm}' that keeps statistics.")
    mean, variance = (getattr(module, name).detach() for name in (MEAN, VARIANCE))
    found = matched_statistics(OutputStatistics(mean.double(), variance.double()), before, after)
    return {
        _join(norm, MEAN): found.mean.to(mean),
        _join(norm, VARIANCE): found.variance.to(variance),
    }


@contextmanager
def normalizing_by_batch(model: nn.Module, /) -> Iterator[None]:
    """Batch normalizations take each batch's own statistics; all else is as in eval mode.

    Statistics that the network stores, and modes, are as before when this ends.
    """
    norms = _norms(model)
    stored = [_join(name, buffer) for name in norms for buffer in (MEAN, VARIANCE, COUNT)]
    buffers = {name: value for name, value in model.named_buffers() if name in stored}
    with measuring(model), using_state(model, buffers):
        for module in norms.values():
            # Not train(), which reaches modules inside, such as a dropout.
            module.training = True
        yield


def reestimate_batch_norm(model: nn.Module, inputs: Iterable[Tensor], /) -> dict[str, Tensor]:
    """Running statistics of all batch normalizations, from one pass over inputs.

    Each batch is normalized by its own statistics, and what is returned is their average, weighted
    by what each batch holds. Dropout stays off, and the network is left as it was: write the
    result with ``using_state`` or ``load_state_dict(..., strict=False)``.

    Args:
        model: Quantized as it shall be used; in any mode.
        inputs: Batch by batch, on its device; larger batches are better, a last batch of one
            sample is run with the one before it.

    Returns:
        Name of the buffer → value; nothing for normalizations that are never reached, and nothing
        at all where there are none.

    Raises:
        InputError: There are no inputs.
        MeasurementError: The network cannot run the inputs.
    """
    if not (norms := _norms(model)):
        return {}
    with normalizing_by_batch(model), _averaging(norms.values()) as seen:
        for x in _joined(inputs):
            with running(x), attention_fast_path_off():
                model(x.clone())
        return {
            _join(name, buffer): getattr(module, buffer).clone()
            for name, module in norms.items()
            if module in seen
            for buffer in (MEAN, VARIANCE)
        }


@contextmanager
def _averaging(norms: Iterable[_BatchNorm]) -> Iterator[dict[_BatchNorm, int]]:
    """Running statistics become averages over all that is seen: values per channel, so far."""
    seen: dict[_BatchNorm, int] = defaultdict(int)
    momenta = {module: module.momentum for module in norms}

    def weigh(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = _input_of(args, kwargs)
        n = x.numel() // x.shape[1]
        seen[module] += n
        module.momentum = n / seen[module]

    try:
        with _hooked(dict.fromkeys(momenta, weigh)):
            yield seen
    finally:
        for module, momentum in momenta.items():
            module.momentum = momentum


def _norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """Batch normalizations that keep statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


@contextmanager
def _hooked(hooks: Mapping[Any, Any]) -> Iterator[None]:
    handles = [
        module.register_forward_pre_hook(hook, with_kwargs=True) for module, hook in hooks.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _input_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What a normalization was called with, by position or by name."""
    return args[0] if args else kwargs.get("input")


def _joined(inputs: Iterable[Tensor]) -> Iterator[Tensor]:
    """The batches; a last one of a single sample, which has no variance, joins the one before."""
    held: list[Tensor] = []
    for x in inputs:
        held.append(x)
        if len(held) == 3:
            yield held.pop(0)
    if not held:
        raise InputError(
            "There are no inputs to estimate statistics from; give at least one batch."
        )
    yield from [torch.cat(held)] if len(held[-1]) == 1 else held


def _join(module: str, name: str) -> str:
    return f"{module}.{name}" if module else name

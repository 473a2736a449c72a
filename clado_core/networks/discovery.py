"""Find the quantizable layers of a network by running one example input through it.

Counted are Conv2d (grouped too), Linear, and the projections of ``nn.MultiheadAttention``, which
keeps q, k and v as rows of one parameter and reads ``out_proj.weight`` without calling the module:
hooks on Linear alone would miss all four. A layer whose weight is used by a function, without
calling its module, counts as reached.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clado_core.errors import InputError, MeasurementError
from clado_core.networks.block_names import block_names
from clado_core.networks.steady import own_buffers, same_parameters
from clado_core.networks.weight_uses import WeightUses
from clado_core.records.layers import FLOAT_BYTES, LayerInfo, LayerKind, LayerTable
from clado_core.records.names import SELECTIONS, LayerSelection

PROJECTIONS = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True, slots=True)
class _Weight:
    """A weight before its positions are counted; ``source`` is who reports the positions."""

    name: str
    kind: LayerKind
    parameter: str
    shape: tuple[int, ...]
    source: str
    row_start: int = 0


def find_layers(
    model: nn.Module, example: Tensor, /, *, selection: LayerSelection = "all"
) -> LayerTable:
    """List the layers whose bit-widths can be searched, in the order they are defined.

    Multiply-accumulates per sample are weights × output positions, summed over all calls, which
    counts grouped convolutions right. Works on the meta device.

    Args:
        model: In any mode; it is run once in eval mode and left as it was.
        example: Shape (N, C, H, W), on the model's device.
        selection: "all", or "paper": without the first layer and the network's last top-level
            child (the classifier).

    Returns:
        The table; ``other_bytes`` counts every other entry of the state dict, floats as float32.

    Raises:
        InputError: A weight is shared, reparametrized, used outside a module, or changed by a
            forward; or there is none.
        MeasurementError: The example does not reach a layer, or the network cannot run it.
    """
    if selection not in SELECTIONS:
        raise InputError(f"Unknown layers '{selection}': choose one of {', '.join(SELECTIONS)}.")
    weights = list(_weights(model))
    positions = _count_positions(model, example, weights)
    if selection == "paper":
        weights = _without_ends(weights)
    _refuse_shared(model, weights)
    unreached = [weight.name for weight in weights if weight.source not in positions]
    if unreached:
        raise MeasurementError(
            f"The example input does not reach {', '.join(unreached)}, so no loss depends on them; "
            "remove them from the network or give an input that reaches them.",
            layer=unreached[0],
        )
    blocks = block_names(model, [weight.name for weight in weights])
    layers = tuple(_layer(weight, positions, blocks[weight.name]) for weight in weights)
    searched = FLOAT_BYTES * sum(layer.n_weights for layer in layers)
    return LayerTable(layers, other_bytes=_state_bytes(model) - searched)


def searchable_weights(model: nn.Module, /) -> tuple[LayerInfo, ...]:
    """All quantizable weights in the order they are defined, positions and blocks not known."""
    return tuple(_layer(weight, defaultdict(int), "") for weight in _weights(model))


def _layer(weight: _Weight, positions: dict[str, int], block: str) -> LayerInfo:
    n_weights = torch.Size(weight.shape).numel()
    return LayerInfo(
        name=weight.name,
        kind=weight.kind,
        shape=weight.shape,
        macs=n_weights * positions[weight.source],
        block=block,
        parameter=weight.parameter,
        row_start=weight.row_start,
    )


def _weights(model: nn.Module) -> Iterator[_Weight]:
    inside_attention = {
        id(module.out_proj)
        for module in model.modules()
        if isinstance(module, nn.MultiheadAttention)
    }
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            yield from _attention_weights(name, module)
        elif isinstance(module, nn.Conv2d | nn.Linear) and id(module) not in inside_attention:
            kind: LayerKind = "conv2d" if isinstance(module, nn.Conv2d) else "linear"
            yield _Weight(name, kind, _join(name, "weight"), tuple(module.weight.shape), name)


def _attention_weights(name: str, module: nn.MultiheadAttention) -> Iterator[_Weight]:
    width = module.embed_dim
    shape: tuple[int, ...]
    for row, projection in enumerate(PROJECTIONS):
        source = _join(name, projection)
        if module.in_proj_weight is not None:
            parameter, start, shape = "in_proj_weight", row * width, (width, width)
        else:
            parameter, start = f"{projection}_weight", 0
            shape = tuple(getattr(module, parameter).shape)
        yield _Weight(source, "attention", _join(name, parameter), shape, source, start)
    out = _join(name, "out_proj")
    shape = tuple(module.out_proj.weight.shape)
    yield _Weight(out, "attention", _join(out, "weight"), shape, _join(name, "q_proj"))


def _without_ends(weights: list[_Weight]) -> list[_Weight]:
    """Leave out the first layer, and all of the last top-level child that has layers."""
    tops = [weight.name.split(".")[0] for weight in weights]
    kept = [weight for weight, top in zip(weights, tops, strict=True) if top != tops[-1]][1:]
    # A network wrapped in one child has no classifier of its own at the top.
    return kept or weights[1:-1]


def _refuse_shared(model: nn.Module, weights: list[_Weight]) -> None:
    names_of: dict[int, list[str]] = defaultdict(list)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, value in parameters.items():
        for key in _identities(value):
            names_of[key].append(name)
    for weight in weights:
        if (parameter := parameters.get(weight.parameter)) is None:
            raise InputError(
                f"The weight of '{weight.name}' is computed from others (a parametrization such "
                "as weight or spectral norm); remove the parametrization before measuring."
            )
        shared = sorted({name for key in _identities(parameter) for name in names_of[key]})
        if len(shared) > 1:
            raise InputError(
                f"The weight of '{weight.name}' is shared by {' and '.join(shared)}; shared "
                "weights cannot be given bit-widths of their own, so untie them before measuring."
            )


def _identities(parameter: Tensor) -> list[int]:
    """The object and, where there is one, its memory: two parameters may be one tensor."""
    return [id(parameter)] + ([] if parameter.is_meta else [parameter.data_ptr()])


@torch.no_grad()
def _count_positions(model: nn.Module, example: Tensor, weights: list[_Weight]) -> dict[str, int]:
    """Output positions per sample and layer, summed over calls."""
    elements: dict[str, int] = defaultdict(int)
    handles = [
        _attach(name, module, elements)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.MultiheadAttention)
    ]
    modes = {module: module.training for module in model.modules()}
    try:
        with own_buffers(model), same_parameters(model), attention_fast_path_off():
            model.eval()
            with WeightUses() as uses:
                model(example)
    except (RuntimeError, ValueError, TypeError, IndexError) as problem:
        raise MeasurementError(
            f"The network cannot run an input of shape {tuple(example.shape)}: "
            f"{str(problem).splitlines()[0] if str(problem) else type(problem).__name__}"
        ) from None
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    uses.refuse_others(model, {weight.parameter for weight in weights})
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for weight in weights:
        if count := uses.positions(parameters.get(weight.parameter)):
            elements[weight.source] = count
    return {name: count // len(example) for name, count in elements.items()}


def _attach(
    name: str,
    module: nn.Conv2d | nn.Linear | nn.MultiheadAttention,
    elements: dict[str, int],
) -> Any:
    if isinstance(module, nn.MultiheadAttention):
        return module.register_forward_pre_hook(_attention_hook(name, elements), with_kwargs=True)

    channels = module.out_channels if isinstance(module, nn.Conv2d) else module.out_features

    def count(_: nn.Module, __: Any, output: Tensor) -> None:
        elements[name] += output.numel() // channels

    return module.register_forward_hook(count)


def _attention_hook(name: str, elements: dict[str, int]) -> Callable[..., None]:
    def count(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        for argument, projection in zip(("query", "key", "value"), PROJECTIONS, strict=True):
            tokens = given[argument]
            elements[_join(name, projection)] += tokens.numel() // tokens.shape[-1]

    return count


@contextmanager
def attention_fast_path_off() -> Iterator[None]:
    """The fused path of ``nn.TransformerEncoderLayer`` calls no submodule, hence no hook."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _state_bytes(model: nn.Module) -> int:
    """Bytes of a file of the whole state dict: floats as float32, integers at their own size."""
    entries = {id(value): value for value in model.state_dict(keep_vars=True).values()}
    return sum(
        value.numel() * (FLOAT_BYTES if value.is_floating_point() else value.element_size())
        for value in entries.values()
    )


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)

"""Find the quantizable layers of a network by running one example input through it.

Searched are the weights of ``searchable`` that the network multiplies with as its modules hold
them, whoever asks for the product. A weight that the network makes another one from (scaled,
standardized) stays float, and so does everything else; the table names it all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from clado_core.errors import InputError, MeasurementError
from clado_core.networks.block_names import block_names
from clado_core.networks.inference import running
from clado_core.networks.left_float import entries, float_parts, stored_bytes
from clado_core.networks.ordinary import evaluating, require_ordinary
from clado_core.networks.searchable import SEARCHED, Weight, list_weights
from clado_core.networks.steady import own_buffers, same_parameters
from clado_core.networks.weight_uses import WeightUses
from clado_core.records.layers import FLOAT_BYTES, LayerInfo, LayerTable
from clado_core.records.names import SELECTIONS, LayerSelection

NOT_ASKED_FOR = "left out of the search, as asked for"


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
        The table; ``other_bytes`` counts every other entry of the state dict, floats as float32,
        and ``float_parts`` names them.

    Raises:
        InputError: A weight is shared or reparametrized, or changed by a forward; or there is none.
        MeasurementError: The example does not reach a layer, or the network cannot run it.
    """
    if selection not in SELECTIONS:
        raise InputError(f"Unknown layers '{selection}': choose one of {', '.join(SELECTIONS)}.")
    require_ordinary(model)
    weights = list_weights(model)
    uses, called = _run(model, example)
    wanted = weights if selection == "all" else _without_ends(weights)
    left_out = {weight: NOT_ASKED_FOR for weight in weights if weight not in wanted}
    _refuse_parametrized(model, wanted)
    _refuse_shared(model, wanted)
    left_out |= _made_into_others(wanted, uses, called)
    searched = [weight for weight in wanted if weight not in left_out]
    if weights and not searched:
        raise InputError(_nothing_left(left_out))
    blocks = block_names(model, [weight.name for weight in searched])
    macs = {w: uses.macs(w.parameter, w.rows) // len(example) for w in searched}
    layers = tuple(_layer(weight, macs[weight], blocks[weight.name]) for weight in searched)
    other_bytes = _file_bytes(model) - FLOAT_BYTES * sum(layer.n_weights for layer in layers)
    return LayerTable(layers, other_bytes, float_parts(model, searched, left_out, uses))


def _file_bytes(model: nn.Module) -> int:
    return sum(map(stored_bytes, entries(model).values()))


def searchable_weights(model: nn.Module, /) -> tuple[LayerInfo, ...]:
    """All quantizable weights in the order they are defined, uses and blocks not known."""
    return tuple(_layer(weight, 0, "") for weight in list_weights(model))


def _layer(weight: Weight, macs: int, block: str) -> LayerInfo:
    return LayerInfo(
        name=weight.name,
        kind=weight.kind,
        shape=weight.shape,
        macs=macs,
        block=block,
        parameter=weight.parameter,
        row_start=weight.row_start,
    )


def _made_into_others(
    weights: list[Weight], uses: WeightUses, called: set[str]
) -> dict[Weight, str]:
    """Weights that no data is multiplied with as they are stored → what is done instead.

    Raises:
        MeasurementError: Nothing at all is done with one.
    """
    found: dict[Weight, str] = {}
    unreached: list[str] = []
    for weight in weights:
        if uses.macs(weight.parameter, weight.rows):
            continue
        if weight.parameter in uses.products:
            found[weight] = "the network multiplies with another weight, computed from this one"
        elif others := sorted(uses.others.get(weight.parameter, ())):
            found[weight] = f"used by {', '.join(others)}, in no product"
        elif weight.module in called:
            found[weight] = "its module is called with another weight"
        else:
            unreached.append(weight.name)
    if unreached:
        raise MeasurementError(
            f"The example input does not reach {', '.join(unreached)}, so no loss depends on them; "
            "remove them from the network or give an input that reaches them.",
            layer=unreached[0],
        )
    return found


def _nothing_left(left_out: dict[Weight, str]) -> str:
    named = "; ".join(f"'{weight.name}' ({why})" for weight, why in left_out.items())
    return f"There is no layer to quantize, as these weights have to stay float: {named}."


def _without_ends(weights: list[Weight]) -> list[Weight]:
    """Leave out the first layer, and all of the last top-level child that has layers."""
    tops = [weight.name.split(".")[0] for weight in weights]
    kept = [weight for weight, top in zip(weights, tops, strict=True) if top != tops[-1]][1:]
    # A network wrapped in one child has no classifier of its own at the top.
    return kept or weights[1:-1]


def _refuse_parametrized(model: nn.Module, weights: list[Weight]) -> None:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for weight in weights:
        if weight.parameter not in parameters:
            raise InputError(
                f"The weight of '{weight.name}' is computed from others whenever it is read (a "
                "parametrization such as weight or spectral norm, or a pruning mask); make it a "
                "plain one before measuring, with torch.nn.utils.parametrize.remove_"
                "parametrizations, or remove_weight_norm, remove_spectral_norm or prune.remove."
            )


def _refuse_shared(model: nn.Module, weights: list[Weight]) -> None:
    """One module under two names is one layer; one weight of two modules is refused."""
    names_of: dict[int, dict[tuple[int, str], str]] = defaultdict(dict)
    parameters = {}
    for owner, module in model.named_modules():
        for attribute, value in module.named_parameters(owner, recurse=False):
            parameters[attribute] = value
            for key in _identities(value):
                names_of[key][id(module), attribute] = attribute
    for weight in weights:
        keys = _identities(parameters[weight.parameter])
        shared = sorted({name for key in keys for name in names_of[key].values()})
        if len(shared) > 1:
            raise InputError(
                f"The weight of '{weight.name}' is shared by {' and '.join(shared)}; shared "
                "weights cannot be given bit-widths of their own, so untie them before measuring."
            )


def _identities(parameter: Tensor) -> list[int]:
    """The object and, where there is one, its memory: two parameters may be one tensor."""
    return [id(parameter)] + ([] if parameter.is_meta else [parameter.data_ptr()])


@torch.no_grad()
def _run(model: nn.Module, example: Tensor) -> tuple[WeightUses, set[str]]:
    """Run the example; gives what was multiplied, and the names of the modules called."""
    called: set[str] = set()
    handles: list[Any] = []
    for name, module in model.named_modules():
        if isinstance(module, SEARCHED):
            handles.append(module.register_forward_pre_hook(partial(_note_call, called, name)))
    try:
        with (
            running(example),
            evaluating(model),
            own_buffers(model),
            same_parameters(model),
            attention_fast_path_off(),
            # Buffers are told by where they lie, so after they have been copied.
            WeightUses(model, example) as uses,
        ):
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return uses, called


def _note_call(called: set[str], name: str, *_: object) -> None:
    called.add(name)


@contextmanager
def attention_fast_path_off() -> Iterator[None]:
    """The fused path of ``nn.TransformerEncoderLayer`` calls no submodule, hence no hook."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)

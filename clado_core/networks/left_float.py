"""Everything in a network's file that no bit-width is chosen for, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from torch import Tensor, nn

from clado_core.networks.searchable import SEARCHED, Weight, join
from clado_core.networks.weight_uses import CONVOLUTION, WeightUses
from clado_core.records.float_parts import FloatPart
from clado_core.records.layers import FLOAT_BYTES

BIAS = "biases stay float"
NORMALIZATION = "normalization stays float"
LOOKED_UP = "looked up, not multiplied"
OTHER_KIND = "layers of this kind are not searched"
NO_WEIGHT = "not the weight of a layer"

_NORMALIZATION = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
_WEIGHTY = {
    *("_trilinear", "_cdist_forward", "_euclidean_dist", "embedding", "_embedding_bag"),
    *("mkldnn_rnn_layer", "_cudnn_rnn", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell"),
}
"""Operations that are no products of two factors, on what is a weight all the same."""


def entries(model: nn.Module, /) -> dict[str, Tensor]:
    """The tensors of the state dict; of one that has two names, the first."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor):
            found.setdefault(id(value), (name, value))
    return dict(found.values())


def stored_bytes(value: Tensor, /) -> int:
    """Bytes of a tensor in a file: floats as float32, integers at their own size."""
    return value.numel() * (FLOAT_BYTES if value.is_floating_point() else value.element_size())


def float_parts(
    model: nn.Module,
    searched: Iterable[Weight],
    left_out: Mapping[Weight, str],
    uses: WeightUses,
    /,
) -> tuple[FloatPart, ...]:
    """List what stays float, in the order of the state dict.

    Args:
        model: The network.
        searched: Weights that get bit-widths; all else is listed.
        left_out: Weights of the same kinds that do not → why.
        uses: What a run showed about parameters that are no layer's weight.

    Returns:
        Parts that are together, in bytes, all of the file but the searched weights.
    """
    found = entries(model)
    first_names = {id(value): name for name, value in found.items()}
    taken: dict[str, int] = {}
    parts: dict[str, FloatPart] = {}
    known: set[tuple[str, int]] = set()
    for weight in (*searched, *left_out):
        name = first_names.get(id(_parameter(model, weight)), "")
        if not name or (name, weight.row_start) in known:
            continue
        known.add((name, weight.row_start))
        if weight in left_out:
            parts[weight.name] = _left_out(weight, left_out[weight])
        taken[name] = taken.get(name, 0) + FLOAT_BYTES * weight.n_weights
    modules = dict(model.named_modules(remove_duplicate=False))
    for name, value in found.items():
        owner, _, attribute = name.rpartition(".")
        part = _part(modules.get(owner, model), owner, attribute, value, uses)
        if n_bytes := stored_bytes(value) - taken.get(name, 0):
            before = parts[part.name].n_bytes if part.name in parts else 0
            parts[part.name] = replace(part, n_bytes=before + n_bytes)
    return tuple(parts.values())


def _parameter(model: nn.Module, weight: Weight) -> Tensor | None:
    try:
        return model.get_parameter(weight.parameter)
    except AttributeError:  # computed whenever it is read: what it is made from is listed
        return None


def _left_out(weight: Weight, why: str) -> FloatPart:
    n_bytes = FLOAT_BYTES * weight.n_weights
    return FloatPart(weight.name, weight.kind, n_bytes, why, is_weight=True)


def _part(
    module: nn.Module, owner: str, attribute: str, value: Tensor, uses: WeightUses
) -> FloatPart:
    """The part that an entry belongs to, without its bytes."""
    name, kind = join(owner, attribute), type(module).__name__
    if isinstance(module, SEARCHED):
        if "bias" in attribute:
            return FloatPart(name, "bias", 0, BIAS)
    elif isinstance(module, _NORMALIZATION):
        return FloatPart(owner, kind, 0, NORMALIZATION)
    elif isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return FloatPart(owner, kind, 0, LOOKED_UP, is_weight=True)
    elif _is_of_torch(module):
        is_weight = any(p.ndim > 1 for p in module.parameters(recurse=False))
        return FloatPart(owner, kind, 0, OTHER_KIND if is_weight else NO_WEIGHT, is_weight)
    kind = "parameter" if isinstance(value, nn.Parameter) else "buffer"
    why = _why_used(name, uses)
    return FloatPart(name, kind, 0, why or NO_WEIGHT, is_weight=bool(why))


def _is_of_torch(module: nn.Module) -> bool:
    """Whether it is a layer that torch brings, or a subclass of one: ConvTranspose2d, LSTM."""
    bases = [base.__module__ for base in type(module).__mro__ if base is not nn.Module]
    layers = [base for base in bases if base.startswith("torch.nn.modules.")]
    return any(not base.endswith(".container") for base in layers)


def _why_used(name: str, uses: WeightUses) -> str:
    """How a parameter of the network's own code is a weight; "" where it is none."""
    if products := uses.products.get(name):
        where = "a convolution" if products[0].operation == CONVOLUTION else "a matrix product"
        if any(use.as_stored for use in products):
            return f"used in {where} outside the layers that are searched"
        return f"{where} uses a weight computed from it"
    # Operations that other libraries add, such as deformable convolutions, are layers of theirs.
    others = sorted(uses.others.get(name, ()))
    named = [other for other in others if other in _WEIGHTY or "." in other]
    return f"used by {', '.join(named)}, outside the layers that are searched" if named else ""

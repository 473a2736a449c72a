"""The names of estimators, losses, methods and choices, as users type them and files hold them."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

ESTIMATORS = {
    "pairwise": "every pair of candidates, as in the paper",
    "adaptive": "the pairs that decisions depend on; the others as calibrated does",
    "calibrated": "logit-gram, with magnitudes fitted to measured losses",
    "logit-gram": "output changes of single candidates (Gauss-Newton)",
    "block": "pairs inside one residual or transformer block; the others are 0",
    "hvp": "Hessian-vector products; local, so weak at 2 bits",
}
"""Name → what it measures."""

FITTED = ("adaptive", "calibrated")
"""Estimators that fit the entries that they do not measure to those that they do."""
ESTIMATED = ("logit-gram", "hvp")
"""Estimators none of whose entries is a difference of measured losses."""

LOSS_NAMES = ("ce", "kl")
"""Cross-entropy, and the divergence from the float network's outputs, which needs no labels."""

CLADO, DIAGONAL, BLOCK, UNIFORM, RANDOM = "clado", "diagonal", "block", "uniform", "random"
HAWQ, MPQCO = "hawq", "mpqco"

MEASURED_ALONG = (HAWQ, MPQCO)
"""Methods with sensitivities of their own, in ``SensitivityMatrix.diagonals`` where measured."""

METHODS = (CLADO, DIAGONAL, BLOCK, *MEASURED_ALONG, UNIFORM, RANDOM)
"""What ``allocate`` can minimize or choose."""

NEAREST, GPTQ, ADAROUND = "nearest", "gptq", "adaround"
Rounding: TypeAlias = Literal["nearest", "gptq", "adaround"]
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)
"""How weights become integers: alone, with errors spread over others, or learned."""

MeasuredAs: TypeAlias = Literal["rounded", "repaired"]
MEASURED_AS: tuple[MeasuredAs, ...] = get_args(MeasuredAs)
ROUNDED, REPAIRED = MEASURED_AS
"""What a choice is run as: rounded to nearest and nothing more, or as ``repair`` ships it."""


def usual_estimator(rounding: Rounding, /) -> str:
    """What is measured where nobody says: all pairs of weights rounded to nearest, as in the paper;
    of repaired weights single layers, which rank choices as well there for a fraction of the time.
    """
    return "pairwise" if rounding == NEAREST else "calibrated"


REFINED = "clado-refined"
"""Method of a choice of least measured loss, among those that were run."""

Split: TypeAlias = Literal["train", "held-out", "all"]
SPLITS: tuple[Split, ...] = get_args(Split)
"""Parts of a data set."""

VALIDATION = "validation"
"""Training images that neither the measurement nor a repair has seen: to choose by, not to report
accuracy on."""

LayerSelection: TypeAlias = Literal["all", "paper"]
SELECTIONS: tuple[LayerSelection, ...] = get_args(LayerSelection)
"""Layers whose bit-widths are searched; "paper" leaves out the first and the last."""

DEVICES = ("auto", "cpu", "cuda")
"""Where a network runs; "auto" takes a GPU where there is one."""

CHANNELS_LAST, CHANNELS_FIRST = "channels-last", "channels-first"
"""Memory formats of activations."""

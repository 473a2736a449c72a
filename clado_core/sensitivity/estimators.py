"""The estimators of G: each asks a workbench for what it needs and puts G together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from clado_core.sensitivity.derivatives import quadratic_model
from clado_core.sensitivity.logit_gram import output_gram
from clado_core.sensitivity.pairwise import sensitivities
from clado_core.sensitivity.plan import Unit, block_plan, pairwise_plan, single_plan
from clado_core.sensitivity.workbench import Sums, Workbench

Array = npt.NDArray[np.float64]
MAX_PARTS = 16
"""Batches are joined into at most this many parts before their matrices are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """What an estimator found.

    Args:
        G: Shape (n, n).
        part_G: G of each part of the sensitivity set, shape (K, n, n).
        part_weights: Share of the samples in each part, shape (K,).
        measured: Which entries follow from losses that were run, shape (n, n).
        fit_error: Standard deviation of what a fit left open, shape (n, n); None without a fit.
        details: What the estimator reports of itself.
    """

    G: Array
    part_G: Array
    part_weights: Array
    measured: npt.NDArray[np.bool_]
    fit_error: Array | None = None
    details: Mapping[str, float | str] = field(default_factory=dict)


def estimate_pairwise(bench: Workbench, /) -> Estimate:
    """Every pair measured, as in the paper."""
    return from_losses(bench, bench.losses(pairwise_plan(len(bench.layers), len(bench.menu))))


def estimate_block(bench: Workbench, /) -> Estimate:
    """Pairs inside a block measured, all others 0 (as in BRECQ)."""
    return from_losses(bench, bench.losses(block_plan(bench.layers, len(bench.menu))))


def estimate_logit_gram(bench: Workbench, /) -> Estimate:
    """The Gram matrix of output changes, unscaled."""
    bench.losses(single_plan(len(bench.layers), len(bench.menu)))
    return _from_sums(bench, gram_sums(bench))


def estimate_hvp(bench: Workbench, /) -> Estimate:
    """The second-order model of the loss at the float weights."""
    bench.losses([()])
    return _from_sums(bench, quadratic_model(bench))


def gram_sums(bench: Workbench, /) -> Array:
    """The Gram matrix of each batch, summed over its samples, shape (batches, n, n)."""
    singles = [(a,) for a in range(bench.n)]
    return np.stack(
        [
            output_gram(bench.outputs(singles, b), reference.double().cpu())
            for b, reference in enumerate(bench.reference)
        ]
    )


def from_losses(bench: Workbench, losses: Mapping[Unit, Sums], /) -> Estimate:
    """G of measured losses, over all samples and per part."""
    mean = {u: float(sum(sums.tolist())) / bench.n_samples for u, sums in losses.items()}
    groups, weights = _parts(bench)
    part_G = np.stack(
        [
            sensitivities(
                {u: sums[g].sum() / (w * bench.n_samples) for u, sums in losses.items()}, bench.n
            )
            for g, w in zip(groups, weights, strict=True)
        ]
    )
    return Estimate(sensitivities(mean, bench.n), part_G, weights, measured_by(losses, bench.n))


def measured_by(units: Iterable[Unit], n: int, /) -> npt.NDArray[np.bool_]:
    """Which entries of G the losses of these units give, shape (n, n)."""
    measured = np.zeros((n, n), dtype=np.bool_)
    for unit in units:
        if unit:
            measured[unit[0], unit[-1]] = measured[unit[-1], unit[0]] = True
    return measured


def per_part(bench: Workbench, sums: Array, /) -> Array:
    """Means over the samples of each part, of sums over the samples of each batch.

    Args:
        bench: Knows the batches.
        sums: Shape (batches, n, n).

    Returns:
        Shape (K, n, n).
    """
    groups, weights = _parts(bench)
    return np.stack(
        [sums[g].sum(axis=0) / (w * bench.n_samples) for g, w in zip(groups, weights, strict=True)]
    )


def _from_sums(bench: Workbench, sums: Array) -> Estimate:
    """Estimates that are no differences of losses: nothing of them counts as measured."""
    G, (_, weights) = sums.sum(axis=0) / bench.n_samples, _parts(bench)
    return Estimate(G, per_part(bench, sums), weights, measured_by((), bench.n))


def _parts(bench: Workbench) -> tuple[list[npt.NDArray[np.int64]], Array]:
    """Batches of each part, and the parts' shares of the samples."""
    n = len(bench.batches)
    groups = np.array_split(np.arange(n), min(n, MAX_PARTS))
    return groups, np.array([bench.part_weights[g].sum() for g in groups])


Estimator = Callable[[Workbench], Estimate]

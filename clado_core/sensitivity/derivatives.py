"""Sensitivities from derivatives at the float weights: HVP, HAWQ and MPQCO.

All three use the steps dw = Q(w) − w of the same quantizer as the measured losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from clado_core.networks.inference import Batch
from clado_core.sensitivity.workbench import Workbench

Array = npt.NDArray[np.float64]

PROBES = 32
"""Random vectors of the trace estimate."""
PROBE_SEED = 20250703

GRADIENT, MPQCO = ("gradient",), ("mpqco",)


def hvp_keys(n: int, /) -> list[tuple[Any, ...]]:
    """Names under which Hessian-vector products are kept."""
    return [GRADIENT, *(("hvp", a) for a in range(n))]


def hawq_keys() -> list[tuple[Any, ...]]:
    """Names under which the probes of the trace are kept."""
    return [("hawq", k) for k in range(PROBES)]


def quadratic_model(bench: Workbench, /) -> Array:
    """Second-order model of the loss, summed per batch, shape (batches, n, n).

    G_ab = dw_a' H dw_b between layers, and G_aa = 2 g·dw_a + dw_a' H dw_a, so that x'Gx is twice
    the second-order increase of the loss. Two candidates of one layer give 0, as when measured.
    """
    with _differentiating(bench) as derivatives:
        names = hvp_keys(bench.n)
        rows = bench.rows(names, lambda name, batch: derivatives.row(name, batch))
    G: Array = np.stack([rows[name] for name in names[1:]], axis=1)
    G = (G + G.transpose(0, 2, 1)) / 2
    layer = np.arange(bench.n) // len(bench.menu)
    other = np.equal.outer(layer, layer) & ~np.eye(bench.n, dtype=bool)
    G[:, other] = 0.0
    G[:, np.arange(bench.n), np.arange(bench.n)] += 2 * rows[GRADIENT]
    return G


def hawq(bench: Workbench, /) -> Array:
    """Mean Hessian eigenvalue × ‖dw‖², shape (L, B).

    trace(H_i)/numel_i by Hutchinson's estimator: v_i'(Hv)_i over random signs v.

    Source: HAWQ-V2 (Dong et al., 2020), section 3.
    """
    with _differentiating(bench) as derivatives:
        rows = bench.rows(hawq_keys(), lambda name, batch: derivatives.row(name, batch))
        norms = np.array([float(d.double().square().sum()) for d in derivatives.steps])
    trace = np.mean([row.sum(axis=0) for row in rows.values()], axis=0) / bench.n_samples
    mean: Array = trace / bench.layers.n_weights
    weighted: Array = mean[:, None] * norms.reshape(len(bench.layers), len(bench.menu))
    return weighted


def mpqco(bench: Workbench, /) -> Array:
    """Half the empirical Fisher form, 1/(2N) Σ (dw·∇ log p_y)², shape (L, B).

    Source: MPQCO (Chen et al., ICCV 2021), with the probability of the label, not its logit.
    """
    with _differentiating(bench) as derivatives:
        rows = bench.rows([MPQCO], lambda name, batch: derivatives.row(name, batch))
    fisher: Array = rows[MPQCO].sum(axis=0) / (2 * bench.n_samples)
    return fisher.reshape(len(bench.layers), len(bench.menu))


class _Derivatives:
    """Derivatives of one batch after another; the graph of a batch is made once."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._parameters = [bench.model.get_parameter(x.parameter) for x in bench.layers.layers]
        self.steps = [bench.swap.change(i, b) for i in range(len(bench.layers)) for b in bench.menu]
        self._made_for: tuple[Batch, bool] | None = None
        self._dual = torch.zeros(())
        self._gradients: Sequence[Tensor] = ()

    def row(self, name: tuple[Any, ...], batch: Batch) -> Array:
        """The vector that a key stands for, summed over the samples of a batch."""
        self._prepare(batch, fisher=name == MPQCO)
        m = len(self._bench.menu)
        if name == MPQCO:
            return np.array(
                [float(self._slope(a).detach().square().sum()) for a in range(len(self.steps))]
            )
        if name == GRADIENT:
            slices = [self._own(self._gradients, a // m) for a in range(len(self.steps))]
            return np.array([_dot(s, d) for s, d in zip(slices, self.steps, strict=True)])
        if name[0] == "hvp":
            product = self._hessian_times({name[1] // m: self.steps[name[1]]})
            slices = [self._own(product, a // m) for a in range(len(self.steps))]
            return np.array([_dot(s, d) for s, d in zip(slices, self.steps, strict=True)])
        signs = self._signs(name[1])
        product = self._hessian_times(signs)
        return np.array([_dot(self._own(product, i), v) for i, v in signs.items()])

    def _prepare(self, batch: Batch, *, fisher: bool) -> None:
        if self._made_for == (batch, fisher):
            return
        self._gradients = ()
        bench = self._bench
        outputs = bench.model(batch.x.clone())
        if fisher:
            chosen = outputs.double().log_softmax(1)[torch.arange(len(batch.y)), batch.y]
            self._dual = torch.zeros_like(chosen, requires_grad=True)
            value = (chosen * self._dual).sum()
        else:
            value = bench.loss(outputs, batch.y, outputs.detach())
        self._gradients = torch.autograd.grad(value, self._parameters, create_graph=True)
        self._made_for = (batch, fisher)

    def _hessian_times(self, vectors: dict[int, Tensor]) -> Sequence[Tensor]:
        """H·v over all layers' parameters; v is given for some layers and 0 elsewhere."""
        product = [(self._own(self._gradients, i) * v).sum() for i, v in vectors.items()]
        return torch.autograd.grad(
            torch.stack(product).sum(), self._parameters, retain_graph=True, materialize_grads=True
        )

    def _slope(self, a: int) -> Tensor:
        """dw_a·∇ log p_y of every sample: the gradient is linear in its weights over samples."""
        own = self._own(self._gradients, a // len(self._bench.menu))
        (slope,) = torch.autograd.grad((own * self.steps[a]).sum(), self._dual, retain_graph=True)
        return slope

    def _own(self, values: Sequence[Tensor], layer: int) -> Tensor:
        """A layer's rows of a tensor shaped as its parameter."""
        about = self._bench.layers.layers[layer]
        return values[layer][about.row_start : about.row_start + about.out_channels]

    def _signs(self, k: int) -> dict[int, Tensor]:
        generator = torch.Generator().manual_seed(PROBE_SEED + k)
        signs = {}
        for i, layer in enumerate(self._bench.layers.layers):
            drawn = torch.randint(0, 2, layer.shape, generator=generator)
            signs[i] = (2 * drawn - 1).to(self._parameters[i])
        return signs


@contextmanager
def _differentiating(bench: Workbench) -> Iterator[_Derivatives]:
    """Gradients on for the searched weights, with kernels that can be differentiated twice."""
    parameters = {bench.model.get_parameter(x.parameter) for x in bench.layers.layers}
    wanted = {parameter: parameter.requires_grad for parameter in parameters}
    bench.swap.apply({})
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            yield _Derivatives(bench)
    finally:
        for parameter, before in wanted.items():
            parameter.requires_grad_(before)


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a.detach().double() * b.double()).sum())

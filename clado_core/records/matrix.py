"""The cross-layer sensitivity matrix G: one record, made by measuring or importing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from clado_core._html import table
from clado_core._typing import SquareMatrix
from clado_core.errors import InputError
from clado_core.records.layers import LayerTable
from clado_core.records.portable import Portable
from clado_core.records.provenance import Provenance
from clado_core.records.scheme import (
    BitWidths,
    QuantizationScheme,
    act_widths,
    bit_menu,
    input_bits,
)

LOSS_PER_OBJECTIVE = 0.5
"""x'Gx is twice the predicted loss increase (CLADO, eq. 5–8); the factor lives here alone."""

LARGEST_ENTRY = 1e100
"""No loss comes near; above it sums of squares leave the range of double precision."""

ASYMMETRY_TOLERANCE = 1e-9
"""Largest |G − G'| accepted, relative to the largest |G|; below it G is made symmetric."""


@dataclass(frozen=True, slots=True, eq=False)
class SensitivityMatrix(Portable):
    """Measured sensitivities of every layer and every pair of layers.

    Rows are candidates (layer, bit-width), layer-major and bit-minor. With D the measured loss
    increases, ``G[a, a] = 2·D_a`` and ``G[a, b] = D_ab − D_a − D_b`` for candidates of different
    layers, so for a one-hot x ``x'Gx`` is twice the predicted loss increase. Entries between two
    bit-widths of one layer never enter x'Gx.

    Args:
        name: Short name, such as the network's.
        G: Shape (n, n) with n = layers × bit-widths; finite and symmetric.
        layers: The L searched layers.
        bit_widths: The menu, ascending, B entries.
        base_loss: Mean loss of the unquantized network, or None where it is not known.
        scheme: The quantizer the losses were measured with.
        provenance: Where the numbers come from.
        diagonals: Other methods' sensitivities on the same quantizer, such as "hawq" and "mpqco",
            each of shape (L, B); only their ratios mean something.
        part_G: G measured on each of K parts of the sensitivity set, shape (K, n, n), or None;
            rounded to float32, which their scatter is far above.
        part_weights: Share of the samples in each part, shape (K,); sums to 1.
        input_ranges: Lowest and highest value of each layer's quantized input at each bit-width
            of ``act_widths``, shape (L, A, 2); None where inputs stay float.

    Raises:
        InputError: Wrong shape, NaN or infinite entries, or not symmetric.

    Source: CLADO (Deng et al., DAC 2025), section 3.
    """

    name: str
    G: SquareMatrix
    layers: LayerTable
    bit_widths: BitWidths
    base_loss: float | None = None
    scheme: QuantizationScheme = field(default_factory=QuantizationScheme)
    provenance: Provenance = field(default_factory=Provenance)
    diagonals: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    part_G: npt.NDArray[np.float64] | None = None
    part_weights: npt.NDArray[np.float64] | None = None
    input_ranges: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "bit_widths", bit_menu(self.bit_widths))
        object.__setattr__(self, "G", _checked_matrix(self.G, len(self.layers), self.bit_widths))
        shape = (self.n_layers, self.n_bits)
        checked = {k: _checked_array(k, v, shape) for k, v in self.diagonals.items()}
        object.__setattr__(self, "diagonals", MappingProxyType(checked))
        if self.part_G is not None and self.part_weights is not None:
            parts = (len(self.part_weights), *self.G.shape)
            object.__setattr__(self, "part_G", _checked_parts(self.part_G, parts))
            weights = _checked_array("part_weights", self.part_weights, parts[:1])
            object.__setattr__(self, "part_weights", weights)
        if self.input_ranges is not None:
            ends = (self.n_layers, len(self.act_widths), 2)
            ranges = _checked_array("input_ranges", self.input_ranges, ends)
            object.__setattr__(self, "input_ranges", ranges)

    def __repr__(self) -> str:
        return f"SensitivityMatrix({self.summary})"

    def _repr_html_(self) -> str:
        rows = zip(self.layers.names, self.layers.n_weights.tolist(), strict=True)
        losses = self.single_loss_increase.tolist()
        return table(
            f"{self.summary}. Loss increase of each layer alone, by bits:",
            ["layer", "weights", *map(str, self.bit_widths)],
            [(*row, *loss) for row, loss in zip(rows, losses, strict=True)],
        )

    @property
    def summary(self) -> str:
        """Which network, and how it was measured, in a line."""
        about, menu = self.provenance, "/".join(map(str, self.bit_widths))
        how = "" if about.estimator is None else f", {about.estimator}"
        on = "" if about.n_samples is None else f" on {about.n_samples:,} samples"
        base = "" if self.base_loss is None else f", loss {self.base_loss:.4g} without quantization"
        return f"{self.name}: {self.n_layers} layers × {menu} bits{how}{on}{base}"

    @property
    def n_layers(self) -> int:
        """L, the number of searched layers."""
        return len(self.layers)

    @property
    def n_bits(self) -> int:
        """B, the number of bit-widths in the menu."""
        return len(self.bit_widths)

    @property
    def act_widths(self) -> BitWidths:
        """Bit-widths that inputs are quantized to, ascending; none where they stay float."""
        return act_widths(self.bit_widths, self.scheme)

    @property
    def single_loss_increase(self) -> npt.NDArray[np.float64]:
        """Measured loss increase of each layer alone, shape (L, B)."""
        return LOSS_PER_OBJECTIVE * self.G.diagonal().reshape(self.n_layers, self.n_bits)

    def blocks(self) -> npt.NDArray[np.float64]:
        """G as shape (L, B, L, B): ``blocks()[i, m, j, n]`` couples (i, m) and (j, n)."""
        return self.G.reshape(self.n_layers, self.n_bits, self.n_layers, self.n_bits)

    def same_layer(self) -> npt.NDArray[np.bool_]:
        """Mask, shape (n, n), of entries whose two candidates belong to one layer."""
        layer = np.repeat(np.arange(self.n_layers), self.n_bits)
        return np.equal.outer(layer, layer)

    def objective(self, bits: tuple[int, ...], /) -> float:
        """x'Gx of an assignment, twice its predicted loss increase.

        Args:
            bits: One bit-width per layer, shape (L,), each in the menu.
        """
        rows = np.arange(self.n_layers) * self.n_bits + self.choice(bits)
        return float(self.G[np.ix_(rows, rows)].sum())

    def terms(self, bits: tuple[int, ...], /) -> float:
        """Σ|G_ab| over an assignment's candidates: x'Gx is their sum without the bars."""
        rows = np.arange(self.n_layers) * self.n_bits + self.choice(bits)
        return float(np.abs(self.G[np.ix_(rows, rows)]).sum())

    def predicted_loss_increase(self, bits: tuple[int, ...], /) -> float:
        """Half of x'Gx of an assignment: the quadratic prediction, not a measured loss."""
        return LOSS_PER_OBJECTIVE * self.objective(bits)

    def choice(self, bits: tuple[int, ...], /) -> npt.NDArray[np.int64]:
        """Position in the menu of each layer's bit-width; raises InputError where there is none."""
        if len(bits) != self.n_layers:
            raise InputError(
                f"The assignment has {len(bits)} bit-widths, the matrix has {self.n_layers} layers."
            )
        for name, b in zip(self.layers.names, bits, strict=True):
            if b not in self.bit_widths:
                raise InputError(
                    f"Layer '{name}' cannot have {b} bits: the matrix was measured at "
                    f"{', '.join(map(str, self.bit_widths))} bits."
                )
        return np.array([self.bit_widths.index(b) for b in bits], dtype=np.int64)

    def standard_error(self) -> npt.NDArray[np.float64] | None:
        """Standard error of each entry of G, shape (n, n); None with fewer than two parts.

        With parts k of weight w_k: √(K/(K−1) · Σ w_k²·(G_k − Σ w_k·G_k)²).
        """
        if self.part_G is None or self.part_weights is None or len(self.part_weights) < 2:
            return None
        k, w = len(self.part_weights), self.part_weights[:, None, None]
        spread = w * (self.part_G - (w * self.part_G).sum(axis=0))
        error: npt.NDArray[np.float64] = np.sqrt(k / (k - 1) * (spread**2).sum(axis=0))
        return error

    def diagonal_only(self) -> SensitivityMatrix:
        """The additive model: every cross-layer term dropped (CLADO* in the paper)."""
        return replace(self, G=np.diag(self.G.diagonal()), part_G=None, part_weights=None)

    def within_blocks(self) -> SensitivityMatrix:
        """Only interactions inside one residual or transformer block kept (as in BRECQ)."""
        block = np.repeat([layer.block or layer.name for layer in self.layers.layers], self.n_bits)
        G = np.where(np.equal.outer(block, block), self.G, 0.0)
        return replace(self, G=G, part_G=None, part_weights=None)

    def project_psd(self) -> SensitivityMatrix:
        """The nearest positive semidefinite matrix, negative eigenvalues set to zero.

        The paper solves with this one. It changes the optimum: x' PSD(G) x ≥ x'Gx for every x.
        """
        eigenvalues, vectors = np.linalg.eigh(self.G)
        clipped = (vectors * np.maximum(eigenvalues, 0.0)) @ vectors.T
        return replace(self, G=(clipped + clipped.T) / 2, part_G=None, part_weights=None)

    def non_monotone(self) -> list[tuple[str, int, int]]:
        """Layers measured worse at a higher bit-width: (name, lower bits, higher bits)."""
        increase, menu = self.single_loss_increase, self.bit_widths
        return [
            (self.layers.names[i], menu[m], menu[m + 1])
            for i, m in zip(*np.nonzero(np.diff(increase, axis=1) > 0), strict=True)
            # The next joint choice may have more weight bits and fewer input bits.
            if (input_bits(menu[m]) or 0) <= (input_bits(menu[m + 1]) or 0)
        ]


def _checked_array(
    name: str, values: npt.NDArray[np.float64], shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    values = np.array(values, dtype=np.float64)
    if values.shape != shape or not np.isfinite(values).all():
        raise InputError(f"'{name}' has shape {values.shape}; expected {shape} and finite numbers.")
    values.flags.writeable = False
    return values


def _checked_parts(
    values: npt.NDArray[np.float64], shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    values = _checked_array("part_G", values, shape)
    symmetric = (values + values.transpose(0, 2, 1)) / 2
    return _checked_array("part_G", symmetric.astype(np.float32).astype(np.float64), shape)


def _checked_matrix(
    G: npt.NDArray[np.float64], n_layers: int, bit_widths: BitWidths
) -> npt.NDArray[np.float64]:
    n = n_layers * len(bit_widths)
    G = np.array(G, dtype=np.float64)
    if G.shape != (n, n):
        raise InputError(
            f"G has shape {G.shape}; {n_layers} layers × {len(bit_widths)} bit-widths need "
            f"({n}, {n})."
        )
    if not np.isfinite(G).all():
        a, b = np.argwhere(~np.isfinite(G))[0]
        raise InputError(f"G[{a}, {b}] is {G[a, b]}; every entry must be a finite number.")
    if np.abs(G).max() > LARGEST_ENTRY:
        a, b = np.unravel_index(np.argmax(np.abs(G)), G.shape)
        raise InputError(
            f"G[{a}, {b}] is {G[a, b]:.3g}; entries above {LARGEST_ENTRY:g} are no losses: the "
            "network diverged at that bit-width, so leave it out of the menu."
        )
    asymmetry = np.abs(G - G.T).max()
    if asymmetry > ASYMMETRY_TOLERANCE * max(np.abs(G).max(), np.finfo(float).tiny):
        a, b = np.unravel_index(np.argmax(np.abs(G - G.T)), G.shape)
        raise InputError(
            f"G is not symmetric: G[{a}, {b}] = {G[a, b]:.6g} but G[{b}, {a}] = {G[b, a]:.6g}."
        )
    G = (G + G.T) / 2
    G.flags.writeable = False
    return G

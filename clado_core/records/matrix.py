"""The cross-layer sensitivity matrix G: one record, made by measuring or importing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from clado_core._html import table
from clado_core._typing import SquareMatrix
from clado_core.errors import InputError
from clado_core.records.array_checks import (
    checked_array,
    checked_errors,
    checked_mask,
    checked_matrix,
    checked_parts,
)
from clado_core.records.layers import LayerTable
from clado_core.records.names import ESTIMATED, FITTED
from clado_core.records.portable import Portable
from clado_core.records.provenance import Provenance
from clado_core.records.scheme import (
    BitWidths,
    QuantizationScheme,
    act_widths,
    bit_menu,
    input_bits,
)

Mask: TypeAlias = npt.NDArray[np.bool_]

LOSS_PER_OBJECTIVE = 0.5
"""x'Gx is twice the predicted loss increase (CLADO, eq. 5–8); the factor lives here alone."""


@dataclass(frozen=True, slots=True, eq=False)
class SensitivityMatrix(Portable):
    """Sensitivities of every layer and every pair of layers, measured or estimated.

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
        measured: Which entries follow from losses that were run with just these candidates, shape
            (n, n), False between candidates of one layer; None in files of before it was kept, and
            where nobody said. ``measured_entries`` is what is known.
        fit_error: Standard deviation of what a fit left open in each entry, shape (n, n), 0 where
            nothing was fitted; None where nobody said. Rounded to float32.

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
    measured: Mask | None = None
    fit_error: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "bit_widths", bit_menu(self.bit_widths))
        object.__setattr__(self, "G", checked_matrix(self.G, len(self.layers), self.bit_widths))
        shape = (self.n_layers, self.n_bits)
        checked = {k: checked_array(k, v, shape) for k, v in self.diagonals.items()}
        object.__setattr__(self, "diagonals", MappingProxyType(checked))
        if self.part_G is not None and self.part_weights is not None:
            parts = (len(self.part_weights), *self.G.shape)
            object.__setattr__(self, "part_G", checked_parts(self.part_G, parts))
            weights = checked_array("part_weights", self.part_weights, parts[:1])
            object.__setattr__(self, "part_weights", weights)
        if self.input_ranges is not None:
            ends = (self.n_layers, len(self.act_widths), 2)
            ranges = checked_array("input_ranges", self.input_ranges, ends)
            object.__setattr__(self, "input_ranges", ranges)
        if self.measured is not None:
            mask = checked_mask("measured", self.measured, self.G.shape, within=self._used())
            object.__setattr__(self, "measured", mask)
        if self.fit_error is not None:
            errors = checked_errors("fit_error", self.fit_error, self.G.shape)
            object.__setattr__(self, "fit_error", errors)

    def __repr__(self) -> str:
        return f"SensitivityMatrix({self.summary})"

    def _repr_html_(self) -> str:
        rows = zip(self.layers.names, self.layers.n_weights.tolist(), strict=True)
        losses = self.single_loss_increase.tolist()
        how = "Estimated loss" if self.provenance.estimator in ESTIMATED else "Loss"
        return table(
            f"{self.summary}. {how} increase of each layer alone, by bits:",
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
        """Loss increase of each layer alone, shape (L, B); measured where ``measured_entries``
        has the diagonal."""
        return LOSS_PER_OBJECTIVE * self.G.diagonal().reshape(self.n_layers, self.n_bits)

    def blocks(self) -> npt.NDArray[np.float64]:
        """G as shape (L, B, L, B): ``blocks()[i, m, j, n]`` couples (i, m) and (j, n)."""
        return self.G.reshape(self.n_layers, self.n_bits, self.n_layers, self.n_bits)

    def same_layer(self) -> Mask:
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

    def measured_entries(self) -> Mask | None:
        """Which entries of G were measured, shape (n, n); None where nobody knows.

        In files of before it was kept the estimator tells. Those of fitted matrices kept what they
        measured in parts, and what they fitted alike in every part.
        """
        if self.measured is not None:
            return self.measured
        estimator, used = self.provenance.estimator, self._used()
        if estimator == "pairwise":
            return used
        if estimator == "block":
            return used & self._same_block()
        if estimator in FITTED and self.part_G is not None and len(self.part_G) > 1:
            varies: Mask = np.ptp(self.part_G, axis=0) > 0.0
            return used & (varies | self._diagonal())
        return np.zeros_like(used) if estimator in ESTIMATED else None

    def fits_without_error(self) -> Mask:
        """Entries that were fitted by a program that did not keep how well, shape (n, n)."""
        measured = self.measured_entries()
        if (
            measured is None
            or self.fit_error is not None
            or self.provenance.estimator not in FITTED
        ):
            return np.zeros(self.G.shape, dtype=np.bool_)
        found: Mask = self._used() & ~measured & (self.G != 0.0)
        return found

    def standard_error(self) -> npt.NDArray[np.float64] | None:
        """Standard error of each entry of G, shape (n, n); None with fewer than two parts.

        With parts k of weight w_k: √(K/(K−1) · Σ w_k²·(G_k − Σ w_k·G_k)² + e²), where e is what a
        fit left open. NaN where an entry was fitted and that is not known.
        """
        if self.part_G is None or self.part_weights is None or len(self.part_weights) < 2:
            return None
        k, w = len(self.part_weights), self.part_weights[:, None, None]
        spread = w * (self.part_G - (w * self.part_G).sum(axis=0))
        left = 0.0 if self.fit_error is None else self.fit_error**2
        error: npt.NDArray[np.float64] = np.sqrt(k / (k - 1) * (spread**2).sum(axis=0) + left)
        error[self.fits_without_error()] = np.nan
        return error

    def with_G(self, G: npt.NDArray[np.float64], /) -> SensitivityMatrix:
        """The same network with another matrix: nothing is known of its spread, and measured are
        the entries that are still those that were."""
        measured = self.measured_entries()
        kept = None if measured is None else measured & (self.G == G)
        return replace(self, G=G, part_G=None, part_weights=None, measured=kept, fit_error=None)

    def diagonal_only(self) -> SensitivityMatrix:
        """The additive model: every cross-layer term dropped (CLADO* in the paper)."""
        return self.with_G(np.diag(self.G.diagonal()))

    def within_blocks(self) -> SensitivityMatrix:
        """Only interactions inside one residual or transformer block kept (as in BRECQ)."""
        return self.with_G(np.where(self._same_block(), self.G, 0.0))

    def project_psd(self) -> SensitivityMatrix:
        """The nearest positive semidefinite matrix, negative eigenvalues set to zero.

        The paper solves with this one. It changes the optimum: x' PSD(G) x ≥ x'Gx for every x.
        """
        eigenvalues, vectors = np.linalg.eigh(self.G)
        clipped = (vectors * np.maximum(eigenvalues, 0.0)) @ vectors.T
        return self.with_G((clipped + clipped.T) / 2)

    def non_monotone(self) -> list[tuple[str, int, int]]:
        """Layers measured worse at a higher bit-width: (name, lower bits, higher bits)."""
        increase, menu = self.single_loss_increase, self.bit_widths
        return [
            (self.layers.names[i], menu[m], menu[m + 1])
            for i, m in zip(*np.nonzero(np.diff(increase, axis=1) > 0), strict=True)
            # The next joint choice may have more weight bits and fewer input bits.
            if (input_bits(menu[m]) or 0) <= (input_bits(menu[m + 1]) or 0)
        ]

    def _used(self) -> Mask:
        """Entries that x'Gx can hold: all but those between candidates of one layer."""
        return ~self.same_layer() | self._diagonal()

    def _diagonal(self) -> Mask:
        return np.eye(len(self.G), dtype=np.bool_)

    def _same_block(self) -> Mask:
        block = np.repeat([layer.block or layer.name for layer in self.layers.layers], self.n_bits)
        same: Mask = np.equal.outer(block, block)
        return same

"""Arrays of a matrix as they have to be: a shape, finite, symmetric, and read-only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clado_core.errors import InputError
from clado_core.records.scheme import BitWidths

LARGEST_ENTRY = 1e100
"""No loss comes near; above it sums of squares leave the range of double precision."""

ASYMMETRY_TOLERANCE = 1e-9
"""Largest |G − G'| accepted, relative to the largest |G|; below it G is made symmetric."""


def checked_array(
    name: str, values: npt.NDArray[np.float64], shape: tuple[int, ...], /
) -> npt.NDArray[np.float64]:
    """A read-only copy of finite numbers of this shape; raises InputError where they are not."""
    values = np.array(values, dtype=np.float64)
    if values.shape != shape or not np.isfinite(values).all():
        raise InputError(f"'{name}' has shape {values.shape}; expected {shape} and finite numbers.")
    values.flags.writeable = False
    return values


def checked_parts(
    values: npt.NDArray[np.float64], shape: tuple[int, ...], /
) -> npt.NDArray[np.float64]:
    """Matrices of parts, made symmetric and rounded as files keep them."""
    values = checked_array("part_G", values, shape)
    symmetric = (values + values.transpose(0, 2, 1)) / 2
    return checked_array("part_G", symmetric.astype(np.float32).astype(np.float64), shape)


def checked_mask(
    name: str,
    mask: npt.NDArray[np.bool_],
    shape: tuple[int, ...],
    /,
    *,
    within: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """A read-only symmetric mask of this shape, False outside of another; else an InputError."""
    mask = np.array(mask)
    if mask.shape != shape or mask.dtype != np.bool_ or not np.array_equal(mask, mask.T):
        raise InputError(
            f"'{name}' has shape {mask.shape} and type {mask.dtype}; expected {shape}, symmetric, "
            "and only true or false."
        )
    mask = mask & within
    mask.flags.writeable = False
    return mask


def checked_errors(
    name: str, values: npt.NDArray[np.float64], shape: tuple[int, ...], /
) -> npt.NDArray[np.float64]:
    """Standard deviations, symmetric, rounded as files keep them; none may be negative."""
    values = checked_array(name, values, shape)
    if (values < 0).any() or not np.array_equal(values, values.T):
        raise InputError(f"'{name}' must be symmetric and nowhere negative.")
    return checked_array(name, values.astype(np.float32).astype(np.float64), shape)


def checked_matrix(
    G: npt.NDArray[np.float64], n_layers: int, bit_widths: BitWidths, /
) -> npt.NDArray[np.float64]:
    """A read-only symmetric G; raises InputError where it has another shape or is none."""
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

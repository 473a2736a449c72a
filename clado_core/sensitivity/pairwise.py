"""From measured losses to G."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from clado_core.sensitivity.plan import Unit


def sensitivities(losses: Mapping[Unit, float], n: int, /) -> npt.NDArray[np.float64]:
    """The sensitivity matrix of measured losses.

    With D = loss − reference loss: G[a, a] = 2·D_a and G[a, b] = D_ab − D_a − D_b; pairs that
    were not measured, such as two bit-widths of one layer, stay 0.

    Args:
        losses: Unit → mean loss; the reference ``()`` and every single candidate must be there.
        n: Number of candidates.

    Returns:
        G, shape (n, n), symmetric.

    Source: CLADO (Deng et al., DAC 2025), section 3.
    """
    reference = losses[()]
    single = np.array([losses[(a,)] - reference for a in range(n)])
    G = np.diag(2 * single)
    for unit, loss in losses.items():
        if len(unit) == 2:
            a, b = unit
            G[a, b] = G[b, a] = (loss - reference) - single[a] - single[b]
    return G

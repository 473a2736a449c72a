"""The Gram matrix of output changes: all interactions from single-candidate forwards."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor


def output_gram(outputs: Tensor, reference: Tensor, /) -> npt.NDArray[np.float64]:
    """Gauss-Newton interactions, summed over samples.

    G_ab = Σ δz_a' (diag p − p p') δz_b with δz_a = outputs_a − reference and p = softmax of the
    reference. Positive semidefinite; entries of two candidates of one layer are part of that.

    Args:
        outputs: Of each candidate alone, shape (n, samples, classes), float64.
        reference: Of the float network, shape (samples, classes), float64.

    Returns:
        Shape (n, n), symmetric.
    """
    p = reference.softmax(1)
    change = outputs - reference
    centred = (change - (change * p).sum(2, keepdim=True)) * p.sqrt()
    rows = centred.flatten(1)
    G: npt.NDArray[np.float64] = (rows @ rows.T).numpy()
    return (G + G.T) / 2

"""Training images to choose by: neither those that were measured on nor those of a repair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from clado_core.data.seen import image_digests, redrawn
from clado_core.data.sources import DataSource, Samples
from clado_core.errors import InputError
from clado_core.records.provenance import Provenance

FEWEST = 100
"""With fewer images one of them is more than a percentage point."""
SEED = 20260101
"""Fixed, so that a search that was stopped goes on with the same images."""


def validation_part(source: DataSource, about: Provenance, /, *used: Samples, n: int) -> Samples:
    """Draw images of the training part that nothing has seen but the network's training.

    A network is more accurate on them than on held-out ones, and has more to lose: what counts is
    how much less accurate another one is *on the same images*, which tends to be more than on new
    ones.

    Args:
        source: The data.
        about: Of the matrix: what it was measured on is left out, as far as that can be had again.
        used: Left out too: what repairs and candidates are made with.
        n: How many; all there are where they are fewer.

    Raises:
        InputError: There are fewer than ``FEWEST``.
    """
    seen = {digest for part in used for digest in image_digests(part.x)}
    if (drawn := redrawn(source, about)) is not None:
        seen |= set(image_digests(drawn.x))
    order = np.random.default_rng(SEED).permutation(source.indices("train"))
    fresh: list[Samples] = []
    for start in range(0, len(order), n):
        part = source.samples(order[start : start + n])
        mask = torch.tensor([digest not in seen for digest in image_digests(part.x)])
        if mask.any():
            fresh.append(replace(part, x=part.x[mask], y=part.y[mask]))
        if sum(map(len, fresh)) >= n:
            break
    if (found := sum(map(len, fresh))) < min(n, FEWEST):
        raise InputError(
            f"Only {found} training images of '{source.name}' were neither measured on nor are "
            f"repaired with, and {FEWEST} are the fewest to choose by: repair with fewer images, "
            "or name a part of the data to search on."
        )
    x, y = torch.cat([part.x for part in fresh]), torch.cat([part.y for part in fresh])
    return replace(fresh[0], x=x[:n], y=y[:n], split="train")

"""Whether images were measured on: those that choices were made by say too much of a choice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from torch import Tensor

from clado_core.data.sources import DataSource, Samples, load_data
from clado_core.errors import InputError
from clado_core.records.names import SPLITS, Split
from clado_core.records.provenance import Provenance


def measured_on(
    samples: Samples, about: Provenance, /, *, source: DataSource | None = None
) -> int | None:
    """How many samples are among the images that a matrix was measured on.

    Args:
        samples: Any.
        about: Of the matrix.
        source: Where the samples come from; where None, what their name says if that was measured.

    Returns:
        None where those images cannot be had again, so that nobody knows.
    """
    if about.data_sha256 is None:
        return None
    if about.data_sha256 == samples.digest:
        return len(samples)
    for each in _sources(samples, about, source):
        if (drawn := redrawn(each, about)) is not None:
            seen = set(image_digests(drawn.x))
            return sum(digest in seen for digest in image_digests(samples.x))
    return None


def redrawn(source: DataSource, about: Provenance, /) -> Samples | None:
    """The images that a matrix was measured on, drawn again; None where a source has others."""
    splits: tuple[Split, ...] = SPLITS if about.split is None else (about.split,)
    for split in splits:
        try:
            drawn = source.sensitivity_set(about.n_samples or 0, seed=about.seed or 0, split=split)
        except InputError:
            continue  # it has fewer images
        if about.data_sha256 in (None, drawn.digest):
            return drawn
    return None


def _sources(
    samples: Samples, about: Provenance, source: DataSource | None
) -> Iterator[DataSource]:
    if source is not None:
        yield source
    named = source is not None or samples.name == about.data
    if about.data is not None and named and (source is None or source.name != about.data):
        try:
            yield load_data(about.data)
        except InputError:
            return  # it has moved, or was in memory


def image_digests(x: Tensor, /) -> Iterator[bytes]:
    """A digest of each image, shape (n, C, H, W)."""
    for image in x.contiguous().numpy():
        yield hashlib.blake2b(image.tobytes(), digest_size=16).digest()

"""Compare what the float network says with the labels, before hours are spent on them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from clado_core.data.sources import Samples
from clado_core.records.label_check import LabelCheck, check_labels

logger = logging.getLogger(__name__)


def labels_checked(
    outputs: Sequence[Tensor], samples: Samples, /, *, loss: str
) -> LabelCheck | None:
    """Check the labels of a sensitivity set; what looks wrong is a warning.

    Args:
        outputs: Of the float network, batch by batch, shape (n, classes).
        samples: What it was run on, in the same order.
        loss: Of the measurement; "kl" can do without labels, which then are all 0.

    Returns:
        None where there are no labels.
    """
    labels = samples.y.numpy()
    if loss == "kl" and not labels.any():
        return None
    answers = np.concatenate([batch.argmax(1).cpu().numpy() for batch in outputs])
    found = check_labels(
        answers, labels, classes=outputs[0].shape[1], named=len(samples.class_names) or None
    )
    for sentence in found.warnings:
        logger.warning(sentence)
    return found

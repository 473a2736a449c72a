"""A drag step is quick; counted in processor time, so that a busy machine does not fail it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.benchmarks.dashboard import work_ms


@pytest.mark.parametrize("model", ["digits-resnet", "digits-vit"])
def test_work_of_a_drag_step(model: str) -> None:
    p50, p95 = np.percentile(work_ms(model, time.thread_time), [50, 95])
    assert p50 <= 25
    assert p95 <= 50

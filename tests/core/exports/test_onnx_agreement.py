"""What is a runtime's rounding, and what is a fault: no runtime is needed to tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clado_core.errors import InputError
from clado_core.exports.onnx_agreement import (
    BATCH_SIZES,
    FileRun,
    Outputs,
    Probe,
    Reference,
    nudged,
    random_inputs,
)
from clado_core.exports.onnx_check import checked_run
from clado_core.exports.onnx_runtimes import Runtime

EPSILON = float(np.finfo(np.float32).eps)


def _reference(
    scale: float = 1.0, offset: float = 0.0, sway: float = 0.0, epsilon: float = EPSILON
) -> Reference:
    rng = np.random.default_rng(3)
    probes = []
    for size in BATCH_SIZES:
        wanted = (offset + scale * rng.uniform(-1, 1, (size, 5))).astype(np.float32)
        wanted[0, :2] = offset - scale, offset + scale
        x = np.full((size, 1, 1, 1), size, np.float32)
        probes.append(Probe(x, wanted, wanted + np.float32(sway)))
    return Reference(tuple(probes), epsilon)


def _runtime(answer: dict[int, Outputs]) -> Runtime:
    return Runtime("stand-in", "1.0", lambda file: lambda x: answer[len(x)])


def _changed(reference: Reference, size: int, change: float) -> dict[int, Outputs]:
    """Outputs in which one value of one batch is off."""
    answer = {len(probe.x): probe.wanted.copy() for probe in reference.probes}
    answer[size][-1, -1] += np.float32(change)
    return answer


def _run(reference: Reference, answer: dict[int, Outputs]) -> FileRun | None:
    return checked_run(b"", reference, (_runtime(answer),))


@pytest.mark.parametrize("size", BATCH_SIZES)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_rounding_passes_and_more_does_not_in_any_batch(size: int, scale: float) -> None:
    reference = _reference(scale)
    run = _run(reference, _changed(reference, size, 1e-4 * scale))
    assert run is not None and run.largest_difference == pytest.approx(1e-4 * scale, rel=0.01)
    assert run.batch_sizes == BATCH_SIZES and run.tolerance == pytest.approx(2e-4 * scale)
    with pytest.raises(InputError, match=r"in stand-in 1\.0 are off by up to \d.* for a batch of "):
        _run(reference, _changed(reference, size, 3e-4 * scale))


@pytest.mark.parametrize("share", [0.5, 0.05, 0.01])
def test_off_by_half_and_a_wrong_branch_are_faults(share: float) -> None:
    """The kinds that exporters were found to make, whatever the network's outputs are."""
    for reference in (_reference(), _reference(offset=100.0)):
        wrong = {len(p.x): p.wanted * np.float32(1 - share) for p in reference.probes}
        with pytest.raises(InputError, match="off by up to"):
            _run(reference, wrong)


def test_outputs_far_from_zero_are_told_apart_by_their_spread() -> None:
    reference = _reference(1.0, offset=1000.0)
    assert reference.tolerance == pytest.approx(16 * EPSILON * 1001, rel=1e-6)
    with pytest.raises(InputError, match="off by up to"):
        _run(reference, _changed(reference, 1, 0.01))


def test_a_network_that_rounds_may_be_a_step_away_but_not_half_the_outputs() -> None:
    """A step is as large as what a nudge of the inputs moves; never more than 5 % of the spread."""
    assert _reference(sway=0.01).tolerance == pytest.approx(0.04, rel=1e-3)
    reference = _reference(sway=1.0)
    assert reference.tolerance == pytest.approx(0.1, rel=1e-3)
    assert _run(reference, _changed(reference, 3, 0.09)) is not None
    with pytest.raises(InputError, match="off by up to"):
        _run(reference, _changed(reference, 3, 0.11))


def test_a_coarser_type_rounds_more() -> None:
    half = _reference(epsilon=float(np.finfo(np.float16).eps))
    assert 0.01 < half.tolerance < 0.02
    assert _run(half, _changed(half, 1, 0.01)) is not None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_not_finite_or_of_another_shape_are_faults(bad: float) -> None:
    reference = _reference()
    with pytest.raises(InputError, match="of another shape, or not finite, for a batch of 3"):
        _run(reference, _changed(reference, 3, bad))
    turned = {size: answer.T for size, answer in _changed(reference, 1, 0.0).items()}
    with pytest.raises(InputError, match="of another shape"):
        _run(reference, turned)


def test_a_file_that_does_not_run_is_one_sentence_with_the_batch() -> None:
    answer = _changed(_reference(), 1, 0.0)
    del answer[3]
    with pytest.raises(InputError, match=r"^stand-in 1\.0 does not run the file for a batch of 3"):
        _run(_reference(), answer)


def test_another_runtime_is_asked_where_the_first_cannot() -> None:
    reference = _reference()
    answer = _changed(reference, 1, 0.0)

    def refuse(file: bytes) -> None:
        raise NotImplementedError("no such operation")

    first: Runtime = Runtime("first", "1", refuse)  # type: ignore[arg-type]
    run = checked_run(b"", reference, (first, _runtime(answer)))
    assert run is not None and run.runtime == "stand-in" and run.largest_difference == 0.0
    with pytest.raises(InputError, match="first 1 does not run the file: no such operation"):
        checked_run(b"", reference, (first,))
    assert checked_run(b"", reference, ()) is None


def test_a_fault_of_the_first_runtime_is_not_forgiven_by_the_second() -> None:
    reference = _reference()
    good, bad = _changed(reference, 1, 0.0), _changed(reference, 1, 0.5)
    with pytest.raises(InputError, match="off by up to"):
        checked_run(b"", reference, (_runtime(bad), _runtime(good)))


@given(change=st.floats(-1e3, 1e3, width=32), scale=st.floats(2**-10, 2**10, width=32))
def test_the_largest_difference_decides(change: float, scale: float) -> None:
    reference = _reference(scale)
    answer = _changed(reference, 1, change)
    probe = reference.probes[0]
    off = abs(float(answer[1][-1, -1]) - float(probe.wanted[-1, -1]))
    if off > reference.tolerance:
        with pytest.raises(InputError):
            _run(reference, answer)
    else:
        run = _run(reference, answer)
        assert run is not None and run.largest_difference == off


def test_the_batches_lie_on_both_sides_of_zero() -> None:
    one, three = random_inputs((3, 8, 8), np.float32).values()
    assert one.shape == (1, 3, 8, 8) and three.shape == (3, 3, 8, 8)
    assert one.min() >= 0 and one.mean() > 0.4 and three.mean() < -0.4
    again = random_inputs((3, 8, 8), np.float32)
    assert np.array_equal(again[1], one) and np.array_equal(again[3], three)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_nudge_changes_inputs_by_steps_of_their_type(kind: type) -> None:
    x = random_inputs((1, 8, 8), kind)[3]
    changed = nudged(x)
    assert changed.dtype == kind and np.mean(changed != x) > 0.9
    relative = np.abs(changed.astype(float) - x) / np.abs(x.astype(float))
    assert relative.max() < 3 * max(2.0**-18, float(np.finfo(kind).eps))


def test_a_run_is_told_and_read_back() -> None:
    run = FileRun("onnxruntime", "1.32.0", (1, 3), 4.8e-07, 12.34, 1e-3)
    assert FileRun.from_json(run.to_json()) == run
    assert run.sentence == (
        "Run in onnxruntime 1.32.0 with random batches of 1 and 3: its outputs are the quantized "
        "network's up to 4.8e-07 (outputs up to 12)."
    )

"""Measured matrices: the estimator's facts, what is left untouched, and resuming."""

import dataclasses
import itertools
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clado_core.errors import InputError, MeasurementError
from clado_core.evaluation.evaluate import evaluate
from clado_core.files.journal import MAGIC, OVERHEAD_BYTES, Journal
from clado_core.networks.load import state_digest
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.records.assignment import Assignment
from clado_core.records.scheme import QuantizationScheme
from clado_core.sensitivity import MeasurementSettings, measure
from clado_core.sensitivity.pairwise import sensitivities
from clado_core.sensitivity.plan import forward_count, pairwise_plan
from tests.core.small_networks import convolutional, quadratic, squared_error

SETTINGS = MeasurementSettings((2, 4), batch_size=7)
RECORD_BYTES = OVERHEAD_BYTES + 8
"""Of one loss."""


@pytest.mark.parametrize(("n_layers", "n_bits"), [(1, 1), (1, 3), (4, 2), (13, 3)])
def test_plan_has_every_unit_once(n_layers, n_bits):
    plan = pairwise_plan(n_layers, n_bits)
    assert len(plan) == len(set(plan)) == forward_count(n_layers, n_bits)
    assert plan[0] == () and all(
        a // n_bits < b // n_bits for a, b in plan[n_layers * n_bits + 1 :]
    )


def test_published_counts():
    assert forward_count(52, 3) == 12_091
    assert forward_count(72, 3) == 23_221


def test_worked_example():
    single = [1.00, 0.10, 0.80, 0.05, 0.90, 0.08]
    pairs = {
        (0, 1): [[1.10, 1.05], [0.95, 0.16]],
        (0, 2): [[2.60, 1.15], [1.05, 0.17]],
        (1, 2): [[1.90, 0.95], [0.97, 0.14]],
    }
    losses = {(): 0.5} | {(a,): 0.5 + d for a, d in enumerate(single)}
    for (i, j), block in pairs.items():
        for m, n in itertools.product(range(2), repeat=2):
            losses[2 * i + m, 2 * j + n] = 0.5 + block[m][n]
    G = sensitivities(losses, 6)
    assert G[0, 1] == 0 and G[0, 2] == pytest.approx(1.10 - 1.00 - 0.80)
    for choice, value in {
        (0, 0, 0): 5.80,
        (0, 0, 1): 2.64,
        (1, 0, 1): 2.18,
        (1, 1, 1): 0.48,
    }.items():
        rows = [2 * i + m for i, m in enumerate(choice)]
        assert G[np.ix_(rows, rows)].sum() == pytest.approx(value)


@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
def test_quadratic_loss_is_predicted_exactly(granularity):
    model, layers, samples = quadratic()
    scheme = QuantizationScheme(granularity)
    how = MeasurementSettings((2, 4), scheme, "squared", batch_size=10)
    matrix = measure(model, layers, samples, settings=how, loss_function=squared_error)

    def loss() -> float:
        with torch.no_grad():
            outputs = model(samples.x.double())
            return float(squared_error(outputs, samples.y, outputs)) / len(samples)

    base = loss()
    assert matrix.base_loss == pytest.approx(base, abs=1e-12)
    for bits in itertools.product((2, 4), repeat=4):
        with WeightSwap(model, layers, scheme) as swap, torch.no_grad():
            swap.apply(dict(enumerate(bits)))
            increase = loss() - base
        assert matrix.objective(bits) == pytest.approx(2 * increase, abs=1e-10)
    assert np.abs(matrix.G[~matrix.same_layer()]).max() > 1e-4, "layers must interact"


def test_the_network_is_left_as_it_was():
    model, layers, samples = convolutional()
    before = state_digest(model)
    matrix = measure(model, layers, samples, settings=SETTINGS)
    assert state_digest(model) == before == matrix.provenance.weights_sha256
    assert all(module.training for module in model.modules())
    again = measure(model, layers, samples, settings=SETTINGS)
    assert np.array_equal(matrix.G, again.G), "dropout and batch norm must be in eval mode"


def test_weights_return_even_when_measuring_fails():
    model, layers, samples = convolutional()
    before = state_digest(model)

    def stop(done: int, total: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(model, layers, samples, settings=SETTINGS, on_progress=stop)
    assert state_digest(model) == before


def test_label_free_loss_starts_at_zero_and_ignores_labels():
    model, layers, samples = convolutional()
    how = MeasurementSettings((2, 4), loss="kl")
    matrix = measure(model, layers, samples, settings=how)
    assert matrix.base_loss == 0 and (matrix.single_loss_increase > 0).all()
    other = type(samples)(samples.x, samples.y * 0, "other labels")
    assert np.array_equal(measure(model, layers, other, settings=how).G, matrix.G)


def test_a_loss_that_is_not_finite_names_layer_and_bits():
    model, layers, samples = convolutional()
    calls = itertools.count()

    def overflow(outputs, labels, reference):
        # The reference, four pairs with the first layer at 2 bits, then that layer alone.
        return torch.tensor(math.inf if next(calls) >= 5 else 0.0)

    with pytest.raises(MeasurementError, match="The loss is inf with '0' at 2 bits") as caught:
        measure(model, layers, samples, settings=SETTINGS, loss_function=overflow)
    assert (caught.value.layer, caught.value.bits) == ("0", 2)


def test_nan_weights_name_the_layer():
    model, layers, samples = convolutional()
    with torch.no_grad():
        model[3].weight[0] = math.nan
    with pytest.raises(MeasurementError, match="nothing quantized"):
        measure(model, layers, samples, settings=SETTINGS)


def test_labels_outside_the_classes_are_refused():
    model, layers, samples = convolutional()
    wrong = type(samples)(samples.x, samples.y + 5, "wrong")
    with pytest.raises(InputError, match="class 7, but the network knows classes 0 to 2"):
        measure(model, layers, wrong, settings=SETTINGS)


def test_layers_of_another_network_are_refused():
    model, _, samples = convolutional()
    _, layers, _ = quadratic()
    with pytest.raises(InputError, match=r"no parameter 'parts\.0\.weight'"):
        measure(model, layers, samples, settings=SETTINGS)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A finished journal and the matrix it belongs to."""
    model, layers, samples = convolutional()
    path = tmp_path_factory.mktemp("journal") / "whole.partial"
    matrix = measure(model, layers, samples, settings=SETTINGS, journal=path)
    return path.read_bytes(), matrix.G


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_journal_cut_or_damaged_anywhere_resumes_to_the_same_bits(
    data, unbroken, tmp_path_factory
):
    contents, G = unbroken
    cut = data.draw(st.integers(0, len(contents)))
    kept = bytearray(contents[:cut])
    if cut > len(MAGIC) and data.draw(st.booleans()):
        kept[data.draw(st.integers(len(MAGIC), cut - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("cut") / "some.partial"
    path.write_bytes(kept)
    model, layers, samples = convolutional()
    matrix = measure(model, layers, samples, settings=SETTINGS, journal=path)
    assert np.array_equal(matrix.G, G)
    assert path.read_bytes() == contents


def test_resuming_measures_only_what_is_missing(unbroken, tmp_path):
    contents, _ = unbroken
    path = tmp_path / "some.partial"
    path.write_bytes(contents[: -5 * RECORD_BYTES - 3])
    model, layers, samples = convolutional()
    seen = []
    measure(
        model,
        layers,
        samples,
        settings=SETTINGS,
        journal=path,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(k, 57) for k in range(51, 58)]


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("bit_widths", {"bit_widths": (2, 8)}),
        ("loss", {"loss": "kl"}),
        ("batch_size", {"batch_size": 20}),
        ("granularity", {"scheme": QuantizationScheme("per-tensor")}),
    ],
)
def test_a_journal_of_another_measurement_is_refused(unbroken, tmp_path, field, change):
    path = tmp_path / "some.partial"
    path.write_bytes(unbroken[0])
    model, layers, samples = convolutional()
    other = MeasurementSettings(**({"bit_widths": (2, 4), "batch_size": 7} | change))
    with pytest.raises(InputError, match=f"another '{field}'"):
        measure(model, layers, samples, settings=other, journal=path)
    assert path.read_bytes() == unbroken[0]


def test_a_journal_of_other_weights_is_refused(unbroken, tmp_path):
    path = tmp_path / "some.partial"
    path.write_bytes(unbroken[0])
    model, layers, samples = convolutional()
    with torch.no_grad():
        model[6].bias += 1
    there, now = (state_digest(net)[:30] for net in (convolutional()[0], model))
    with pytest.raises(InputError, match=f"'weights_sha256'.*{there}.* there, .*{now}.* now"):
        measure(model, layers, samples, settings=SETTINGS, journal=path)


def test_a_journal_of_another_split_is_refused_by_its_name(unbroken, tmp_path):
    """Not by that of the digest of its images, which are others too."""
    path = tmp_path / "some.partial"
    model, layers, samples = convolutional()
    train = dataclasses.replace(samples, split="train")
    measure(model, layers, train, settings=SETTINGS, journal=path)
    whole = dataclasses.replace(samples, x=samples.x + 1, split="all")
    with pytest.raises(InputError, match=r"another 'split' \(\"train\" there, \"all\" now\)"):
        measure(model, layers, whole, settings=SETTINGS, journal=path)
    with pytest.raises(InputError, match=r"another 'split' \(\"train\" there, null now\)"):
        measure(model, layers, samples, settings=SETTINGS, journal=path)
    moved = dataclasses.replace(train, x=samples.x + 1)
    with pytest.raises(InputError, match="another 'data_sha256'"):
        measure(model, layers, moved, settings=SETTINGS, journal=path)


def test_a_journal_of_another_loss_function_of_the_same_name_is_refused(tmp_path):
    def made(factor):
        def squared(outputs, labels, reference):
            return factor * squared_error(outputs, labels, reference)

        return squared

    model, layers, samples = convolutional()
    how = {"settings": SETTINGS, "journal": tmp_path / "some.partial"}
    first = measure(model, layers, samples, **how, loss_function=made(1))
    again = measure(model, layers, samples, **how, loss_function=made(1))
    assert np.array_equal(first.G, again.G)
    both = r"another 'loss_function' \(\"([\d.]+) for made-up .* there, \"([\d.]+) for .* now\)"
    with pytest.raises(InputError, match=both) as caught:
        measure(model, layers, samples, **how, loss_function=made(2))
    there, now = map(float, re.search(both, str(caught.value)).groups())
    assert now == pytest.approx(2 * there)
    with pytest.raises(InputError, match=r"another 'loss_function' \(\".* there, \"ce\" now\)"):
        measure(model, layers, samples, **how)


def test_a_file_that_is_no_journal_is_not_overwritten(tmp_path):
    path = tmp_path / "notes.partial"
    path.write_text("These are my own notes, and not a journal.")
    with pytest.raises(InputError, match="is not a file of ours"):
        Journal(path, {}, 3)
    assert "my own notes" in path.read_text()


def test_prediction_agrees_with_evaluation_of_single_layers():
    model, layers, samples = convolutional()
    matrix = measure(model, layers, samples, settings=MeasurementSettings((2, 8)))
    assignment = Assignment(layers, (2, 8, 8), matrix.scheme)
    result = evaluate(model, assignment, samples)
    assert result.float_loss == pytest.approx(matrix.base_loss, abs=1e-12)
    predicted = matrix.objective(assignment.bits) / 2
    assert result.loss - result.float_loss == pytest.approx(predicted, rel=0.1, abs=1e-3)

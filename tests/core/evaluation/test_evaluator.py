"""What the evaluator runs, remembers and tells apart, on a network of three layers."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from clado_core import Assignment, SensitivityMatrix
from clado_core.data.sources import Samples
from clado_core.errors import InputError
from clado_core.evaluation.evaluate import evaluate
from clado_core.evaluation.evaluator import Evaluator
from clado_core.networks.load import state_digest
from clado_core.networks.placement import default_batch_size
from clado_core.quantization.weights import fake_quantize
from clado_core.records.scheme import QuantizationScheme
from tests.core.small_networks import convolutional

BITS = (2, 4, 3)


@pytest.fixture
def network():
    """The network, its matrix, its 20 images, and the batches it was called with."""
    model, layers, samples = convolutional()
    calls = []
    model.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    return model, SensitivityMatrix("tiny", np.eye(9), layers, (2, 3, 4)), samples, calls


def asked(calls):
    """Batches of a first run: before them the first one was run twice, another, and the first
    again, and once more after, to see that the network repeats itself."""
    first, again, _, third, *batches, last = calls
    assert first == again == third == last
    return batches


def by_hand(model, samples, bits=None):
    """Which images are right and the mean loss, with weights replaced one by one."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.eval()
    with torch.no_grad():
        for index, b in zip((0, 3, 6), bits or (), strict=bits is not None):
            model[index].weight.copy_(fake_quantize(model[index].weight, b, QuantizationScheme()))
        outputs = model(samples.x).double()
    model.load_state_dict(before)
    loss = torch.nn.functional.cross_entropy(outputs, samples.y)
    return (outputs.argmax(1) == samples.y).tolist(), loss.item()


@pytest.mark.parametrize("bits", [BITS, None])
def test_outcomes_are_those_of_a_network_quantized_by_hand(network, bits):
    model, matrix, samples, calls = network
    before = state_digest(model)
    right, loss = by_hand(model, samples, bits)
    calls.clear()
    found = Evaluator(model, matrix, samples, batch_size=7).outcomes(bits)
    assert found.right.tolist() == right and found.top1 == np.mean(right)
    assert found.loss == pytest.approx(loss, rel=1e-6)
    assert asked(calls) == [7, 7, 6] and state_digest(model) == before
    if bits is not None:
        assignment = Assignment(matrix.layers, bits, matrix.scheme)
        same = evaluate(model, assignment, samples, batch_size=7, matrix=matrix)
        assert (same.top1, same.loss) == (found.top1, found.loss)


def test_batches_are_as_large_as_the_device_likes(network):
    model, matrix, samples, calls = network
    n = default_batch_size(torch.device("cpu")) + 1
    many = Samples(samples.x[:1].repeat(n, 1, 1, 1), samples.y[:1].repeat(n), "many")
    Evaluator(model, matrix, many).outcomes(BITS)
    assert asked(calls) == [n - 1, 1]


def test_nothing_is_run_twice_on_the_same_images(network):
    model, matrix, samples, calls = network
    evaluator = Evaluator(model, matrix, samples)
    assert not evaluator.is_known(BITS)
    first = evaluator.outcomes(BITS)
    assert evaluator.is_known(BITS) and evaluator.outcomes(BITS) is first
    assert len(asked(calls)) == 1
    calls.clear()
    other = evaluator.on(Samples(samples.x[5:], samples.y[5:], "others"))
    assert not other.is_known(BITS)
    assert other.outcomes(BITS).right.tolist() == first.right[5:].tolist()
    assert calls == [15], "whether the network repeats itself is found out once"
    again = other.on(samples)
    assert again.outcomes(BITS) is first and calls == [15], "what is known is shared"
    assert len(evaluator.on_first(3)) == 3 and len(evaluator.on_first(30)) == 20


def test_outcomes_are_read_back_from_a_file_with_damaged_lines(network, tmp_path):
    model, matrix, samples, calls = network
    cache = tmp_path / "outcomes"
    first = Evaluator(model, matrix, samples, cache=cache)
    kept = [first.outcomes(bits) for bits in (BITS, (4, 4, 4), None)]
    lines = [line for line in cache.read_text().splitlines() if line]
    assert len(lines) == 3
    wrong = ['{"key": "cut o', '{"key": 1}', '["a list"]', '{"key": "a", "n": null, "right": ""}']
    cache.write_text("\n".join([wrong[0], lines[0], *wrong[1:3], lines[1], wrong[3], lines[2]]))
    calls.clear()
    again = Evaluator(model, matrix, samples, cache=cache)
    for bits, outcomes in zip((BITS, (4, 4, 4), None), kept, strict=True):
        assert again.is_known(bits)
        assert again.outcomes(bits).right.tolist() == outcomes.right.tolist()
        assert again.outcomes(bits).loss == outcomes.loss
    assert calls == []
    again.outcomes((2, 2, 2))
    assert Evaluator(model, matrix, samples, cache=cache).is_known((2, 2, 2))


def test_a_line_after_one_that_was_cut_off_can_be_read(network, tmp_path):
    model, matrix, samples, _ = network
    cache = tmp_path / "outcomes"
    cache.write_text('{"key": "cut o')
    Evaluator(model, matrix, samples, cache=cache).outcomes(BITS)
    assert Evaluator(model, matrix, samples, cache=cache).is_known(BITS)
    assert "key" in json.loads(cache.read_text().splitlines()[-1])


def test_other_weights_quantizers_menus_and_ranges_are_told_apart(network, tmp_path):
    model, matrix, samples, _ = network
    cache = tmp_path / "outcomes"
    Evaluator(model, matrix, samples, cache=cache).outcomes(BITS)

    def known(matrix):
        return Evaluator(model, matrix, samples, cache=cache).is_known(BITS)

    assert known(matrix)
    assert known(dataclasses.replace(matrix, name="another name", G=2 * matrix.G))
    assert not known(dataclasses.replace(matrix, scheme=QuantizationScheme("per-tensor")))
    assert not known(dataclasses.replace(matrix, bit_widths=(2, 3, 5)))
    inputs = dataclasses.replace(
        matrix,
        scheme=QuantizationScheme(act_bits=8),
        input_ranges=np.tile([-3.0, 3.0], (3, 1, 1)),
    )
    assert not known(inputs)
    Evaluator(model, inputs, samples, cache=cache).outcomes(BITS)
    assert known(inputs)
    assert not known(dataclasses.replace(inputs, input_ranges=inputs.input_ranges / 2))
    with torch.no_grad():
        model[6].bias += 1
    assert not known(matrix)


def test_inputs_are_quantized_by_the_measured_ranges(network):
    model, matrix, samples, _ = network
    found = []
    for widest in (3.0, 0.3):
        inputs = dataclasses.replace(
            matrix,
            scheme=QuantizationScheme(act_bits=4),
            input_ranges=np.tile([-widest, widest], (3, 1, 1)),
        )
        found.append(Evaluator(model, inputs, samples).outcomes(BITS).loss)
    assert len({*found, Evaluator(model, matrix, samples).outcomes(BITS).loss}) == 3


def test_a_file_that_cannot_be_written_is_one_sentence(network, tmp_path):
    model, matrix, samples, _ = network
    evaluator = Evaluator(model, matrix, samples, cache=tmp_path / "absent" / "outcomes")
    with pytest.raises(InputError, match=r"Cannot write .*outcomes: No such file"):
        evaluator.outcomes(BITS)

"""Evaluation of assignments, its confidence interval, and files that hold assignments."""

import json

import pytest
import torch

from clado_core import Assignment, SensitivityMatrix
from clado_core.errors import InputError
from clado_core.evaluation.evaluate import evaluate
from clado_core.files.assignment_file import read_assignment
from clado_core.networks.load import state_digest
from clado_core.quantization.weights import fake_quantize
from clado_core.records.scheme import QuantizationScheme
from tests.core.small_networks import convolutional

NAMES = ("0", "3", "6")


def test_evaluation_is_that_of_a_network_quantized_by_hand():
    model, layers, samples = convolutional()
    scheme = QuantizationScheme()
    before = state_digest(model)
    result = evaluate(model, Assignment(layers, (2, 4, 3), scheme), samples, batch_size=6)
    assert state_digest(model) == before and model.training
    with torch.no_grad():
        for index, bits in ((0, 2), (3, 4), (6, 3)):
            model[index].weight.copy_(fake_quantize(model[index].weight, bits, scheme))
        outputs = model.eval()(samples.x)
    loss = torch.nn.functional.cross_entropy(outputs.double(), samples.y)
    assert result.loss == pytest.approx(loss.item(), rel=1e-5)
    assert result.top1 == (outputs.argmax(1) == samples.y).double().mean().item()
    assert result.n == 20 and result.ci95[0] <= result.top1 <= result.ci95[1]


@pytest.fixture(scope="module")
def matrix():
    _, layers, _ = convolutional()
    return SensitivityMatrix("tiny", torch.eye(6).double().numpy(), layers, (2, 4))


@pytest.mark.parametrize(
    "contents",
    [
        {"0": 2, "3": 4, "6": 2},
        {"assignment": {"6": 2, "3": 4, "0": 2}, "status": "optimal"},
        {
            "schema": "clado-mpq/1",
            "layers": [{"name": n, "bits": b} for n, b in zip(NAMES, (2, 4, 2), strict=True)],
        },
    ],
)
def test_assignments_are_read_in_every_form(tmp_path, matrix, contents):
    file = tmp_path / "chosen.json"
    file.write_text(json.dumps(contents))
    assert read_assignment(file, matrix).bits == (2, 4, 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[2, 4, 2]", "holds no assignment"),
        ('{"0": 2, "3": 4}', "no bit-width for 6"),
        ('{"0": 2, "3": 4, "6": 2, "7": 2}', "no layer named '7'"),
        ('{"0": 2, "3": 4, "6": 3}', "'6' cannot have 3 bits"),
        ('{"0": 2, "3": 4, "6": "2"}', "expected an integer"),
        ('{"schema": "clado-mpq/1", "layers": [1]}', "each of 'layers'"),
    ],
)
def test_bad_assignment_files_are_one_sentence(tmp_path, matrix, text, sentence):
    file = tmp_path / "chosen.json"
    file.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_assignment(file, matrix)


def test_missing_assignment_file(tmp_path, matrix):
    with pytest.raises(InputError, match="Cannot read the assignment"):
        read_assignment(tmp_path / "absent.json", matrix)

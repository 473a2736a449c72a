"""An ONNX file computes what the quantized network computes, or there is no file.

ONNX's reference evaluator stands for ONNX Runtime here, so that neither it nor qonnx is needed;
with both, ``make test-export`` runs the same kinds.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clado_core import exports
from clado_core.errors import InputError
from clado_core.exports import onnx_file, onnx_qdq, qonnx
from clado_core.exports.check import check_file
from clado_core.exports.listening import listening
from clado_core.exports.onnx_digest import RUN, read_checked
from clado_core.exports.onnx_exporters import by_torch_export, by_tracing
from clado_core.exports.onnx_runtimes import QONNX_DOMAIN, Runtime, qonnx_runtimes
from tests.core.exports.odd_networks import (
    IN_PLACE_ON_VIEWS,
    Clashing,
    LeNet,
    Norm,
    Padded,
    Small,
    Spread,
    Twins,
    built,
    job_of,
    largest_difference,
)

onnx = pytest.importorskip("onnx")

QDQ, QONNX = exports.FORMATS["onnx"], exports.FORMATS["qonnx"]
OFF = r"the file's outputs in .* are off by up to \d\.\d+, with outputs up to \d"


@pytest.fixture(autouse=True)
def runtimes(monkeypatch: pytest.MonkeyPatch) -> tuple[Runtime, ...]:
    """What runs the files of both formats: never ONNX Runtime, never qonnx."""
    monkeypatch.setitem(sys.modules, "qonnx.core.onnx_exec", None)
    found = qonnx_runtimes()
    assert [runtime.name for runtime in found] == ["onnx's reference evaluator"]
    monkeypatch.setattr(onnx_qdq, "onnx_runtimes", lambda: found)
    return found


@pytest.fixture
def newer() -> None:
    """For what only the newer exporter writes right; it takes seven times as long."""
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: requirements-onnx.txt")


@pytest.fixture(autouse=True)
def only_older(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where onnxscript is not installed, unless the newer exporter is asked for."""
    if "newer" not in request.fixturenames:
        monkeypatch.setitem(sys.modules, "onnxscript", None)


def differs(job: exports.ExportJob, file: bytes) -> float:
    """A file's difference from the network, over batches that were not checked before."""
    (runtime,) = qonnx_runtimes()
    return largest_difference(job, runtime.open(file))


def notes(job: exports.ExportJob, file: bytes, format: exports.Format = QDQ) -> tuple[str, ...]:
    """What the receipt says of the file."""
    assert format.receipt is not None
    return format.receipt(job, file).notes


@pytest.mark.usefixtures("newer")
@pytest.mark.parametrize("kind", IN_PLACE_ON_VIEWS)
def test_changes_in_place_on_views_are_written_right(kind: str) -> None:
    job = job_of(built(lambda: Small(IN_PLACE_ON_VIEWS[kind])))
    assert differs(job, QDQ.contents(job)) < 1e-5


@pytest.mark.parametrize("kind", [kind for kind in IN_PLACE_ON_VIEWS if kind != "assigned"])
@pytest.mark.parametrize("format", [QDQ, QONNX], ids=["onnx", "qonnx"])
def test_a_file_that_dropped_them_is_refused_by_its_difference_and_not_there(
    kind: str, format: exports.Format, tmp_path: Path
) -> None:
    job = job_of(built(lambda: Small(IN_PLACE_ON_VIEWS[kind])))
    path = tmp_path / "x.onnx"
    with pytest.raises(InputError, match=rf"^This network cannot be written as ONNX: .*{OFF}"):
        exports.write(job.configuration, format, path, network=job.network)
    assert not list(tmp_path.iterdir())


class _Branching(Small):
    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        return out * 2 if x.mean() > 5 else out


class _Scaled(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * x.max().item()


def test_a_branch_on_values_is_refused_even_where_no_input_takes_it() -> None:
    with pytest.raises(InputError, match=r"at test_onnx_file\.py:\d+ it reads a value that"):
        QDQ.contents(job_of(built(_Branching)))


@pytest.mark.usefixtures("newer")
def test_a_value_that_a_graph_can_hold_is_no_branch() -> None:
    job = job_of(built(_Scaled))
    assert differs(job, QDQ.contents(job)) < 1e-5


class _Flagged(Small):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ready", torch.tensor(True))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.ready else super().forward(x) * 2


def test_a_branch_on_a_buffer_is_a_constant() -> None:
    job = job_of(built(_Flagged))
    file = QDQ.contents(job)
    assert differs(job, file) < 1e-5
    assert any(note.startswith("Written by PyTorch's older exporter") for note in notes(job, file))
    assert any("exporter warns: Converting a tensor to a Python" in n for n in notes(job, file))


class _Stacked(Small):
    def forward(self, x: Tensor) -> Tensor:
        rows = [x[i] / (x[i].norm() + 1) for i in range(int(x.shape[0]))]
        return super().forward(torch.stack(rows))


class _Larger(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (2 if x.shape[0] > 8 else 1)


class _Single(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (2 if x.shape[0] == 1 else 1)


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (_Stacked, "depends on the number of samples in a batch"),
        (_Larger, "depends on the number of samples in a batch"),
        (_Single, f"{OFF}.*for a batch of 1"),
    ],
)
def test_a_batch_size_that_became_a_constant_is_refused(
    network: Callable[[], nn.Module], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        QDQ.contents(job_of(built(network)))


def test_a_batch_size_in_an_older_graph_does_not_run() -> None:
    with pytest.raises(InputError, match=r"does not run the file for a batch of 1|depends on the"):
        QDQ.contents(job_of(built(_Stacked)))


def test_a_network_of_float16_is_a_file_of_float16() -> None:
    job = job_of(built(lambda: Small().half()))
    file = QDQ.contents(job)
    graph = read_checked(file).graph
    kinds = [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)]
    assert kinds == [onnx.TensorProto.FLOAT16] * 2
    scales = [tensor for tensor in graph.initializer if tensor.name.endswith("_scale")]
    assert {tensor.data_type for tensor in scales} == {onnx.TensorProto.FLOAT}
    assert differs(job, file) < 4e-3


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_a_network_of_another_type_becomes_float32_and_says_so(kind: torch.dtype) -> None:
    job = job_of(built(lambda: Small().to(kind)))
    file = QDQ.contents(job)
    graph = read_checked(file).graph
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert any(
        str(kind).removeprefix("torch.") in note and "the file is float32" in note
        for note in notes(job, file)
    )
    assert next(job.require_network().module.parameters()).dtype == kind
    wide = job_of(built(lambda: Small().to(kind).float()))
    assert differs(wide, file) < (0.02 if kind == torch.bfloat16 else 1e-5)


@pytest.mark.usefixtures("newer")
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "dilation": 2},
        {"kernel_size": 2, "dilation": 3},
        {"kernel_size": (3, 4), "dilation": (2, 1)},
        {"kernel_size": 4, "padding_mode": "reflect"},
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_padding_same_is_written_as_it_is(options: dict[str, Any]) -> None:
    job = job_of(built(lambda: Padded(**options)))
    file = QDQ.contents(job)
    assert differs(job, file) < 1e-5
    attributes = [a for node in read_checked(file).graph.node for a in node.attribute]
    assert not any(a.s.startswith(b"SAME") for a in attributes if a.name == "auto_pad")


def require_separate(network: Callable[[], nn.Module], format: exports.Format) -> None:
    """Exported right, and every initializer has a name of its own."""
    job = job_of(built(network))
    file = format.contents(job)
    assert differs(job, file) < 1e-5
    graph = read_checked(file).graph
    names = [tensor.name for tensor in graph.initializer]
    assert len(set(names)) == len(names)
    assert (graph.input[0].name, graph.output[0].name) == ("input", "output")


@pytest.mark.parametrize("format", [QDQ, QONNX], ids=["onnx", "qonnx"])
@pytest.mark.parametrize("network", [Twins, Clashing])
def test_equal_weights_and_names_in_use_are_kept_apart(
    network: Callable[[], nn.Module], format: exports.Format
) -> None:
    require_separate(network, format)


@pytest.mark.usefixtures("newer")
@pytest.mark.parametrize("network", [Twins, Clashing])
def test_the_newer_exporter_keeps_them_apart_too(network: Callable[[], nn.Module]) -> None:
    require_separate(network, QDQ)


def require_names_stay(make: Callable[[], nn.Module]) -> None:
    """Exported right without wrappers, which the caller's network keeps."""
    module = built(make)
    job = job_of(module)
    file = QDQ.contents(job)
    assert differs(job, file) < 1e-5
    found = {tensor.name for tensor in read_checked(file).graph.initializer}
    layers = job.configuration.matrix.layers.layers
    assert {f"{layer.parameter}_scale" for layer in layers} <= found
    assert any(isinstance(part, nn.DataParallel) for part in module.modules())


@pytest.mark.parametrize(
    "make", [Spread, lambda: nn.DataParallel(Small()), lambda: nn.DataParallel(Spread())]
)
def test_wrappers_are_left_out_and_names_stay(make: Callable[[], nn.Module]) -> None:
    require_names_stay(make)


@pytest.mark.usefixtures("newer")
def test_the_newer_exporter_leaves_wrappers_out_too() -> None:
    require_names_stay(lambda: nn.DataParallel(Spread()))


@pytest.mark.usefixtures("newer")
def test_local_response_normalization_passes_the_checker() -> None:
    job = job_of(built(Norm))
    assert differs(job, QDQ.contents(job)) < 1e-5


def test_a_view_after_a_convolution_is_written_whatever_memory_the_network_has() -> None:
    job = job_of(built(LeNet))
    module = job.require_network().module
    module.to(memory_format=torch.channels_last)
    file = QDQ.contents(job)
    assert module.conv.weight.is_contiguous(memory_format=torch.channels_last)
    module.to(memory_format=torch.contiguous_format)
    assert differs(job, file) < 1e-5


def test_the_network_is_afterwards_as_it_was() -> None:
    job = job_of(built(lambda: nn.Sequential(nn.BatchNorm2d(2), Small())))
    job.require_network().module.train()
    module = job.require_network().module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    places = [parameter.data_ptr() for parameter in module.parameters()]
    QDQ.contents(job)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert places == [parameter.data_ptr() for parameter in module.parameters()]
    assert module.training


class _Noisy(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x, 0.5, training=True))


class _Counting(Small):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("runs", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return super().forward(x) * self.runs


@pytest.mark.parametrize("network", [_Noisy, _Counting])
def test_a_network_that_does_not_repeat_itself_is_refused(
    network: Callable[[], nn.Module],
) -> None:
    job = job_of(built(network))
    before = {n: v.clone() for n, v in job.require_network().module.state_dict().items()}
    with pytest.raises(InputError, match="gives other outputs when it is run again"):
        QDQ.contents(job)
    after = job.require_network().module.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in after.items())


def test_a_network_without_finite_outputs_is_refused() -> None:
    job = job_of(built(lambda: Small(lambda x: (x - 5).log())))
    with pytest.raises(InputError, match="NaN or infinite outputs for 1 random inputs"):
        QDQ.contents(job)


class _Logarithm(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x + 0.01).log())


def test_a_network_of_positive_inputs_is_given_such() -> None:
    job = job_of(built(_Logarithm))
    assert "quantized network's up to" in notes(job, QDQ.contents(job))[0]


def test_batches_that_the_network_itself_does_not_run_are_one_sentence() -> None:
    job = job_of(built(lambda: Small(lambda x: x.view(2, -1, 8, 8))))
    with pytest.raises(InputError, match=r"^The network cannot run inputs of shape \(1, 2, 8, 8\)"):
        QDQ.contents(job)


def test_what_was_run_is_told_in_the_file_and_in_the_receipt() -> None:
    job = job_of(built(Small))
    for format in (QDQ, QONNX):
        file = format.contents(job)
        assert format.receipt is not None
        receipt = format.receipt(job, file)
        assert receipt.run is not None and receipt.run.sentence == receipt.notes[0]
        assert (receipt.run.runtime, receipt.run.version) == (
            "onnx's reference evaluator",
            onnx.__version__,
        )
        assert receipt.run.batch_sizes == (1, 3)
        assert 0 < receipt.run.largest_difference < receipt.run.tolerance < 0.01
        assert receipt.file_bytes == len(file)
        facts = {entry.key: entry.value for entry in read_checked(file).metadata_props}
        told = json.loads(facts[RUN])
        assert told["run"] == receipt.to_json()["run"] == receipt.run.to_json()
        assert told["notes"] == receipt.to_json()["notes"]


def test_where_nothing_runs_it_the_file_says_that_it_was_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(onnx_qdq, "onnx_runtimes", lambda: ())
    job = job_of(built(Small))
    path = tmp_path / "x.onnx"
    receipt = exports.write(job.configuration, QDQ, path, network=job.network)
    assert receipt is not None and receipt.run is None
    assert receipt.notes[0] == "Not run here: install onnxruntime to check it."
    assert receipt.to_json()["run"] is None
    assert "quantized network" not in " ".join(receipt.notes)
    check_file(path, QDQ, job.configuration)


def _runtime(open_file: Callable[[bytes], Any]) -> Runtime:
    return Runtime("stand-in", "1.0", open_file)


def _half(open_file: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def opened(file: bytes) -> Callable[[np.ndarray], np.ndarray]:
        run = open_file(file)
        return lambda x: run(x) * np.float32(0.5)

    return opened


def _broken(file: bytes) -> Any:
    raise KeyError("Conv\nmany lines")


def test_a_runtime_decides(
    runtimes: tuple[Runtime, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = job_of(built(Small))
    for open_file, why in (
        (_half(runtimes[0].open), OFF),
        (_broken, r"stand-in 1\.0 does not run the file: 'Conv\\nmany lines'"),
    ):
        runtime = _runtime(open_file)
        monkeypatch.setattr(onnx_qdq, "onnx_runtimes", lambda found=runtime: (found,))
        with pytest.raises(InputError, match=rf"^This network cannot be written as ONNX: .*{why}"):
            exports.write(job.configuration, QDQ, tmp_path / "x.onnx", network=job.network)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error", [ValueError("one\ntwo"), KeyError("x"), AssertionError(), RecursionError("deep")]
)
def test_a_failure_of_any_kind_is_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        print("a whole graph")
        print("a whole graph", file=sys.stderr)
        raise RuntimeError("around it") from error

    monkeypatch.setattr(onnx_file, "EXPORTERS", (fail, fail))
    with pytest.raises(InputError, match=r"^This network cannot be written as ONNX: [^\n]+\.$"):
        QDQ.contents(job_of(built(Small)))
    assert capfd.readouterr() == ("", "")


def test_what_the_checker_refuses_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise onnx.checker.ValidationError("Unrecognized attribute: size\n\n==> Context: Bad node")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(InputError, match=r": Unrecognized attribute: size\.$"):
        QDQ.contents(job_of(built(Small)))


def test_the_older_exporter_is_asked_where_the_newer_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise NotImplementedError("no such operation")

    monkeypatch.setattr(onnx_file, "EXPORTERS", (fail, by_tracing))
    job = job_of(built(Small))
    file = QDQ.contents(job)
    assert differs(job, file) < 1e-5
    assert notes(job, file)[1:] == (
        "Written by PyTorch's older exporter, as the newer one failed: no such operation.",
    )


@pytest.mark.usefixtures("newer")
def test_a_wrong_file_of_the_newer_exporter_is_caught_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(module: nn.Module, example: Tensor, kept: tuple[str, ...]) -> Any:
        module = built(lambda: Small(lambda x: x * 0.5))
        return by_torch_export(module, example, kept)

    job = job_of(built(Small))
    monkeypatch.setattr(onnx_file, "EXPORTERS", (other, by_tracing))
    assert any(f"failed: {part}" in n for n in notes(job, QDQ.contents(job)) for part in ["the f"])
    monkeypatch.setattr(onnx_file, "EXPORTERS", (other, other))
    with pytest.raises(InputError, match=OFF):
        QDQ.contents(job)


def test_exporters_warnings_are_told_once_and_deprecations_are_not() -> None:
    with listening() as heard:
        for _ in range(2):
            warnings.warn("A branch is lost. See the manual.", UserWarning, stacklevel=1)
        warnings.warn("call it otherwise", DeprecationWarning, stacklevel=1)
        for i in range(6):
            warnings.warn(f"number {i}\nand more", UserWarning, stacklevel=1)
    assert heard[0] == "PyTorch's exporter warns: A branch is lost."
    assert heard[1] == "PyTorch's exporter warns: number 0."
    assert len(heard) == 6 and heard[-1] == "It warns of 2 more."


def test_qonnx_states_the_bits_and_its_domain() -> None:
    job = job_of(built(Small))
    model = read_checked(QONNX.contents(job))
    assert {entry.domain: entry.version for entry in model.opset_import}[QONNX_DOMAIN] == 1
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    quantizers = [node for node in model.graph.node if node.op_type == "IntQuant"]
    bits = {n.name: int(onnx.numpy_helper.to_array(values[n.input[3]])) for n in quantizers}
    assert bits == job.configuration.assignment.by_layer()
    assert set(qonnx.SUFFIXES) == {
        name.removeprefix(quantizers[0].output[0]) for name in quantizers[0].input
    }

"""Write a network as ONNX, run the file, and let it out only where it computes the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clado_core.errors import InputError
from clado_core.exports.job import ExportJob
from clado_core.exports.listening import listening
from clado_core.exports.onnx_agreement import Reference
from clado_core.exports.onnx_check import checked_run, make_reference
from clado_core.exports.onnx_digest import stamped
from clado_core.exports.onnx_exporters import EXPORTERS, Exporter, NoGraphError
from clado_core.exports.onnx_graph import made_ready
from clado_core.exports.onnx_network import exportable, first_line
from clado_core.exports.onnx_runtimes import Runtime
from clado_core.exports.onnx_weights import WeightForm, insert_weights, names_given
from clado_core.exports.optional import require

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

OLDER = "Written by PyTorch's older exporter, as the newer one failed: {why}."


@dataclass(frozen=True, slots=True)
class OnnxTarget:
    """How an ONNX file holds weights, and who runs it.

    Args:
        form: What stands for a weight.
        opset: The smallest that this needs.
        runtimes: Programs that run such files and are installed here, the preferred one first.
        package: What to install to run it, where there is none.
    """

    form: WeightForm
    opset: int
    runtimes: tuple[Runtime, ...]
    package: str


def onnx_file(job: ExportJob, target: OnnxTarget, /) -> bytes:
    """The checked file, with its configuration, its run and what was noted in its metadata.

    Raises:
        InputError: No exporter writes a file that computes what the quantized network computes.
    """
    require("onnx", "onnx", "The ONNX export")
    network = job.require_network()
    if network.input_shape is None:
        raise InputError(
            "An ONNX file needs the shape of one input: give input_shape=(channels, height, width)."
        )
    failures: list[str] = []
    with exportable(network) as (module, notes):
        reference = make_reference(module, network.input_shape)
        for exporter in EXPORTERS:
            try:
                with listening() as warned:
                    model = _quantized(exporter, module, job, target, reference)
                with listening():
                    run = checked_run(model.SerializeToString(), reference, target.runtimes)
            except NoGraphError:
                raise
            except Exception as problem:  # exporters raise whatever they like
                failures.append(first_line(problem))
                continue
            ran = run.sentence if run else f"Not run here: install {target.package} to check it."
            other = [OLDER.format(why=why) for why in failures]
            return stamped(model, job, run, (ran, *other, *notes, *warned))
    why = "; and by PyTorch's older exporter: ".join(dict.fromkeys(failures))
    raise InputError(f"This network cannot be written as ONNX: {why}.")


def _quantized(
    exporter: Exporter, module: nn.Module, job: ExportJob, target: OnnxTarget, reference: Reference
) -> ModelProto:
    import torch
    from onnx import checker

    from clado_core.networks.discovery import attention_fast_path_off

    weights = job.require_network().weights
    kept = tuple(dict.fromkeys(weight.layer.parameter for weight in weights.values()))
    own = [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
    # Two samples: one would be taken for a constant.
    example = torch.from_numpy(reference.probes[-1].x[:2].copy())
    with attention_fast_path_off():
        model = exporter(module, example, kept)
    reserved = names_given(weights.values(), target.form)
    model = made_ready(model, target.opset, own=own, reserved=reserved)
    insert_weights(model, weights, target.form)
    checker.check_model(model)
    return model

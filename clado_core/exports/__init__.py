"""Write a chosen configuration for use elsewhere; one target per module.

Each target's module has a ``FORMAT``: how its file is rendered, and what becomes of each layer in
it. Libraries that only a target needs are imported when it is used.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from clado_core.errors import InputError
from clado_core.exports.capability import Capability as Capability
from clado_core.exports.configuration import Configuration as Configuration
from clado_core.exports.format import Format as Format
from clado_core.exports.job import ExportJob as ExportJob
from clado_core.exports.network import QuantizedNetwork as QuantizedNetwork
from clado_core.exports.network import load_network as load_network
from clado_core.exports.packed_load import load_packed as load_packed
from clado_core.exports.packed_load import read_packed as read_packed
from clado_core.exports.receipt import Receipt as Receipt
from clado_core.files.atomic import write_atomically

_TARGETS = (
    "as_json",
    "as_yaml",
    "as_csv",
    "packed",
    "onnx_qdq",
    "qonnx",
    "torchao",
    "modelopt",
    "coreml",
    "aimet",
    "compressed_tensors",
    "litert",
    "model_explorer",
    "name_map",
)
"""Modules of this package, in the order in which the targets are listed."""


def _formats() -> dict[str, Format]:
    modules = (importlib.import_module(f"{__name__}.{target}") for target in _TARGETS)
    found: list[Format] = [module.FORMAT for module in modules]
    return {format.name: format for format in found}


FORMATS = _formats()


def find_format(name: str, /) -> Format:
    """The target of that name; raises InputError that lists the targets."""
    try:
        return FORMATS[name]
    except KeyError:
        raise InputError(
            f"There is no export format '{name}'; choose one of {', '.join(FORMATS)}."
        ) from None


def file_name(configuration: Configuration, format: Format, /) -> str:
    """``{model}_{average bits}b_{first 8 of the artifact's digest}`` and the format's suffix."""
    model = "".join(c if c.isalnum() or c in "-_" else "-" for c in configuration.matrix.name)
    digest = f"_{configuration.artifact_sha256[:8]}" if configuration.artifact_sha256 else ""
    return f"{model}_{configuration.assignment.avg_bits:.2f}b{digest}{format.suffix}"


def make_job(
    configuration: Configuration,
    format: Format,
    /,
    *,
    network: QuantizedNetwork | None = None,
    upcast: bool = False,
) -> ExportJob:
    """Bring together what a target needs; its network is loaded where none is given."""
    if format.needs_network and network is None:
        network = load_network(configuration)
    return ExportJob(configuration, network, upcast)


def write(
    configuration: Configuration,
    format: Format,
    path: str | Path,
    /,
    *,
    network: QuantizedNetwork | None = None,
    upcast: bool = False,
) -> Receipt | None:
    """Render and write atomically; an interrupted export leaves no file under the final name.

    Args:
        configuration: The choice.
        format: One of ``FORMATS``.
        path: The file.
        network: For targets that need the weights; loaded from what was measured where None.
        upcast: Whether layers that the target has no form for may take more bits.

    Returns:
        What each layer takes in the file, for targets that hold weights.

    Raises:
        InputError: The target has no form for a layer, or a library is missing.
        ArtifactError: The file cannot be written, or the network is not the measured one.
    """
    job = make_job(configuration, format, network=network, upcast=upcast)
    contents = format.contents(job)
    write_atomically(path, contents)
    return format.receipt(job, contents) if format.receipt else None

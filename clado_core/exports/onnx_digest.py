"""An ONNX model with its configuration, its run and a digest among its metadata."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from clado_core.errors import InputError
from clado_core.exports.job import ExportJob
from clado_core.exports.onnx_agreement import FileRun
from clado_core.exports.packed import configuration_text

if TYPE_CHECKING:
    from onnx import ModelProto

CONFIGURATION, RUN, DIGEST = "clado", "clado.run", "clado.sha256"


def stamped(
    model: ModelProto, job: ExportJob, run: FileRun | None, notes: tuple[str, ...], /
) -> bytes:
    """Add the configuration, how the file was run and a digest of all the rest, and serialize.

    Args:
        model: Checked; it is changed.
        job: Whose configuration.
        run: None where nothing here runs it.
        notes: Sentences on this file.
    """
    from onnx import helper

    model.producer_name, model.producer_version = "clado-explorer", ""
    ran = {"run": run.to_json() if run else None, "notes": list(notes)}
    facts = {CONFIGURATION: json.dumps(json.loads(configuration_text(job))), RUN: json.dumps(ran)}
    helper.set_model_props(model, facts)
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    helper.set_model_props(model, {**facts, DIGEST: digest})
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def run_told(model: ModelProto, /) -> tuple[FileRun | None, tuple[str, ...]]:
    """How a file was run when it was written, and the notes on it."""
    facts = {entry.key: entry.value for entry in model.metadata_props}
    told = json.loads(facts[RUN])
    run = FileRun.from_json(told["run"]) if told["run"] else None
    return run, tuple(told["notes"])


def read_checked(file: bytes, /) -> ModelProto:
    """Parse an exported model and check its digest; raises InputError where a byte was changed."""
    from onnx import helper, load_from_string

    try:
        model: ModelProto = load_from_string(file)
    except Exception as problem:  # protobuf's own error type differs between its versions
        raise InputError(f"This is no complete ONNX file ({type(problem).__name__}).") from None
    facts = {entry.key: entry.value for entry in model.metadata_props}
    digest = facts.pop(DIGEST, "")
    helper.set_model_props(model, facts)
    plain = model.SerializeToString(deterministic=True)
    helper.set_model_props(model, {**facts, DIGEST: digest})
    if hashlib.sha256(plain).hexdigest() != digest or (
        model.SerializeToString(deterministic=True) != file
    ):
        raise InputError("The digest does not match: the ONNX file was changed; export it again.")
    return model

"""An ONNX model with its configuration and a digest among its metadata."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from clado_core.errors import InputError
from clado_core.exports.job import ExportJob
from clado_core.exports.packed import configuration_text

if TYPE_CHECKING:
    from onnx import ModelProto

CONFIGURATION, DIGEST = "clado", "clado.sha256"


def stamped(model: ModelProto, job: ExportJob, /) -> bytes:
    """Add the configuration and a digest of all the rest, check the model, and serialize it."""
    from onnx import checker, helper

    model.producer_name, model.producer_version = "clado-explorer", ""
    facts = json.loads(configuration_text(job))
    helper.set_model_props(model, {CONFIGURATION: json.dumps(facts)})
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    helper.set_model_props(model, {CONFIGURATION: json.dumps(facts), DIGEST: digest})
    checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


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

"""The neutral configuration as YAML: the same tree as the JSON file."""

from __future__ import annotations

from clado_core.exports.as_json import document
from clado_core.exports.capability import Capability
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob
from clado_core.exports.optional import require


def render(job: ExportJob, report: Capability, /) -> bytes:
    """Keys in the order of the JSON file."""
    yaml = require("yaml", "pyyaml", "The YAML export")
    text: str = yaml.safe_dump(document(job.configuration), sort_keys=False, allow_unicode=True)
    return text.encode()


FORMAT = Format(
    name="yaml",
    suffix=".yaml",
    mime="application/yaml",
    keeps="The same tree as json, as YAML.",
    render=render,
    writes_with=("pyyaml",),
    checked_with=("pyyaml",),
)

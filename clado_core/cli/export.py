"""Write a chosen configuration in a format that other tools read.

Example:
  python -m clado_core solve assets/digits-resnet.clado --avg-bits 4 --json > chosen.json
  python -m clado_core export assets/digits-resnet.clado --assignment chosen.json --format list
  python -m clado_core export assets/digits-resnet.clado --assignment chosen.json \\
      --format onnx --report
  python -m clado_core export assets/digits-resnet.clado --assignment chosen.json \\
      --format onnx --out chosen.onnx
"""

from __future__ import annotations

import argparse
from typing import Any

from clado_core.cli.measurement_options import add_moved_network
from clado_core.errors import InputError
from clado_core.exports import (
    FORMATS,
    Capability,
    ExportJob,
    find_format,
    load_network,
)
from clado_core.exports.capability import Handling
from clado_core.exports.check import check_file
from clado_core.exports.choice_file import read_configuration
from clado_core.exports.format import WITHOUT_WEIGHTS
from clado_core.files.atomic import write_atomically


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add("artifact", metavar="ARTIFACT", nargs="?", help="a .clado file")
    add("--assignment", metavar="FILE", help="JSON: what solve --json printed")
    add("--repaired", metavar="FILE", help="what repair wrote of this choice, to be shipped")
    add("--format", required=True, metavar="F", help=f"{', '.join(FORMATS)}, or 'list'")
    add("--out", metavar="PATH", help="file to write")
    add(
        "--report",
        action="store_true",
        help="only say what the target keeps, widens or refuses of this choice; write nothing",
    )
    add(
        "--upcast",
        action="store_true",
        help="give layers that the target has no form for more bits there, or float32",
    )
    add(
        "--check",
        metavar="FILE",
        help="read an exported json, safetensors, onnx or qonnx file back: was a byte changed, "
        "does it hold this choice; write nothing",
    )
    add_moved_network(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write one file, check one, report on one format, or list them all."""
    if arguments.format == "list":
        return {"formats": _listing(arguments)}
    format = find_format(arguments.format)
    needed = ["artifact", "assignment"]
    needed += [] if arguments.report or arguments.check else ["out"]
    if not all(getattr(arguments, option) for option in needed):
        raise InputError(
            "An export needs an artifact, --assignment FILE and --out PATH "
            "(--report and --check need no --out, and --format list none of them)."
        )
    configuration = read_configuration(arguments.artifact, arguments.assignment)
    if arguments.check:
        check_file(arguments.check, format, configuration)
        return {"checked": arguments.check, "layers": configuration.matrix.n_layers}
    job = ExportJob(configuration, upcast=arguments.upcast)
    report = format.capability(job).to_json() | {"verified": format.to_json()["verified"]}
    if arguments.report:
        return {"report": report}
    if format.needs_network:
        network = load_network(
            configuration,
            model=arguments.model,
            weights=arguments.weights,
            repaired=arguments.repaired,
        )
        job = ExportJob(configuration, network, arguments.upcast)
    contents = format.contents(job)
    write_atomically(arguments.out, contents)
    return {
        "written": arguments.out,
        "format": format.name,
        "bytes": len(contents),
        "size_bytes_promised": configuration.assignment.size_bytes,
        "report": report,
        "note": WITHOUT_WEIGHTS if arguments.repaired and not format.holds_weights else "",
        "receipt": format.receipt(job, contents).to_json() if format.receipt else None,
    }


def show(result: dict[str, Any]) -> str:
    """The list of formats, a report, or where the file is and what is in it."""
    if "formats" in result:
        return "\n".join(_format_line(name, facts) for name, facts in result["formats"].items())
    if "checked" in result:
        return (
            f"{result['checked']} is unchanged and holds this choice of {result['layers']} layers."
        )
    lines = _report_lines(result["report"])
    if "written" in result:
        lines.insert(0, f"{result['written']} ({result['format']}, {result['bytes']:,} bytes)")
    if result.get("note"):
        lines.append(result["note"])
    if result.get("receipt"):
        lines += _receipt_lines(result["receipt"])
    return "\n".join(lines)


def _listing(arguments: argparse.Namespace) -> dict[str, Any]:
    """All formats; with an artifact and a choice also what each does with it."""
    listing = {name: format.to_json() for name, format in FORMATS.items()}
    if arguments.artifact and arguments.assignment:
        job = ExportJob(
            read_configuration(arguments.artifact, arguments.assignment), upcast=arguments.upcast
        )
        for name, format in FORMATS.items():
            listing[name]["choice"] = _counts(format.capability(job))
    return listing


def _counts(report: Capability) -> dict[str, Any]:
    counts = {handling.code: n for handling, n in report.counts().items()}
    return counts | {"refused_layers": [chosen.layer.name for chosen, _ in report.refused]}


def _format_line(name: str, facts: dict[str, Any]) -> str:
    line = f"{name:<19} {facts['keeps']}\n{'':<19} {facts['verified']}"
    if facts["needs_packages"]:
        line += f"; needs {', '.join(facts['needs_packages'])}"
    if "choice" in facts:
        told = [
            f"{facts['choice'][handling.code]} {handling.value}"
            for handling in Handling
            if handling.code in facts["choice"]
        ]
        line += f"\n{'':<19} this choice's layers: {', '.join(told)}"
    return line


def _report_lines(report: dict[str, Any]) -> list[str]:
    width = max(len(layer["name"]) for layer in report["layers"])
    lines = []
    for layer in report["layers"]:
        phrase = Handling[layer["handling"].upper()].value
        why = f" ({layer['why']})" if layer["why"] else ""
        lines.append(
            f"  {layer['name']:<{width}}  {layer['bits']} bits  {layer['stored']}: {phrase}{why}"
        )
    return [*lines, f"{report['format']}: {report['verified']}.", *report["notes"]]


def _receipt_lines(receipt: dict[str, Any]) -> list[str]:
    lines = [
        f"Weights: {sum(layer['file_bytes'] for layer in receipt['layers']):,} bytes, "
        f"promised {sum(layer['promised_bytes'] for layer in receipt['layers']):,}"
    ]
    lines += [f"{name[:1].upper()}{name[1:]}: {n:,} bytes" for name, n in receipt["parts"].items()]
    lines.append(
        f"File: {receipt['file_bytes']:,} bytes, promised {receipt['promised_bytes']:,} "
        f"({receipt['difference']:+.2%}); the promise is that of the packed safetensors"
    )
    return [*lines, *receipt["notes"]]

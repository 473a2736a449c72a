"""Write a chosen configuration in a format that other tools read.

Example:
  python -m clado_core solve assets/digits-resnet.clado --avg-bits 4 --json > chosen.json
  python -m clado_core export assets/digits-resnet.clado --assignment chosen.json --format csv \\
      --out chosen.csv
"""

from __future__ import annotations

import argparse
from typing import Any

from clado_core.assignment_file import read_assignment
from clado_core.errors import InputError
from clado_core.export import FORMATS, Configuration, find_format, write
from clado_core.store import artifact_digest, load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("artifact", metavar="ARTIFACT", nargs="?", help="a .clado file")
    parser.add_argument("--assignment", metavar="FILE", help="JSON: what solve --json printed")
    parser.add_argument(
        "--format", required=True, metavar="F", help=f"{', '.join(FORMATS)}, or 'list'"
    )
    parser.add_argument("--out", metavar="PATH", help="file to write")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write one file, or list the formats."""
    if arguments.format == "list":
        return {"formats": {name: format.keeps for name, format in FORMATS.items()}}
    format = find_format(arguments.format)
    for option in ("artifact", "assignment", "out"):
        if not getattr(arguments, option):
            raise InputError(
                "An export needs an artifact, --assignment FILE and --out PATH "
                "(only --format list needs none)."
            )
    matrix = load(arguments.artifact)
    configuration = Configuration(
        matrix=matrix,
        assignment=read_assignment(arguments.assignment, matrix),
        artifact_sha256=artifact_digest(arguments.artifact),
    )
    write(configuration, format, arguments.out)
    return {
        "written": arguments.out,
        "format": format.name,
        "size_bytes_promised": configuration.assignment.size_bytes,
    }


def show(result: dict[str, Any]) -> str:
    """The list of formats, or where the file is."""
    if "formats" in result:
        return "\n".join(f"{name:<6} {keeps}" for name, keeps in result["formats"].items())
    return f"{result['written']} ({result['format']})"

"""Files that need a network's weights, written by the command line in a process of its own.

The server stays without torch, and a file from the page has the same bytes as one from the
command line, because the same command writes it.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clado_core.exports import Configuration, Format
from clado_core.exports.choice_file import choice_contents
from dashboard.workers.commands import AS_MEASURED, NetworkWords, ask

LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A written file.

    Args:
        data: Its bytes.
        receipt: What each layer takes in it, as the command prints it; None without weights.
    """

    data: bytes
    receipt: dict[str, Any] | None


def export_file(
    artifact: str,
    configuration: Configuration,
    format: Format,
    /,
    *,
    upcast: bool,
    repaired: Path | None = None,
    network: NetworkWords = AS_MEASURED,
) -> ExportedFile | str:
    """Write a file, or say in one sentence why it cannot be written.

    Args:
        artifact: Path of the artifact.
        configuration: The choice.
        format: The target.
        upcast: Whether layers without a form there may take more bits.
        repaired: A repaired file of this choice, whose weights and statistics are taken.
        network: Where the network is.
    """
    source = str(Path(artifact).resolve())
    with tempfile.TemporaryDirectory(prefix="clado-export-") as folder:
        choice, file = Path(folder, "choice.json"), Path(folder, f"file{format.suffix}")
        choice.write_text(json.dumps(choice_contents(configuration)))
        options = ["--assignment", str(choice), "--format", format.name, "--out", str(file)]
        options += ["--upcast"] if upcast else []
        options += ["--repaired", str(repaired)] if repaired else []
        options += network.without_data().options()
        try:
            done = ask(["export", source, *options, "--json"], limit_s=LIMIT_S)
        except TimeoutError:
            return f"The export took longer than {LIMIT_S:g} s; try it on the command line."
        if isinstance(done, str):
            return done
        return ExportedFile(file.read_bytes(), done["receipt"])

"""Files of one JSON object a line that are only ever appended to, by several processes if need be.

Whenever a writer is killed, every line before the one it was writing can be read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clado_core.errors import InputError


def append_line(path: Path, values: Mapping[str, Any], /) -> None:
    """Keep an object; it is in the operating system's hands when this returns.

    Raises:
        InputError: The file cannot be written.
    """
    # First a new line: the last may be cut off. At once: others may be writing too.
    line = f"\n{json.dumps(values)}\n".encode()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            while line:
                line = line[os.write(handle, line) :]
        finally:
            os.close(handle)
    except OSError as problem:
        raise InputError(f"Cannot write {path}: {problem.strerror}.") from None


def read_lines(path: Path, /) -> Iterator[dict[str, Any]]:
    """The objects in the order written; lines that are none, or were cut off, are left out.

    Raises:
        InputError: The file is there and cannot be read.
    """
    if not path.exists():
        return
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as problem:
        raise InputError(f"Cannot read {path}: {problem.strerror}.") from None
    for line in lines:
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict):
            yield values

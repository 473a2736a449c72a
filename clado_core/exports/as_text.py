"""Plain values as an indented JSON file."""

from __future__ import annotations

import json
from typing import Any


def json_file(values: Any, /) -> bytes:
    """UTF-8 with a line feed at the end; keys keep their order."""
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()

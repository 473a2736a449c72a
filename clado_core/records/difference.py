"""Where two descriptions of the same kind of work differ, for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LONGEST = 40


def difference(
    found: Mapping[str, Any], wanted: Mapping[str, Any], /
) -> tuple[str, str, str] | None:
    """Where two descriptions differ: a name and both values, for people.

    Args:
        found: What was done, plain values by name.
        wanted: What is asked for.

    Returns:
        Of several the first in the order of what is wanted, digests last, as they differ wherever
        anything else does; None where they agree.
    """
    for name in sorted(dict.fromkeys([*wanted, *found]), key=lambda name: "sha256" in name):
        if found.get(name) != wanted.get(name):
            return name, _short(found.get(name)), _short(wanted.get(name))
    return None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."

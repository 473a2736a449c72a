"""What files and other programs say, checked for type and range before anything uses it."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, NoReturn, TypeVar, cast

import msgspec

from clado_core.errors import CladoError, InputError

LARGEST_COUNT = 2**53
"""Whole numbers above it are no counts of anything, and floats no longer hold them exactly."""

Record = TypeVar("Record")


def parse_json(text: str | bytes, /) -> Any:
    """JSON as plain values: every number is finite, and every nesting one that Python can walk.

    Raises:
        InputError: It is no JSON, or holds such numbers or such nesting.
    """
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_count)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"it is not JSON that can be read ({_short(problem)})") from None


def read_record(values: object, kind: type[Record], /, where: str) -> Record:
    """A frozen record from plain values, each field of the type that it is declared with.

    Args:
        values: A mapping of field → value, records inside likewise.
        kind: A dataclass.
        where: What the values are, such as "layers[3]", for the sentence.

    Raises:
        InputError: A field is missing, unknown, or of another type; the sentence names it.
    """
    known = {field.name for field in dataclasses.fields(cast(Any, kind)) if field.init}
    if isinstance(values, dict) and (unknown := sorted(map(str, values.keys() - known))):
        raise InputError(f"{where}: the field '{unknown[0]}' is not known")
    try:
        return msgspec.convert(values, kind, strict=True)
    except msgspec.ValidationError as problem:
        raise InputError(f"{where}: {problem}") from None
    except CladoError as problem:
        raise InputError(f"{where}: {problem}") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _count(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > LARGEST_COUNT:
        raise ValueError(f"{text[:20]} is too large a whole number")
    return int(text)


def _short(problem: Exception) -> str:
    return "nested too deeply" if isinstance(problem, RecursionError) else str(problem)

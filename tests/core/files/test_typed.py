"""Every field has its type and its range, or the sentence names it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from clado_core.errors import InputError
from clado_core.files.typed import parse_json, read_record


@dataclass(frozen=True, slots=True)
class Inner:
    """A record in a record."""

    name: str
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Outer:
    """One field of each kind."""

    count: int
    share: float | None = None
    inner: Inner | None = None
    twice: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise InputError("count is below 0")


def test_what_fits_becomes_a_record() -> None:
    values = parse_json('{"count": 3, "share": 1, "inner": {"name": "a", "sizes": [1, 2]}}')
    assert read_record(values, Outer, "x") == Outer(3, 1.0, Inner("a", (1, 2)))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"count": "3"}', "count"),
        ('{"count": 3.5}', "count"),
        ('{"count": true}', "count"),
        ('{"count": null}', "count"),
        ('{"count": -1}', "count is below 0"),
        ("{}", "count"),
        ('{"count": 3, "shares": 1}', "shares"),
        ('{"count": 3, "twice": 1}', "twice"),
        ('{"count": 3, "inner": {"name": 1}}', r"inner\.name"),
        ('{"count": 3, "inner": {"name": "a", "sizes": [1, "2"]}}', r"sizes\[1\]"),
        ('{"count": 3, "inner": []}', "inner"),
        ("[]", "x"),
        ("7", "x"),
    ],
)
def test_what_does_not_fit_is_named(text: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        read_record(parse_json(text), Outer, "x")


@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "Infinity", "-Infinity", "1e999", "-1e400", "1" + "0" * 30, "9" * 5000, "", "{"),
        *("[" * 100_000, '{"a":' * 50_000, '"\x01"', "{'a': 1}", "nul"),
    ],
    ids=lambda text: repr(text[:9]),
)
def test_numbers_that_are_none_and_endless_nesting_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="not JSON that can be read"):
        parse_json(text)


def test_counts_that_floats_hold_are_numbers() -> None:
    assert parse_json(f"[{2**53}, -5, 1e300, 0.5]") == [2**53, -5, 1e300, 0.5]

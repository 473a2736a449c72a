"""Records with read-only mappings, able to travel to another process."""

from __future__ import annotations

from dataclasses import fields
from types import MappingProxyType
from typing import Any


class Portable:
    """A frozen dataclass that pickles although it holds mapping proxies, which Python does not.

    It is made again from its fields on the other side, so it is checked there once more.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        given = (f.name for f in fields(self) if f.init)  # type: ignore[arg-type]
        values: list[Any] = [getattr(self, name) for name in given]
        plain = (dict(v) if isinstance(v, MappingProxyType) else v for v in values)
        return type(self), tuple(plain)

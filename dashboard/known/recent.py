"""A mapping that forgets what was not used for longest, so that it cannot grow for ever."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(MutableMapping[K, V]):
    """The values last written or read, for several threads.

    Args:
        limit: At most so many.
    """

    def __init__(self, limit: int, /) -> None:
        self._limit = limit
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, key: K, /) -> V:
        """A value, which counts as used."""
        with self._lock:
            value = self._kept[key]
            self._kept.move_to_end(key)
            return value

    def __setitem__(self, key: K, value: V, /) -> None:
        """Keep a value; where there are too many, the one unused for longest goes."""
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)

    def __delitem__(self, key: K, /) -> None:
        """Forget a value."""
        with self._lock:
            del self._kept[key]

    def __iter__(self) -> Iterator[K]:
        """The keys of now, the one unused for longest first."""
        with self._lock:
            return iter(list(self._kept))

    def latest(self) -> list[tuple[K, V]]:
        """Keys and values of now, the last used first; none counts as used by that."""
        with self._lock:
            return list(reversed(self._kept.items()))

    def __len__(self) -> int:
        """How many values are kept."""
        return len(self._kept)

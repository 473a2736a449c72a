"""A mapping that forgets."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.known.recent import Recent


def test_what_was_not_used_for_longest_is_forgotten() -> None:
    kept: Recent[str, int] = Recent(2)
    kept["a"], kept["b"] = 1, 2
    assert kept["a"] == 1
    kept["c"] = 3
    assert dict(kept) == {"a": 1, "c": 3}
    kept["a"] = 4
    kept["d"] = 5
    assert dict(kept) == {"a": 4, "d": 5}
    assert kept.get("c", 0) == 0 and "c" not in kept


@settings(deadline=None)
@given(keys=st.lists(st.integers(0, 9)), limit=st.integers(1, 5))
def test_it_holds_the_last_keys_used(keys: list[int], limit: int) -> None:
    kept: Recent[int, None] = Recent(limit)
    for key in keys:
        kept[key] = None
    newest_first = list(dict.fromkeys(reversed(keys)))
    assert list(kept) == newest_first[:limit][::-1]

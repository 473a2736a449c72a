"""Tables that notebooks show for records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TypeAlias

Cell: TypeAlias = str | int | float


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[Cell]], /) -> str:
    """An HTML table, every text escaped: layer names and titles come from users.

    Args:
        caption: A sentence above it.
        header: One title per column.
        rows: Texts, counts, or losses, as many as columns; numbers stand to the right.
    """
    head = "".join(f"<th>{escape(title)}</th>" for title in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f"<div><p>{escape(caption)}</p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: Cell) -> str:
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    number = f"{value:+.4g}" if isinstance(value, float) else f"{value:,}"
    return f'<td style="text-align:right">{number}</td>'

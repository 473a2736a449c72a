"""A button that puts an address on the clipboard."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import streamlit as st

from dashboard.components import live, source


@cache
def _button() -> Callable[..., Any]:
    return st.components.v2.component(
        "clado_copy_link",
        html='<button type="button">\n<span>Copy link</span><kbd aria-hidden="true">L</kbd>'
        '</button><input readonly hidden aria-label="Address of this choice">',
        css=source("copy_link.css"),
        js=source("copy_link.js"),
    )


def copy_link(link: str, /, *, key: str) -> None:
    """Draw it; without live components the address stands in a popover.

    Args:
        link: The whole address.
        key: Element key.
    """
    if live():
        _button()(key=key, data={"link": link})
        return
    with st.popover("Link", icon=":material/link:", help="An address that shows this choice"):
        st.code(link, language=None, wrap_lines=True)

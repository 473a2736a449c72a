"""A button that puts an address on the clipboard."""

from __future__ import annotations

import streamlit as st

from dashboard.components.served import component, live
from dashboard.figures.spec import to_json

HTML = (
    '<button type="button">\n<span>Copy link</span><kbd aria-hidden="true">L</kbd></button>'
    '<input readonly hidden aria-label="Address of this choice">'
)


def copy_link(link: str, /, *, key: str) -> None:
    """Draw it; without live components the address stands in a popover.

    Args:
        link: The whole address.
        key: Element key.
    """
    if live():
        component("copy_link", HTML, styled=True)(key=key, data=to_json({"link": link}).encode())
        return
    with st.popover("Link", icon=":material/link:", help="An address that shows this choice"):
        st.code(link, language=None, wrap_lines=True)

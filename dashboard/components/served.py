"""How components reach the browser: whether they can, their sources, and their data."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from plotly.offline import get_plotlyjs_version

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

HERE = Path(__file__).resolve().parent
PLAIN_WIDGETS = "CLADO_PLAIN_WIDGETS"
"""Environment variable: use Streamlit's own widgets instead."""

PLOTLY_ADDRESS = f"charts/plotly-{get_plotlyjs_version()}.min.js"
"""Where the server offers Plotly's script, from the installed package."""

SERVED = threading.Event()
"""Set once the server offers it; a page run by Streamlit's test driver has no server."""


def live() -> bool:
    """Whether the live components are used instead of the built-in ones."""
    return SERVED.is_set() and not os.environ.get(PLAIN_WIDGETS)


def source(name: str, /) -> str:
    """A script or style sheet of this folder, without indentation and lines of comment.

    It goes along with every message to the component.
    """
    lines = map(str.strip, (HERE / name).read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


@lru_cache(maxsize=8)
def component(name: str, html: str, /, *, styled: bool = False) -> ComponentRenderer:
    """A component of ``name.js``.

    Args:
        name: Of its files.
        html: Its content before the script runs; more than one line, or it is taken for a path.
        styled: Whether ``name.css`` goes with it, kept apart from the page's styles.
    """
    return st.components.v2.component(
        f"clado_{name}",
        html=html,
        js=source(f"{name}.js"),
        css=source(f"{name}.css") if styled else None,
        isolate_styles=styled,
    )

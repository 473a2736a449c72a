"""What every page shares: navigation, and the controls that stand in the URL; then the page."""

from __future__ import annotations

import gc
from pathlib import Path

import streamlit as st

from dashboard.cards import notices, sides
from dashboard.cards.actions import keys_help
from dashboard.known import catalogue
from dashboard.state import links, view_state

HERE = Path(__file__).resolve().parent

PAGES = (
    ("explore", "Explore", "tune", "Choose a budget and see the best bit-widths"),
    ("interactions", "Interactions", "grid_on", "Which layers hurt each other"),
    ("compare", "Compare", "compare_arrows", "Two networks, or two ways to choose"),
    ("measure", "Measure", "labs", "Measure your own network, or upload an artifact"),
    ("export", "Export", "download", "Take the chosen bit-widths away"),
    ("method", "Method", "menu_book", "What is computed, from what, and its limits"),
)
"""File, title, icon and help of each page; the first is the default."""


def _open_network() -> None:
    """Show the frames of cards while a network is looked at for the first time."""
    place = st.empty()  # there in every run, so that nothing below it moves
    if not view_state.is_open():
        with place.container():
            notices.frames()
        view_state.current()
        place.empty()


@st.cache_resource(show_spinner=False)
def _settle_memory() -> None:
    """Once per server: what is imported by now stays, so collections need not look at it."""
    gc.collect()
    gc.freeze()


def draw() -> None:
    """One run of the script."""
    st.set_page_config(
        page_title="CLADO Explorer",
        # A Material icon here would be fetched from Google; a file is served by us.
        page_icon=str(HERE / "icon.png"),
        layout="wide",
        initial_sidebar_state="collapsed",
    )
    page = st.navigation(
        [
            st.Page(
                HERE / "app_pages" / f"{name}.py",
                title=title,
                icon=f":material/{icon}:",
                default=name == PAGES[0][0],
                help=help_,
            )
            for name, title, icon, help_ in PAGES
        ],
        position="top",
    )
    found = catalogue.find()
    if not found.artifacts and page.url_path == "measure":
        page.run()
        return
    if not found.artifacts:
        notices.no_artifact(found.problems)
        return
    view_state.controls(found, keys_help)
    _open_network()
    links.join_url()
    notices.note()
    notices.unusable(found.problems)
    if page.url_path == "compare":
        sides.controls(found)
    page.run()
    _settle_memory()

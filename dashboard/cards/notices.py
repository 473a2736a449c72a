"""What a visitor reads when something is missing or wrong: one sentence and what to do."""

from __future__ import annotations

import streamlit as st

from dashboard.known import catalogue, sample
from dashboard.state import view_state
from dashboard.theme import button_kind

MEASURE = "python -m clado_core measure digits-resnet --out assets/digits-resnet.clado"


def no_artifact(problems: tuple[str, ...]) -> None:
    """Nothing to show yet: how to make an artifact, and a sample to look at."""
    st.header("CLADO Explorer")
    st.markdown(
        "Choose a bit-width for every layer of a vision network under a size budget, with the "
        "interactions between layers measured. No measured network was found here yet."
    )
    st.markdown("Measure one of the built-in networks with this command, then reload the page:")
    st.code(MEASURE, language=None)
    st.page_link("app_pages/measure.py", label="Or measure it from here", icon=":material/labs:")
    st.caption(
        f"Looked for *.clado files in {', '.join(str(f) for f in catalogue.folders())}. Set "
        f"{catalogue.FOLDERS} to look in folders of your own."
    )
    kind = button_kind("dark" if st.context.theme.type == "dark" else "light")
    if st.button("Load the sample", type=kind, icon=":material/science:"):
        sample.write_sample()
        st.rerun()
    unusable(problems)


def frames() -> None:
    """Empty cards, while what goes into them is computed."""
    with st.container(border=True):
        st.skeleton(height=60)
    left, right = st.columns([58, 42])
    for column in (left, right):
        with column, st.container(border=True):
            st.skeleton(height=380)


def unusable(problems: tuple[str, ...]) -> None:
    """Files that were found and cannot be used."""
    for problem in problems:
        st.warning(problem, icon=":material/draft:")


def note() -> None:
    """The one sentence about a link that could not be followed exactly."""
    for sentence in st.session_state.get(view_state.NOTE, {}).values():
        st.caption(f":material/info: {sentence}")

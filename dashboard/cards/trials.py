"""Runs of the quantized network: started, followed while they go on, and told of at their end."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from clado_core.errors import CladoError
from dashboard.known import measured_choices, services
from dashboard.known.catalogue import Artifact
from dashboard.workers.trials import Trial, TrialState

POLL_S = 0.5
MINE, PROBLEM = "clado_trial_mine", "clado_trial_problem"
"""The wish of this session whose end it will be told; why its last one could not be started."""


def follow(artifact: Artifact, draw: Callable[[TrialState | None], None], /) -> None:
    """Draw again while something runs; the whole page where it ends, or something was measured."""
    service = services.trial_service()
    running, seen = is_running(service.state), measured_choices.version(artifact)

    @st.fragment(run_every=POLL_S if running else None)
    def followed() -> None:
        latest = service.state
        if running != is_running(latest) or seen != measured_choices.version(artifact):
            st.rerun()
        draw(latest)

    followed()


def is_running(latest: TrialState | None, /) -> bool:
    """Whether something runs."""
    return latest is not None and latest.running


def start(wish: Trial, /) -> None:
    """Start it; why that cannot be stands on the page."""
    st.session_state.pop(PROBLEM, None)
    try:
        wish.prepare()
        if services.trial_service().start(wish):
            st.session_state[MINE] = wish
    except (CladoError, OSError) as problem:
        st.session_state[PROBLEM] = str(problem)


def progress(latest: TrialState, owner: str, /) -> None:
    """How far it is, and a button that stops it.

    Args:
        latest: What runs.
        owner: Names the card; a part of the button's key.
    """
    st.progress(latest.share, f"{latest.wish.about}: {latest.counted}")
    st.button(
        "Cancel",
        key=f"{owner}-cancel",
        icon=":material/stop:",
        on_click=services.trial_service().cancel,
    )
    st.caption(
        "One run at a time on this server; reload or leave this page as you like. What is measured "
        "is kept."
    )


def ended(latest: TrialState | None, artifact: Artifact, kinds: tuple[type[Trial], ...], /) -> None:
    """Why there is no result of the last run about this network, where there is none."""
    if problem := st.session_state.get(PROBLEM):
        st.warning(problem, icon=":material/error:")
    if latest is None or latest.running or latest.wish.digest != artifact.digest:
        return
    if latest.result is None and isinstance(latest.wish, kinds):
        if latest.cancelled:
            st.caption(f"{latest.wish.about} was stopped; start it again to go on.")
        else:
            st.warning(latest.problem, icon=":material/error:")


def taken() -> TrialState | None:
    """This session's run, once after its end."""
    state, mine = services.trial_service().state, st.session_state.get(MINE)
    if mine is None or state is None or state.wish is not mine or state.running:
        return None
    st.session_state[MINE] = None
    return state

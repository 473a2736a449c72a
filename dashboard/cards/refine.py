"""Refine by running: the best predicted choices are run, and the best of those is pinned."""

from __future__ import annotations

import streamlit as st

from clado_core import SensitivityMatrix
from dashboard.cards.network_fields import network_fields
from dashboard.known import caches, services
from dashboard.known.catalogue import Artifact
from dashboard.state import view_state
from dashboard.state.view_state import ViewState
from dashboard.theme import number, signed
from dashboard.workers.refine import Refined, RefineState, RefineWish, refined_from

POLL_S = 0.5
WIDTH = 460
COUNTS, DEFAULT_COUNT = (4, 8, 16, 32), 8
OPEN, MINE = "clado_refine_open", "clado_refine_mine"
"""Whether the popover is open; the wish of this session whose result will be pinned."""
ABOUT = (
    "The K best predicted choices, what other methods choose, and their neighbours are quantized "
    "for real and run on the sensitivity set; the one of least measured loss is kept as a pin."
)


def take_result() -> None:
    """Pin what this session's run has found; called before the page is drawn."""
    state, mine = services.refine_service().state, st.session_state.get(MINE)
    if mine is None or state is None or state.wish is not mine or state.running:
        return
    st.session_state[MINE] = None
    if state.result is None:
        return
    found = refined_from(_matrix(state.wish), state.result)
    if found.improved:
        _pin(found, state.wish.digest)
    if not st.session_state.get(OPEN):
        st.toast(f"{_about(state.wish)}: {_outcome(found)}", icon=":material/labs:")


def refine_popover(state: ViewState, /) -> None:
    """The button; what is in it is drawn only while it is open, its run is followed always."""
    service = services.refine_service()
    now = service.state
    running = now is not None and now.running
    # The label stays the same, because a popover whose label changes closes.
    popover = st.popover(
        "Refine",
        key=OPEN,
        on_change="rerun",
        icon=":material/labs:",
        width="stretch",
        help="Refine by running: choose by measured loss instead of predicted",
    )

    @st.fragment(run_every=POLL_S if running else None)
    def follow() -> None:
        latest = service.state
        if running != (latest is not None and latest.running):
            st.rerun()  # begun or ended: how often to look changes, and there may be a new pin
        if popover.open:
            _contents(state, latest)

    with popover.container(width=WIDTH):
        follow()


def _contents(state: ViewState, latest: RefineState | None) -> None:
    st.markdown("**Refine by running**")
    st.caption(ABOUT)
    if latest is not None and latest.running:
        _progress(latest)
        return
    if latest is not None and latest.wish.digest == state.artifact.digest:
        _ended(state, latest)
    _form(state, latest)


def _progress(latest: RefineState) -> None:
    st.progress(latest.share, f"{_about(latest.wish)}: {latest.counted}")
    st.button(
        "Cancel",
        key="refine-cancel",
        icon=":material/stop:",
        on_click=services.refine_service().cancel,
    )
    st.caption(
        "Often fewer are needed. One run at a time on this server; reload or leave this page as "
        "you like."
    )


def _ended(state: ViewState, latest: RefineState) -> None:
    if latest.cancelled:
        st.caption(f"{_about(latest.wish)} was stopped after {latest.done} assignments.")
    elif latest.result is None:
        st.warning(latest.problem, icon=":material/error:")
    else:
        _result(state, latest.wish, refined_from(state.matrix, latest.result))


def _result(state: ViewState, wish: RefineWish, found: Refined) -> None:
    st.markdown(f"{_about(wish)}: {_outcome(found)}")
    if found.improved:
        st.table(_rows(found), hide_index=True)
    images = state.matrix.provenance.n_samples
    pinned = [pin.assignment for pin in state.pins]
    kept = found.improved and found.chosen.assignment in pinned
    where = f" It is pin {pinned.index(found.chosen.assignment) + 1}." if kept else ""
    st.caption(
        f"Measured on the {images:,} images of the sensitivity set; {found.evaluated} assignments "
        f"were run, and {found.screened} on a part of them.{where}"
    )
    if kept or not found.improved:
        return
    if st.button("Pin it", key="refine-pin", icon=":material/keep:"):
        _pin(found, wish.digest)
        st.rerun()


def _rows(found: Refined) -> list[dict[str, str]]:
    rows = [
        ("Predicted best", found.predicted_best_loss, found.predicted_best_increase),
        ("Refined", found.loss, found.chosen.predicted_loss_increase),
    ]
    return [
        {"": name, "Measured loss": number(loss, 4), "Predicted loss increase": signed(increase)}
        for name, loss, increase in rows
    ]


def _outcome(found: Refined) -> str:
    if not found.improved:
        return (
            "the predicted best is also the best of those run, with a measured loss of "
            f"**{number(found.loss, 4)}**; nothing is pinned."
        )
    return (
        f"measured loss **{number(found.loss, 4)}**, against "
        f"{number(found.predicted_best_loss, 4)} of the predicted best."
    )


def _form(state: ViewState, latest: RefineState | None) -> None:
    if state.matrix.provenance.n_samples is None:
        st.caption(
            "This artifact does not say which images it was measured on, so nothing can be run: "
            "measure the network here (Measure) instead."
        )
        return
    network = network_fields(state, "refine", problem="" if latest is None else latest.problem)
    k = st.segmented_control(
        "How many of the best (K)",
        COUNTS,
        default=DEFAULT_COUNT,
        required=True,
        key="refine_k",
    )
    wish = RefineWish(
        name=state.artifact.name,
        artifact=state.artifact.path,
        digest=state.artifact.digest,
        avg_bits=state.avg_bits,
        rules=state.rules,
        k=k,
        network=network,
    )
    st.button(
        f"Start at {state.avg_bits:.2f} bits",
        key="refine-start",
        icon=":material/play_arrow:",
        on_click=_start,
        args=(wish,),
    )


def _start(wish: RefineWish) -> None:
    if services.refine_service().start(wish):
        st.session_state[MINE] = wish


def _pin(found: Refined, digest: str) -> None:
    view_state.pin(found.chosen, digest)


def _about(wish: RefineWish) -> str:
    return f"{wish.name} at {wish.avg_bits:.2f} bits{wish.rules.counted}"


def _matrix(wish: RefineWish) -> SensitivityMatrix:
    return caches.matrix(Artifact(wish.name, wish.artifact, wish.digest))

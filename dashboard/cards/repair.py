"""Repair: better integers and statistics for a choice, and what each step was worth."""

from __future__ import annotations

import streamlit as st

from clado_core import Assignment
from clado_core.records.names import Rounding
from dashboard.cards import trials
from dashboard.cards.network_fields import network_fields
from dashboard.known import catalogue
from dashboard.state.view_state import ViewState
from dashboard.theme import number
from dashboard.workers.repair import Repair, RepairedFile, repaired_file
from dashboard.workers.trials import TrialState

ABOUT = (
    "The weights are rounded anew on the same grid, and statistics estimated anew, from training "
    "images without labels: the same bit-widths and bytes."
)
DEFAULT: Rounding = "adaround"
ROUNDING = "repair_rounding"
NAMES: dict[Rounding, str] = {"adaround": "Learned (AdaRound)", "gptq": "GPTQ, faster"}


def repaired_of(state: ViewState, assignment: Assignment, /) -> RepairedFile | None:
    """The repaired file of a choice; None before it was repaired."""
    return repaired_file(catalogue.trials_folder(), state.artifact.digest, assignment.bits)


def rounding_chosen() -> Rounding:
    """How weights become integers where Repair does it."""
    chosen: Rounding = st.session_state.get(ROUNDING, DEFAULT)
    return chosen


def repair_contents(
    state: ViewState, assignment: Assignment, latest: TrialState | None, owner: str, /
) -> None:
    """What a repair is, was worth, and takes; or how far the run is.

    Args:
        state: The chosen network.
        assignment: The choice that is shown.
        latest: The latest run.
        owner: Names the card; a part of keys.
    """
    if latest is not None and latest.running:
        trials.progress(latest, owner)
        return
    trials.ended(latest, state.artifact, (Repair,))
    file = repaired_of(state, assignment)
    if file is not None:
        worth(file)
    else:
        st.caption(ABOUT)
    _form(state, assignment, latest, owner, again=file is not None)


def _form(
    state: ViewState,
    assignment: Assignment,
    latest: TrialState | None,
    owner: str,
    *,
    again: bool,
) -> None:
    rounding = st.segmented_control(
        "Rounding",
        list(NAMES),
        default=DEFAULT,
        required=True,
        format_func=NAMES.__getitem__,
        key=ROUNDING,
        persist_state="session",
        label_visibility="collapsed",
    )
    problem = "" if latest is None else latest.problem
    wish = Repair(
        name=state.artifact.name,
        artifact=state.artifact.path,
        digest=state.artifact.digest,
        network=network_fields(state, owner, problem=problem),
        assignment=assignment,
        folder=str(catalogue.trials_folder()),
        rounding=rounding,
    )
    st.button(
        f"{'Repair again' if again else 'Repair'} at {assignment.avg_bits:.2f} bits",
        key=f"{owner}-start",
        icon=":material/build:",
        on_click=trials.start,
        args=(wish,),
    )


def worth(file: RepairedFile, /) -> None:
    """What each step brought."""
    st.markdown(outcome(file))
    rows = [
        {
            "Step": step.name,
            "Divergence": number(step.divergence),
            "Kept": "kept" if step.kept else "",
            "Seconds": number(step.seconds, 2),
        }
        for step in file.steps
    ]
    st.table(rows, hide_index=True)
    st.caption(
        "From the float network's outputs, in nats, on "
        f"{file.judged_on:,} training images that the repair was not made with."
    )


def outcome(file: RepairedFile, /) -> str:
    """How much nearer to the float network it is, one sentence."""
    return (
        f"Divergence as rounded **{number(file.rounded)}**, as repaired "
        f"**{number(file.divergence)}**."
    )

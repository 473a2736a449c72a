"""Repair: better integers and statistics for a choice, and what each step was worth."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from clado_core import Assignment
from clado_core.records.names import Rounding
from dashboard.cards import trials
from dashboard.cards.network_fields import network_fields
from dashboard.known import catalogue, services
from dashboard.state.view_state import ViewState
from dashboard.theme import accuracy, duration, interval, number
from dashboard.workers.repair import Recipe, Repair, cost_of
from dashboard.workers.repaired import RepairedFile, repaired_file
from dashboard.workers.trials import TrialState

ABOUT = (
    "The weights are rounded anew on the same grid, and statistics estimated anew, from training "
    "images without labels: the same bit-widths and bytes."
)
DEFAULT: Rounding = "adaround"
ROUNDING, RECONSTRUCT, EPOCHS = "repair_rounding", "repair_reconstruct", "repair_epochs"
COST, MOST_EPOCHS = "clado_repair_cost", 100
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
    network = network_fields(state, owner, problem="" if latest is None else latest.problem)
    advanced = st.expander("Advanced: learn on from there", expanded=recipe_chosen().goes_on)
    with advanced:
        _going_on()
    wish = Repair(
        name=state.artifact.name,
        artifact=state.artifact.path,
        digest=state.artifact.digest,
        network=network,
        assignment=assignment,
        folder=str(catalogue.trials_folder()),
        recipe=recipe_chosen()._replace(rounding=rounding),
    )
    with advanced:
        _cost(wish, owner)
    st.button(
        f"{'Repair again' if again else 'Repair'} at {assignment.avg_bits:.2f} bits",
        key=f"{owner}-start",
        icon=":material/build:",
        on_click=_start,
        args=(wish,),
    )


def recipe_chosen() -> Recipe:
    """How Repair would do it."""
    chosen = st.session_state
    return Recipe(
        rounding_chosen(), bool(chosen.get(RECONSTRUCT, False)), int(chosen.get(EPOCHS, 0))
    )


def _going_on() -> None:
    """Whether blocks are reconstructed, and how long all is fine-tuned."""
    st.checkbox(
        "Reconstruct blocks",
        key=RECONSTRUCT,
        persist_state="session",
        help="Residual or transformer blocks learn, one after another, to answer as the float "
        "network's do, from the same images.",
    )
    st.number_input(
        "Epochs of fine-tuning",
        *(0, MOST_EPOCHS, 0, 1),
        key=EPOCHS,
        persist_state="session",
        help="Weights, scales and all that stays float learn from the float network's outputs, on "
        "training images without labels. A run that was cancelled goes on when it is started "
        "again.",
    )


def _cost(wish: Repair, owner: str) -> None:
    """Say what it would take, where that is asked for."""
    if st.button("Estimate the time", key=f"{owner}-estimate", icon=":material/timer:"):
        with st.spinner("Timing a few steps"):
            found = cost_of(wish, command=services.trial_service().command)
        st.session_state[COST] = (wish, found)
    asked, cost = st.session_state.get(COST, (None, None))
    if asked != wish or cost is None:
        st.caption("Both take longer; every step is kept only where it comes closer.")
    elif isinstance(cost, str):
        st.warning(cost, icon=":material/error:")
    else:
        parts = {"the repair": cost.repair, "blocks": cost.reconstruct, "epochs": cost.finetune}
        told = ", ".join(f"{what} {duration(s)}" for what, s in parts.items() if s)
        st.markdown(f"About **{duration(sum(cost))}** here: {told}.")


def _start(wish: Repair) -> None:
    # A number that was typed just before the click is newer than the wish.
    trials.start(replace(wish, recipe=recipe_chosen()))


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


def measured_words(file: RepairedFile, /) -> str:
    """What this very file was measured at, for a sentence; "" before that."""
    if (found := file.measured) is None:
        return ""
    images = f"{found.n:,} {found.split} images"
    return f"measured {accuracy(found.top1)} ({interval(found.ci95)}, {images})"


def outcome(file: RepairedFile, /) -> str:
    """How much nearer to the float network it is, one sentence."""
    learned = f" ({file.recipe.words})" if file.recipe.goes_on else ""
    return (
        f"Divergence as rounded **{number(file.rounded)}**, as repaired{learned} "
        f"**{number(file.divergence)}**."
    )

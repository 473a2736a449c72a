"""Measure: a choice or the front on held-out images, and the smallest size within a drop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from clado_core import Solution
from clado_core.records.names import MEASURED_AS, REPAIRED, ROUNDED, MeasuredAs
from dashboard.cards import trials
from dashboard.cards.network_fields import network_fields
from dashboard.cards.repair import NAMES, measured_words, repaired_of, rounding_chosen
from dashboard.known import catalogue
from dashboard.known.measured_choices import measured_of
from dashboard.scale import round_up
from dashboard.state import view_state
from dashboard.state.view_state import ViewState
from dashboard.theme import accuracy, interval, megabytes, signed
from dashboard.workers.commands import NetworkWords
from dashboard.workers.repair import MeasureRepaired
from dashboard.workers.smallest import Drop, FindSmallest, Smallest, last_smallest
from dashboard.workers.trials import MeasureChoice, MeasureFront, Trial, TrialState

OWNER, DROP_KEY = "measure", "measure_drop"
DROP, STEP = 1.0, 0.1
"""Percentage points: what is asked for at first, and one press of a button."""


def measure_contents(state: ViewState, answer: Solution, latest: TrialState | None, /) -> None:
    """What is known of the choice, what can be run, and the inverse question."""
    if latest is not None and latest.running:
        trials.progress(latest, OWNER)
        return
    kinds = (MeasureChoice, MeasureRepaired, MeasureFront, FindSmallest)
    trials.ended(latest, state.artifact, kinds)
    st.table(_rows(state, answer), hide_index=True)
    network = network_fields(state, OWNER, problem="" if latest is None else latest.problem)
    chosen = st.pills(
        "Run it as",
        MEASURED_AS,
        selection_mode="multi",
        default=MEASURED_AS,
        key="measure_as",
        persist_state="session",
        help="As rounded: to nearest, and nothing else. As repaired: what Repair makes of it, with "
        f"the rounding chosen there ({NAMES[rounding_chosen()]}).",
    )
    measured_as = [each for each in MEASURED_AS if each in chosen]
    _run_buttons(state, answer, network, measured_as)
    _smallest(state, network, REPAIRED if REPAIRED in measured_as else ROUNDED)


def _rows(state: ViewState, answer: Solution) -> list[dict[str, str]]:
    runs = measured_of(state.artifact, answer.assignment.bits)
    rows = [{"This choice": "predicted loss", " ": signed(answer.predicted_loss_increase)}]
    for measured_as in MEASURED_AS:
        run = runs.get(measured_as)
        found = "–" if run is None else f"{accuracy(run.top1)} ({interval(run.ci95)})"
        rows.append({"This choice": f"top-1, measured as {measured_as}", " ": found})
    if runs:
        run = next(iter(runs.values()))
        rows.append({"This choice": "float network", " ": accuracy(run.float_top1)})
        rows.append({"This choice": "measured on", " ": run.images.counted(run.n)})
    file = repaired_of(state, answer.assignment)
    if file is not None and file.recipe.goes_on:
        found = measured_words(file) or "–"
        rows.append({"This choice": f"as repaired and {file.recipe.words}", " ": found})
    return rows


def measured_text(state: ViewState, answer: Solution, /) -> str:
    """What was measured of a choice, for a sentence; "" where nothing was."""
    runs = measured_of(state.artifact, answer.assignment.bits)
    said = [f"as {run.measured_as} {accuracy(run.top1)}" for run in runs.values()]
    if not said:
        return ""
    run = next(iter(runs.values()))
    return f"measured {', '.join(said)} (top-1, {run.images.counted(run.n)})"


def _run_buttons(
    state: ViewState, answer: Solution, network: NetworkWords, measured_as: Sequence[MeasuredAs]
) -> None:
    artifact = state.artifact
    about: dict[str, Any] = {
        "name": artifact.name,
        "artifact": artifact.path,
        "digest": artifact.digest,
        "network": network,
    }
    file = repaired_of(state, answer.assignment)
    one = MeasureChoice(
        **about,
        assignment=answer.assignment,
        folder=str(catalogue.trials_folder()),
        measured_as=measured_as,
        rounding=rounding_chosen() if file is None else file.recipe.rounding,
    )
    all_ = MeasureFront(
        **about,
        **_front(state),
        measured_as=measured_as,
        rounding=rounding_chosen(),
    )
    with st.container(horizontal=True, gap="small"):
        _button("Measure this choice", "measure-choice", one, disabled=not measured_as)
        _button("Measure the front", "measure-front", all_, disabled=not measured_as)
    if file is not None and file.recipe.goes_on:
        shipped = MeasureRepaired(
            **about,
            assignment=answer.assignment,
            folder=str(catalogue.trials_folder()),
            file=file.path,
        )
        _button(f"Measure the {file.recipe.words} file", "measure-file", shipped)


def _front(state: ViewState) -> dict[str, Any]:
    """The choices that the page shows, under its rules."""
    return {
        "front": state.answers.front(),
        "rules": state.rules,
        "folder": str(catalogue.trials_folder()),
    }


def _button(label: str, key: str, wish: Trial, *, disabled: bool = False) -> None:
    st.button(
        label,
        key=key,
        width="stretch",
        disabled=disabled,
        on_click=trials.start,
        args=(wish,),
    )


def _smallest(state: ViewState, network: NetworkWords, measured_as: MeasuredAs) -> None:
    artifact = state.artifact
    st.markdown("**Smallest size within a drop**")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        most = st.number_input(
            "Points of top-1 lost at most",
            *(0.0, 100.0, DROP, STEP),
            format="%.1f",
            key=DROP_KEY,
            persist_state="session",
        )
        wish = FindSmallest(
            name=artifact.name,
            artifact=artifact.path,
            digest=artifact.digest,
            network=network,
            max_drop=most,
            measured_as=measured_as,
            rounding=rounding_chosen(),
            **_front(state),
        )
        st.button(
            f"Find, as {measured_as}",
            key="measure-smallest",
            width="stretch",
            on_click=_find,
            args=(wish,),
        )
    found = last_smallest(catalogue.trials_folder(), artifact.digest, state.matrix, state.rules)
    if found is not None:
        _answer(state, found)


def _find(wish: FindSmallest) -> None:
    # A number that was typed just before the click is newer than the wish.
    trials.start(replace(wish, max_drop=st.session_state[DROP_KEY]))


def _answer(state: ViewState, found: Smallest) -> None:
    chosen = found.chosen.assignment
    st.markdown(
        f"At most {found.max_drop:g} points, measured as {found.measured_as}: "
        f"**{chosen.avg_bits:.2f} bits**, {megabytes(chosen.size_bytes)}."
    )
    said = [
        f"{found.measured} of {found.on_front} choices of the front were run; this one loses "
        f"{_drop(found.searched)}"
    ]
    if found.confirmed is None:
        said.append("there were no others to confirm it on.")
    else:
        said.append(f"and, run once to confirm it, {_drop(found.confirmed)}.")
    st.caption(" ".join(said))
    st.button(
        f"Go to {chosen.avg_bits:.2f} bits",
        key="measure-go",
        icon=":material/arrow_forward:",
        on_click=go_to,
        args=(state, found.chosen),
    )


def go_to(state: ViewState, chosen: Solution, /) -> None:
    """Set the budget to a choice that was found elsewhere."""
    state.answers.add(chosen.assignment.size_bits, chosen)
    view_state.set_avg_bits(round_up(chosen.assignment.avg_bits), move_thumb=True)


def _drop(drop: Drop) -> str:
    low, high = (f"{end:.1f}".replace("-", "−") for end in drop.ci95)
    points = f"{drop.points:.1f}".replace("-", "−")
    return f"{points} points ({low} to {high}) on {drop.n:,} {drop.split} images"

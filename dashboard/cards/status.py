"""Who answered, and how good the answer is provably: approximate, improving, proven."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, TypeAlias

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from clado_core import Solution, SolveStatus
from clado_core.allocation.bootstrap import Stability
from clado_core.problem.solution import relative_gap
from clado_core.records.trust import prediction_error
from clado_core.solvers.toulbar2 import is_installed
from dashboard.cards.chart import Chart, draw_chart
from dashboard.cards.proofs import LONG, LONGER_S, owner, watch
from dashboard.figures.convergence import (
    convergence_alt,
    convergence_figure,
    convergence_info,
    convergence_rows,
)
from dashboard.known import services
from dashboard.state.view_state import ViewState
from dashboard.theme import percent, plus_minus, signed
from dashboard.workers.solve_job import Job, JobState, SolveRequest

NAMES = {
    "greedy": "single moves",
    "local-search": "local search",
    "scip": "SCIP",
    "daqp": "DAQP",
    "highs": "HiGHS",
    "toulbar2": "toulbar2",
}
BOUNDS = "clado_bounds_open"
MISSING = " · toulbar2, which may prove it, is not installed"

Colour: TypeAlias = Literal["green", "blue", "orange", "gray"]


@dataclass(frozen=True, slots=True)
class StatusInfo:
    """The chip and the sentence beside it.

    Args:
        chip: A few words.
        colour: Of the badge.
        icon: Material icon name.
        detail: Who and how far, one line.
    """

    chip: str
    colour: Colour
    icon: str
    detail: str


def status_info(
    answer: Solution,
    job: Job[SolveRequest] | None,
    exact: bool,
    /,
    *,
    now: float,
    before: int = 0,
    searching: bool = False,
) -> StatusInfo:
    """What to say about an answer.

    Args:
        answer: The choice on the screen, with its tightest bound.
        job: The background solve of this budget, or None.
        exact: Whether one is wanted at all.
        now: Monotonic time.
        before: Solves of other visitors that come first.
        searching: Whether better choices are still looked for, without a proof.
    """
    gap = useful(answer.gap)
    if answer.status is SolveStatus.OPTIMAL:
        return StatusInfo("Proven optimal", "green", "verified", who(answer.solver))
    known = "" if gap is None else f"at most {percent(gap)} from optimal · "
    if not exact:
        then = "the search goes on" if searching else "not proven"
        return StatusInfo("Approximate", "gray", "bolt", known + then)
    if job is not None and (told := _of_job(job, known, now)):
        return told
    if before:
        others = "1 proof" if before == 1 else f"{before} proofs"
        return StatusInfo("Waiting", "gray", "hourglass_empty", f"{known}{others} of others first")
    return StatusInfo("Approximate", "gray", "bolt", f"{known}the proof follows")


def _of_job(job: Job[SolveRequest], known: str, now: float) -> StatusInfo | None:
    """What a proof says that runs or has ended; None where it says nothing yet."""
    if job.state is JobState.FAILED:
        kept = f"{known}the approximate answer stays"
        return StatusInfo("Exact solve unavailable", "orange", "error", kept)
    if job.state is JobState.DONE:
        chip = f"Best found in {job.request.time_limit_s:g} s"
        far = known.rstrip(" ·") or "no useful bound yet"
        return StatusInfo(chip, "blue", "timer", far + MISSING * (not is_installed()))
    if job.state is JobState.RUNNING and job.trace:
        elapsed, objective, bound = job.trace[-1]
        took = f"{max(elapsed, now - job.submitted):.1f} s"
        return StatusInfo(
            "Improving", "blue", "hourglass_top", f"{_shown(objective, bound)} · {took}"
        )
    return None


def _shown(objective: float, bound: float) -> str:
    gap = useful(relative_gap(objective, bound))
    return "no bound yet" if gap is None else f"gap {percent(gap)}"


def who(solver: str, /) -> str:
    """Solver names as people write them: "found by local search, proven by SCIP"."""
    for code, name in NAMES.items():
        solver = solver.replace(code, name)
    solver = solver.replace("+", " and ")
    return solver if "proven by" in solver else f"found and proven by {solver}"


def useful(gap: float | None, /) -> float | None:
    """A gap worth showing: above 1 the bound has another sign than the answer and says nothing."""
    return None if gap is None or gap > 1 else gap


def status_chip(state: ViewState, answer: Solution, /, *, dragging: bool = False) -> None:
    """The chip; looks again every 0.3 s while the solver works, and then draws the page anew.

    During a drag no proof is asked for: the next value would replace it.
    """
    if dragging:
        _say(status_info(answer, None, state.exact, now=0.0))
        return
    if state.held is not None:
        _say(StatusInfo("Refined", "blue", "labs", "of least measured loss among those run"))
        return
    watched = watch(state, answer)
    job, firm = watched.job, watched.firm

    @st.fragment(run_every=watched.interval_s)
    def chip() -> None:
        if watched.has_news():
            st.rerun()
        before = services.solve_service().before(owner()) if watched.proof else 0
        info = status_info(
            answer,
            job,
            state.exact,
            now=time.monotonic(),
            before=before,
            searching=watched.search,
        )
        with _say(info):
            _act(state, job)
            _bounds(state, job)
        if firm is not None:
            st.caption(for_this_measurement(state, answer, firm))
        if watched.only_firmness and firm is not None and firm.done():
            # Ends the looking: a fragment keeps the interval that it was first drawn with.
            st.rerun()

    chip()


def for_this_measurement(
    state: ViewState, answer: Solution, firm: Future[Stability | None], /
) -> str:
    """What a proof says, and what it does not: how far the numbers it is about can be trusted."""
    error = prediction_error(state.matrix, answer.assignment.bits)
    said = ["Optimal for this measurement"]
    if error is None:
        return f"{said[0]}, whose spread is not known."
    loss = answer.predicted_loss_increase
    said.append(f"predicted {signed(loss)}{plus_minus(error)} (standard error)")
    found = firm.result() if firm.done() else None
    if found is not None:
        kept = percent(float(found.kept.mean())).replace(" ", "\u00a0")
        said.append(f"{kept} of the layers keep their bits when the samples are drawn again")
    return "; ".join(said) + "."


def _say(info: StatusInfo) -> DeltaGenerator:
    """The chip and its sentence, in a row that more may follow in."""
    row = st.container(horizontal=True, vertical_alignment="center", gap="small")
    row.badge(info.chip, icon=f":material/{info.icon}:", color=info.colour)
    row.caption(info.detail, width="content")
    return row


def _bounds(state: ViewState, job: Job[SolveRequest] | None) -> None:
    """How the two bounds met, or how far apart they are still."""
    if job is None or len(job.trace) < 2:
        return
    popover = st.popover(
        "Bounds", key=BOUNDS, on_change="rerun", type="tertiary", icon=":material/show_chart:"
    )
    if popover.open:
        with popover:
            info = convergence_info(job.trace)
            chart = Chart(
                title="Two bounds meeting",
                key="bounds_plot",
                figure=lambda: convergence_figure(info, state.mode),
                alt=convergence_alt(info),
                rows=lambda: convergence_rows(info),
                help="Predicted loss of the best answer found, and what no answer can go below.",
            )
            draw_chart(chart, height=220)


def _act(state: ViewState, job: Job[SolveRequest] | None) -> None:
    """What can be done about an unfinished proof."""
    if job is None or job.active or not state.exact:
        return
    if job.state is JobState.DONE and job.request.time_limit_s < LONGER_S:
        st.button(
            "Keep on",
            key="keep-searching",
            type="tertiary",
            icon=":material/more_time:",
            help=f"Search for up to {LONGER_S:g} s more.",
            on_click=_longer,
            args=(state,),
        )
    elif job.state is JobState.FAILED:
        st.button(
            "Retry",
            key="retry",
            type="tertiary",
            icon=":material/refresh:",
            help=job.message,
            on_click=_again,
        )


def _longer(state: ViewState) -> None:
    st.session_state[LONG] = (state.artifact.digest, state.budget_bits, state.rules)
    st.rerun()  # the chip alone would go on with the job it has


def _again() -> None:
    services.solve_service().cancel(owner())
    st.rerun()

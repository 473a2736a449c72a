"""The two sides of Compare: networks, or ways to choose for one network."""

from __future__ import annotations

from dataclasses import dataclass, replace

import streamlit as st

from clado_core import SensitivityMatrix, Solution
from clado_core.records.names import REPAIRED, ROUNDED, MeasuredAs
from dashboard.cards import notices
from dashboard.figures.accuracy import CLADO, NAMES, Run
from dashboard.figures.compare import Side, side
from dashboard.figures.compare_measured import MeasuredSide, measured_side
from dashboard.figures.series import METHOD_NAMES, UNIFORM
from dashboard.known import caches, catalogue, other_methods, searching
from dashboard.known.catalogue import Artifact, Catalogue
from dashboard.known.measured_choices import measured
from dashboard.rules import Rules
from dashboard.scale import budget_bits
from dashboard.state import view_state
from dashboard.state.view_state import MODEL, ViewState
from dashboard.workers.searches import is_small

VIEW, A, B = "view", "a", "b"
NETWORKS, CHOICES = "Networks", "Choices"
PIN = "Pin "
POLL_S = 0.7


@dataclass(frozen=True, slots=True)
class Contender:
    """One side.

    Args:
        name: As in the selector.
        matrix: The network's sensitivities.
        reference: The network's best choices over all sizes, which loss is normalised by.
        front: This side's choices over all sizes.
        here: Its choice at the current budget, or the pinned one.
        runs: Its choices that were run, in order of size.
        top1: Measured share classified correctly by ``here``, or None.
        float_top1: Likewise by the float network.
        measured_as: What both sides' networks were run as.
    """

    name: str
    matrix: SensitivityMatrix
    reference: tuple[Solution, ...]
    front: tuple[Solution, ...]
    here: Solution
    runs: tuple[Run, ...] = ()
    top1: float | None = None
    float_top1: float | None = None
    measured_as: MeasuredAs = ROUNDED


def controls(found: Catalogue, /) -> None:
    """Which two; here because bound widgets must be drawn by the entry script.

    The network chosen above is side A of two networks, and the network of two choices.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        view = st.segmented_control(
            "Compare",
            [NETWORKS, CHOICES],
            default=NETWORKS,
            required=True,
            key=VIEW,
            bind="query-params",
            label_visibility="collapsed",
        )
        if view == CHOICES:
            options = choices(view_state.current())
            _select(A, options, 0)
            st.button("Swap", icon=":material/swap_horiz:", on_click=_swap, args=(A,))
            _select(B, options, 1)
            return
        names = list(found.artifacts)
        other = next((n for n in names if n != st.session_state[MODEL]), names[0])
        st.markdown(f"**A** {st.session_state[MODEL]}", width="content")
        st.button("Swap", icon=":material/swap_horiz:", on_click=_swap, args=(MODEL,))
        st.markdown("**B**", width="content")
        _select(B, names, names.index(other))


def choices(state: ViewState, /) -> list[str]:
    """Ways to choose for one network, pins included."""
    pins = [f"{PIN}{i + 1}" for i in range(len(state.pins))]
    others = [METHOD_NAMES[method] for method in other_methods.methods(state.matrix)]
    return [CLADO, *others, UNIFORM, *pins]


def both(state: ViewState, /) -> tuple[Contender, Contender]:
    """Solve both sides at the current budget, moved into each network's range."""
    known = catalogue.find().artifacts
    if st.session_state[VIEW] == CHOICES:
        measured_as = _most_measured_as(state.artifact)
        first, second = (_choice(state, st.session_state[key], measured_as) for key in (A, B))
        return first, second
    other = known[st.session_state[B]]
    measured_as = _most_measured_as(state.artifact, other)
    rules = state.rules if other == state.artifact else Rules()
    return (
        _network(state.artifact, state.rules, state.avg_bits, measured_as),
        _network(other, rules, state.avg_bits, measured_as),
    )


def follow_searches(state: ViewState, /) -> None:
    """Of large networks: say how far the fronts are, look again, and draw the page when all are
    there; it ends here while a side has no choice yet."""
    left = _still_searched(state)
    if not left:
        return

    @st.fragment(run_every=POLL_S)
    def told() -> None:
        now = _still_searched(state)
        if not now:
            st.rerun()
        st.caption("; ".join(now.values()))

    told()
    if None in left:
        notices.frames()
        st.stop()


def _still_searched(state: ViewState) -> dict[Artifact | None, str]:
    """What is searched for both sides, for people; None stands for another method's choices."""
    told: dict[Artifact | None, str] = {}
    shown = {state.artifact: state.rules}
    if st.session_state[VIEW] == NETWORKS:
        shown.setdefault(catalogue.find().artifacts[st.session_state[B]], Rules())
    for artifact, rules in shown.items():
        known = caches.answers(artifact, rules)
        if searching.front_soon(artifact, known):
            left, all_ = len(known.left()), len(known.grid)
            told[artifact] = f"{artifact.name}: front {all_ - left} of {all_} searched"
    if st.session_state[VIEW] == CHOICES:
        names = {METHOD_NAMES[m]: m for m in other_methods.methods(state.matrix)}
        for name in {st.session_state[A], st.session_state[B]} & names.keys():
            if other_methods.front_of(names[name], state.artifact, state.rules) is None:
                told[None] = f"the choices of {name} are still searched for"
    return told


def _most_measured_as(*artifacts: Artifact) -> MeasuredAs:
    """Repaired, where no network was run more often as rounded: one of both on a chart."""
    for artifact in artifacts:
        repaired = [run.measured_as == REPAIRED for run in measured(artifact)]
        if 2 * sum(repaired) < max(1, len(repaired)):
            return ROUNDED
    return REPAIRED


def normalised(own: Contender, /) -> Side:
    """Losses as fractions of the range that the network's full method spans."""
    losses = [s.predicted_loss_increase for s in own.reference]
    return side(
        own.name,
        own.matrix,
        own.front,
        own.here,
        loss_range=(min(losses), max(losses)),
        joined=own.name != UNIFORM,
    )


def measured_of(own: Contender, /) -> MeasuredSide | None:
    """Its measured accuracy over sizes, where there is any."""
    if not own.runs or own.float_top1 is None:
        return None
    return measured_side(own.name, own.matrix, own.runs, own.float_top1)


def _network(
    artifact: Artifact, rules: Rules, avg_bits: float, measured_as: MeasuredAs
) -> Contender:
    known = caches.answers(artifact, rules)
    asked = budget_bits(known.matrix, avg_bits)
    here = known.quick(max(known.least_bits, min(asked, known.most_bits)), thorough=True)
    front = known.front()
    own = Contender(artifact.name, known.matrix, front, front, here, measured_as=measured_as)
    return _with_runs(own, artifact, CLADO)


def _choice(state: ViewState, method: str, measured_as: MeasuredAs) -> Contender:
    artifact, bits = state.artifact, state.budget_bits
    reference = state.answers.front()
    front, here = reference, state.answers.quick(bits, thorough=True)
    minimized = {METHOD_NAMES[m]: m for m in other_methods.methods(state.matrix)}
    if method in minimized:
        front, here = _other(minimized[method], state)
    elif method == UNIFORM:
        front = tuple(other_methods.uniform(state.matrix))
        here = _largest_within(front, bits)
    elif method.startswith(PIN):
        here = state.pins[int(method.removeprefix(PIN)) - 1]
    own = Contender(method, state.matrix, reference, front, here, measured_as=measured_as)
    return _with_runs(own, artifact, method)


def _other(method: str, state: ViewState) -> tuple[tuple[Solution, ...], Solution]:
    """Another method's choices, and the one at this budget."""
    artifact, rules, bits = state.artifact, state.rules, state.budget_bits
    front = other_methods.front_of(method, artifact, rules) or ()
    if is_small(state.matrix) or not front:
        here = other_methods.choice_of(method, artifact, bits, rules)
        return front or (here,), here
    return front, _largest_within(front, bits)


def _with_runs(own: Contender, artifact: Artifact, method: str) -> Contender:
    """What was measured of it; its choice at this budget may have been run for another method."""
    found = [run for run in measured(artifact) if run.measured_as == own.measured_as]
    same = [run.top1 for run in found if run.assignment.bits == own.here.assignment.bits]
    return replace(
        own,
        runs=tuple(
            Run(run.assignment, run.method, run.top1, run.ci95)
            for run in found
            if NAMES.get(run.method) == method
        ),
        top1=same[0] if same else None,
        float_top1=found[0].float_top1 if found else None,
    )


def _largest_within(front: tuple[Solution, ...], bits: int) -> Solution:
    fits = [s for s in front if s.assignment.size_bits <= bits]
    return max(fits or front[:1], key=lambda s: s.assignment.size_bits)


def _select(key: str, options: list[str], index: int) -> None:
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)
    st.selectbox(
        key.upper(),
        options,
        index=index,
        key=key,
        bind="query-params",
        width=310,
        label_visibility="collapsed",
    )


def _swap(first: str) -> None:
    st.session_state[first], st.session_state[B] = st.session_state[B], st.session_state[first]

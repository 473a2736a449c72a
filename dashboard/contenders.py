"""The two sides of Compare: networks, or ways to choose for one network."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from clado_core import SensitivityMatrix, Solution
from dashboard import artifacts, baselines, view_state
from dashboard.artifacts import Artifact, Catalog
from dashboard.figures.compare import Side, side
from dashboard.figures.series import METHOD_NAMES, UNIFORM
from dashboard.rules import Rules
from dashboard.scale import budget_bits
from dashboard.view_state import MODEL, ViewState

VIEW, A, B = "view", "a", "b"
NETWORKS, CHOICES = "Networks", "Choices"
CLADO = "CLADO"
PIN = "Pin "


@dataclass(frozen=True, slots=True)
class Contender:
    """One side.

    Args:
        name: As in the selector.
        matrix: The network's sensitivities.
        reference: The network's best choices over all sizes, which loss is normalised by.
        front: This side's choices over all sizes.
        here: Its choice at the current budget, or the pinned one.
    """

    name: str
    matrix: SensitivityMatrix
    reference: tuple[Solution, ...]
    front: tuple[Solution, ...]
    here: Solution


def controls(catalog: Catalog, /) -> None:
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
        names = list(catalog.artifacts)
        other = next((n for n in names if n != st.session_state[MODEL]), names[0])
        st.markdown(f"**A** {st.session_state[MODEL]}", width="content")
        st.button("Swap", icon=":material/swap_horiz:", on_click=_swap, args=(MODEL,))
        st.markdown("**B**", width="content")
        _select(B, names, names.index(other))


def choices(state: ViewState, /) -> list[str]:
    """Ways to choose for one network, pins included."""
    pins = [f"{PIN}{i + 1}" for i in range(len(state.pins))]
    others = [METHOD_NAMES[method] for method in baselines.methods(state.matrix)]
    return [CLADO, *others, UNIFORM, *pins]


def both(state: ViewState, /) -> tuple[Contender, Contender]:
    """Solve both sides at the current budget, moved into each network's range."""
    known = artifacts.find().artifacts
    if st.session_state[VIEW] == CHOICES:
        first, second = (st.session_state[key] for key in (A, B))
        return _choice(state, first), _choice(state, second)
    other = known[st.session_state[B]]
    return (
        _network(state.artifact, state.rules, state.avg_bits),
        _network(other, state.rules if other == state.artifact else Rules(), state.avg_bits),
    )


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


def _network(artifact: Artifact, rules: Rules, avg_bits: float) -> Contender:
    known = artifacts.answers(artifact, rules)
    asked = budget_bits(known.matrix, avg_bits)
    here = known.quick(max(known.least_bits, min(asked, known.most_bits)), thorough=True)
    front = known.front()
    return Contender(artifact.name, known.matrix, front, front, here)


def _choice(state: ViewState, method: str) -> Contender:
    artifact, rules, bits = state.artifact, state.rules, state.budget_bits
    reference = state.answers.front()
    front, here = reference, state.answers.quick(bits, thorough=True)
    minimized = {METHOD_NAMES[m]: m for m in baselines.methods(state.matrix)}
    if method in minimized:
        front = baselines.front_of(minimized[method], artifact, rules)
        here = baselines.choice_of(minimized[method], artifact, bits, rules)
    elif method == UNIFORM:
        front = tuple(baselines.uniform(state.matrix))
        here = _largest_within(front, bits)
    elif method.startswith(PIN):
        here = state.pins[int(method.removeprefix(PIN)) - 1]
    return Contender(method, state.matrix, reference, front, here)


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

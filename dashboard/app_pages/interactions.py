"""Interactions: which layers hurt each other, and which compensate."""

import streamlit as st

from dashboard.cards.alone import alone_card
from dashboard.cards.heat import heat_card, known_cells
from dashboard.cards.pairs import pair_card, selected_pair, top_table
from dashboard.known import caches, other_methods, uncertainty
from dashboard.state import view_state
from dashboard.theme import percent, signed

state = view_state.current()
names = state.matrix.layers.names
answer = state.answers.quick(state.budget_bits, thorough=True)
chosen = state.answer(thorough=True).assignment


def headline() -> str:
    """What the interactions change, in one sentence."""
    share = caches.diagnosis(state.artifact).cross_layer_share
    terms = f"Cross-layer terms are **{percent(share)}** of the total by magnitude"
    additive = other_methods.diagonal_within(
        state.artifact, state.budget_bits, state.rules, now=False
    )
    if additive is None:
        return f"{terms}."
    changed = len(answer.assignment.changes_from(additive.assignment))
    cost = additive.predicted_loss_increase - answer.predicted_loss_increase
    return (
        f"{terms}; ignoring them "
        f"changes the bit-width of **{changed} of {len(names)}** layers at "
        f"{state.avg_bits:.2f} average bits and costs {signed(cost)} predicted loss."
    )


def banner() -> None:
    """What is known not to have been measured, if anything; the Method page says what is not."""
    found = uncertainty.coverage(state.matrix)
    if (found.complete or found.pairs is None) and not found.noise:
        return
    hatched = "" if found.complete or found.pairs is None else " Those are hatched."
    st.info(found.sentence + hatched, icon=":material/texture:")


waiting = other_methods.front_of(other_methods.DIAGONAL, state.artifact, state.rules) is None


@st.fragment(run_every=1.0 if waiting else None)
def told() -> None:
    """The headline, which is complete once the additive model's choices are searched."""
    st.markdown(headline())


told()
if len(names) < 2:
    st.caption("A network of one layer has no pairs.")
    st.stop()
banner()
pair = selected_pair(state.matrix, chosen)
left, right = st.columns([54, 46])
with left, st.container(border=True, key="card-heat"):
    heat_card(state, pair)
with right:
    with st.container(border=True, key="card-pair"):
        errors = known_cells(state.artifact).errors
        pair_card(state.matrix, pair, errors)
    with st.container(border=True, key="card-pairs"):
        top_table(state.matrix, chosen, pair)
with st.container(border=True, key="card-alone"):
    alone_card(state, answer)

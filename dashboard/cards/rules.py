"""Rules about layers: lock one, tie several, set minimums; each with its price."""

from __future__ import annotations

import streamlit as st

from clado_core import Solution
from dashboard.cards.proofs import POLL_S, owner
from dashboard.rules import NO_RULES, first_and_last
from dashboard.state import prices, view_state
from dashboard.state.view_state import ViewState
from dashboard.theme import signed

LAYER, LOCK, FREE = "clado_layer", "clado_lock", "Free"
OPEN = "clado_rules_open"
TIE, LEAST, LEAST_BITS = "clado_tie", "clado_least", "clado_least_bits"


def lock_row(state: ViewState, /) -> None:
    """Choose a layer, and lock it."""
    names = state.matrix.layers.names
    if st.session_state.get(LAYER) not in names:
        st.session_state[LAYER] = names[0]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.selectbox("Layer", names, key=LAYER, label_visibility="collapsed", width=150)
        layer = st.session_state[LAYER]
        key = f"{LOCK}_{state.artifact.digest[:8]}_{layer}"
        st.session_state[key] = str(dict(state.rules.locks).get(layer, FREE))
        st.segmented_control(
            "Lock at",
            [FREE, *map(str, state.matrix.bit_widths)],
            key=key,
            label_visibility="collapsed",
            on_change=_set_lock,
            args=(state, layer, key),
        )


def price_caption(state: ViewState, answer: Solution, /, *, dragging: bool) -> None:
    """What each lock of the chosen layer costs at this budget; during a drag that waits."""
    if dragging:
        st.caption("Prices follow.")
        return
    layer = st.session_state[LAYER]
    wanted = [state.rules.with_lock(layer, b) for b in state.matrix.bit_widths]
    if st.session_state.get(OPEN):
        wanted += [others for _, others in state.rules.each()]
    searching = prices.search(state, answer, wanted, owner())
    pending = prices.prove(state, answer, wanted, owner()) or searching

    @st.fragment(run_every=POLL_S if pending else None)
    def line() -> None:
        if pending and not prices.are_coming(owner()):
            st.rerun()
        st.caption(price_line(state, answer, layer))

    # The container is of this fragment, whose place a later drag could not find otherwise.
    with st.container():
        line()


def price_line(state: ViewState, answer: Solution, layer: str, /) -> str:
    """What locking the layer at each bit-width adds to the predicted loss."""
    found = prices.lock_prices(state, answer, layer)
    locked = dict(state.rules.locks).get(layer)
    now = answer.assignment.by_layer()[layer]
    told = [f"{b} bits {_price(price.loss)}" for b, price in found.items() if b != now]
    state_now = f"locked at {locked} bits" if locked else f"{now} bits chosen"
    if any(price.pending for price in found.values()):
        return f"{layer}: {state_now}. Prices follow."
    proof = "proven" if all(price.proven for price in found.values()) else "searched, not proven"
    prices_told = " · ".join(told) or "no other"
    return f"{layer}: {state_now}. Predicted loss if locked: {prices_told}; {proof}."


def _price(price: float | None) -> str:
    return "does not fit" if price is None else signed(price if abs(price) > 1e-12 else 0.0)


def rules_popover(state: ViewState, answer: Solution, /) -> None:
    """All rules with their prices, and controls for new ones."""
    # Drawn only while open: it would cost a third of every drag step.
    # The label stays the same, because a popover whose label changes closes.
    popover = st.popover(
        "Rules",
        key=OPEN,
        on_change="rerun",
        icon=":material/rule:",
        help="Locks, ties, minimums and their price",
    )
    if not popover.open:
        return
    with popover:
        _active(state, answer)
        _presets(state)
        _tie_controls(state)
        _least_controls(state)


def _presets(state: ViewState) -> None:
    with st.container(horizontal=True):
        st.button(
            f"First and last at {state.matrix.bit_widths[-1]} bits",
            key="rules-preset",
            icon=":material/lock:",
            on_click=_preset,
            args=(state,),
        )
        st.button(
            "Free all",
            key="rules-free",
            icon=":material/lock_open:",
            disabled=not state.rules.count,
            on_click=view_state.set_rules,
            args=(state, NO_RULES),
        )


def _active(state: ViewState, answer: Solution) -> None:
    """Every rule with its price and a button that drops it."""
    if not state.rules.count:
        st.caption("No rule yet: every layer is free.")
        return
    st.caption("Each price is what dropping that rule alone would save in predicted loss.")
    for i, (text, others) in enumerate(state.rules.each()):
        found = prices.rule_price(state, answer, others)
        price = "price follows" if found.pending else signed(found.loss or 0.0)
        unsure = "" if found.proven or found.pending else ", not proven"
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"{text} · **{price}**{unsure}")
            st.button(
                "Drop",
                key=f"rule-drop-{i}",
                type="tertiary",
                icon=":material/close:",
                on_click=view_state.set_rules,
                args=(state, others),
            )


def _tie_controls(state: ViewState) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.multiselect("Same bits for", state.matrix.layers.names, key=TIE, width=300)
        st.button(
            "Tie",
            key="rules-tie",
            disabled=len(st.session_state.get(TIE, ())) < 2,
            on_click=_tie,
            args=(state,),
        )


def _least_controls(state: ViewState) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("At least", state.matrix.bit_widths[1:], key=LEAST_BITS, width=90)
        st.multiselect("bits for", state.matrix.layers.names, key=LEAST, width=200)
        st.button(
            "Set",
            key="rules-least",
            disabled=not st.session_state.get(LEAST),
            on_click=_least,
            args=(state,),
        )


def _set_lock(state: ViewState, layer: str, key: str) -> None:
    chosen = st.session_state[key]
    bits = None if chosen in (None, FREE) else int(chosen)
    view_state.set_rules(state, state.rules.with_lock(layer, bits))


def _preset(state: ViewState) -> None:
    view_state.set_rules(state, first_and_last(state.matrix, state.rules))


def _tie(state: ViewState) -> None:
    order = state.matrix.layers.names
    names = tuple(sorted(st.session_state[TIE], key=order.index))
    st.session_state[TIE] = []
    view_state.set_rules(state, state.rules.with_tie(names))


def _least(state: ViewState) -> None:
    rules = state.rules
    for name in st.session_state[LEAST]:
        rules = rules.with_least(name, st.session_state[LEAST_BITS])
    st.session_state[LEAST] = []
    view_state.set_rules(state, rules)

"""What a visitor has chosen: widget keys, the controls every page shares, and the link.

Widgets that stand in the URL live in the entry script: bound in a page they would leave the URL
on navigation, and Back would show the defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import streamlit as st

from clado_core import Assignment, SensitivityMatrix, Solution
from clado_core.errors import CladoError
from clado_core.records import names
from dashboard.known import caches
from dashboard.known.answers import Answers
from dashboard.known.catalogue import Artifact, Catalogue
from dashboard.rules import NO_RULES, Rules
from dashboard.scale import Metric, SizeScale, budget_bits, metrics_of, round_up, size_scale
from dashboard.state import by_network
from dashboard.theme import Mode

MODEL, METRIC, MODE = "model", "metric", "mode"
AVG_BITS = "avg_bits"
REVISION = "clado_revision"
OPENED = "clado_opened"
"""An artifact that another page asks to be shown next."""

WRITTEN, NOTE, DRAGGING = "clado_written", "clado_note", "clado_dragging"
CATALOGUE, OPEN = "clado_catalogue", "clado_open"
HELD = "clado_held"
"""((artifact's digest, rules, average bits), pin): where a pin is shown, not the best choice."""
EXPLORE = "explore"
"""Key of the Explore page's fragment."""

MAX_PINS = 5

EXACT, FAST = "Exact", "Fast"
METRIC_CODES = {
    "bits": Metric.AVG_BITS,
    "mb": Metric.MEGABYTES,
    "x": Metric.COMPRESSION,
    "bops": Metric.BOPS,
}
DEFAULT_SHARE = 0.35
"""Where the budget starts, as a share of the range from the smallest to the largest size."""


@dataclass(frozen=True, slots=True)
class ViewState:
    """One visitor's choices, complete and valid for the chosen network.

    Args:
        artifact: The chosen file.
        matrix: Its sensitivities.
        metric: How sizes are shown.
        exact: Whether answers are proven in the background.
        avg_bits: The budget, in average bits per searched weight.
        rules: Wishes about layers.
        answers: What is known under these rules.
        pins: Pinned choices, oldest first.
        mode: Light or dark.
        held: A refined pin that was gone back to, shown instead of the best choice.
    """

    artifact: Artifact
    matrix: SensitivityMatrix
    metric: Metric
    exact: bool
    avg_bits: float
    rules: Rules
    answers: Answers = field(repr=False)
    pins: tuple[Solution, ...] = field(repr=False)
    mode: Mode
    held: Solution | None = field(default=None, repr=False)

    @property
    def scale(self) -> SizeScale:
        """Average bits → the chosen metric."""
        return size_scale(self.matrix, self.metric)

    @property
    def budget_bits(self) -> int:
        """The budget as solvers take it."""
        return budget_bits(self.matrix, self.avg_bits)

    def answer(self, *, thorough: bool) -> Solution:
        """The choice on the screen: the best one known, unless a refined pin was gone back to."""
        if self.held is not None:
            return self.held
        return self.answers.quick(self.budget_bits, thorough=thorough)

    @property
    def reference(self) -> Assignment | None:
        """The choice that differences are counted from: the last pin."""
        return self.pins[-1].assignment if self.pins else None


def controls(found: Catalogue, more: Callable[[], None], /) -> None:
    """Draw the controls that every page shares, and ``more`` at their right."""
    st.session_state[CATALOGUE] = found
    names = list(found.artifacts)
    opened = st.session_state.pop(OPENED, None)
    if opened in names:
        st.session_state[MODEL] = opened
    asked = st.query_params.get(MODEL)
    if asked is not None and asked not in names:
        note(MODEL, f"There is no network “{asked}” here, so {names[0]} is shown.")
    with st.container(horizontal=True, vertical_alignment="center", key="shared-controls"):
        st.selectbox(
            "Network",
            names,
            key=MODEL,
            bind="query-params",
            width=310,
            label_visibility="collapsed",
        )
        st.segmented_control(
            "Size as",
            _metric_codes(found),
            default="bits",
            required=True,
            format_func=lambda code: METRIC_CODES[code].value,
            key=METRIC,
            bind="query-params",
            label_visibility="collapsed",
        )
        st.segmented_control(
            "Solver",
            [EXACT, FAST],
            default=EXACT,
            required=True,
            key=MODE,
            bind="query-params",
            label_visibility="collapsed",
        )
        st.space("stretch")
        more()


def _metric_codes(found: Catalogue) -> list[str]:
    """Those that the chosen network can be read in; another's choice falls back to bits."""
    possible = metrics_of(caches.matrix(found.artifacts[st.session_state[MODEL]]))
    codes = [code for code, metric in METRIC_CODES.items() if metric in possible]
    if st.session_state.get(METRIC, "bits") not in codes:
        st.session_state[METRIC] = "bits"
        note(METRIC, "This network's multiply-accumulates are not known, so no BOPs are shown.")
    return codes


def is_open() -> bool:
    """Whether the chosen network has been looked at before."""
    artifact = _chosen()
    return caches.is_answered(artifact, by_network.rules().get(artifact.digest, NO_RULES))


def _chosen() -> Artifact:
    found: Catalogue = st.session_state[CATALOGUE]
    return found.artifacts[st.session_state[MODEL]]


def current() -> ViewState:
    """The state of this session; call after ``controls`` has run."""
    artifact = _chosen()
    rules = by_network.rules().get(artifact.digest, NO_RULES)
    matrix, answers = _opened(artifact, rules)
    state = ViewState(
        artifact=artifact,
        matrix=matrix,
        metric=METRIC_CODES[st.session_state[METRIC]],
        exact=st.session_state[MODE] == EXACT,
        avg_bits=st.session_state.get(AVG_BITS, 0.0),
        rules=rules,
        answers=answers,
        pins=by_network.pins().get(artifact.digest, ()),
        mode="dark" if st.context.theme.type == "dark" else "light",
    )
    low, high = avg_range(state)
    wanted = state.avg_bits or round(low + DEFAULT_SHARE * (high - low), 1)
    shown = min(max(wanted, low), high)
    where, held = st.session_state.get(HELD, (None, None))
    here = where == (artifact.digest, rules, shown)
    return replace(state, avg_bits=shown, held=held if here else None)


def _opened(artifact: Artifact, rules: Rules) -> tuple[SensitivityMatrix, Answers]:
    """What is open in this session: looking it up again in the caches costs a drag's step more."""
    known = st.session_state.get(OPEN)
    if known is None or known[:2] != (artifact, rules):
        opened = caches.matrix(artifact), caches.answers(artifact, rules)
        known = st.session_state[OPEN] = (artifact, rules, *opened)
    matrix, answers = known[2:]
    return matrix, answers


def avg_range(state: ViewState, /) -> tuple[float, float]:
    """Smallest and largest feasible average under the rules."""
    total = state.matrix.layers.total_weights
    return round_up(state.answers.least_bits / total), round_up(state.answers.most_bits / total)


def set_avg_bits(avg_bits: float, /, *, move_thumb: bool, write_url: bool = True) -> None:
    """Adopt a budget.

    Args:
        avg_bits: Average bits per searched weight.
        move_thumb: Whether the slider must follow; not when the slider itself reported it.
        write_url: Not while a drag goes on.
    """
    st.session_state.pop(NOTE, None)
    adopt(avg_bits, move_thumb=move_thumb, in_url=write_url)


def adopt(avg_bits: float, /, *, move_thumb: bool, in_url: bool = True) -> None:
    """As ``set_avg_bits``, but a note stays."""
    st.session_state[AVG_BITS] = float(avg_bits)
    st.session_state[DRAGGING] = not in_url
    if move_thumb:
        st.session_state[REVISION] = st.session_state.get(REVISION, 0) + 1
    if in_url:
        write_url(avg_bits)


def dragging() -> bool:
    """Whether the budget is being dragged."""
    return bool(st.session_state.get(DRAGGING))


def end_drag() -> None:
    """Whatever redraws the page ends a drag; if it goes on, its next step says so."""
    st.session_state[DRAGGING] = False


def write_url(avg_bits: float, /) -> None:
    """Put the budget into the address."""
    st.session_state[WRITTEN] = st.query_params[AVG_BITS] = f"{round(avg_bits, 4):g}"


def note(about: str, sentence: str) -> None:
    """Kept until the visitor changes something: the first run may be followed by another."""
    st.session_state.setdefault(NOTE, {})[about] = sentence


def pin(solution: Solution, digest: str, /) -> None:
    """Keep a choice as reference; the oldest goes when there are too many."""
    pins = by_network.pins().get(digest, ())
    if not any(kept.assignment == solution.assignment for kept in pins):
        by_network.pins()[digest] = (*pins, solution)[-MAX_PINS:]


def go_back(state: ViewState, pinned: Solution, /) -> None:
    """Go to a pin's size; a refined pin is not the best predicted there, and is itself shown."""
    avg_bits = round_up(pinned.assignment.avg_bits)
    set_avg_bits(avg_bits, move_thumb=True)
    hold(state, pinned, avg_bits)


def hold(state: ViewState, pinned: Solution, avg_bits: float, /) -> None:
    """Show a refined pin at this budget, where the rules allow it, until either changes."""
    allowed = state.rules.problem(state.matrix).is_feasible(pinned.assignment)
    if pinned.method == names.REFINED and allowed:
        st.session_state[HELD] = (state.artifact.digest, state.rules, avg_bits), pinned


def clear_pins(digest: str, /) -> None:
    """Forget all pinned choices of a network."""
    by_network.pins().pop(digest, None)


def set_rules(state: ViewState, rules: Rules, /) -> None:
    """Adopt wishes about layers; ones that contradict are refused with a sentence."""
    st.session_state.pop(NOTE, None)
    try:
        rules.problem(state.matrix)
    except CladoError as problem:
        note("rules", f"{problem} The rules stay as they were.")
        return
    by_network.rules()[state.artifact.digest] = rules
    wanted = replace(state, rules=rules, answers=caches.answers(state.artifact, rules))
    low, high = avg_range(wanted)
    if not low <= state.avg_bits <= high:
        side, at = ("least", low) if state.avg_bits < low else ("most", high)
        note(
            "rules",
            f"With these rules {low:g} to {high:g} average bits are possible: the budget went "
            f"from {state.avg_bits:g} to the {side}, {at:g}.",
        )
        adopt(at, move_thumb=True)

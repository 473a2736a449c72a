"""A slider that reports while it is dragged; ``st.slider`` reports on release only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import streamlit as st

from dashboard.components.plot import Patch
from dashboard.components.served import component, live
from dashboard.figures.spec import Spec, to_json

STEP = 0.05
"""One press of an arrow key, in average bits."""

DRAG_STEP = 0.02
"""What a drag reports is a multiple of this, less than two pixels: answers are shared then."""

HTML = '<div class="slider">\n<input type="range"><div class="ticks"></div></div>'


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark under the slider that the thumb snaps to.

    Args:
        value: Where, in the slider's unit.
        label: A few characters.
        help: Tooltip.
        kind: "uniform" or "knee"; decides the look.
    """

    value: float
    label: str
    help: str
    kind: Literal["uniform", "knee"] = "uniform"


@dataclass(frozen=True, slots=True)
class Budget:
    """What the slider shows.

    Args:
        value: Where the thumb stands after ``revision`` was raised.
        minimum: Left end.
        maximum: Right end.
        ticks: Marks below the track.
        revision: Raise it to move the thumb from Python.
        patches: What this value moves in charts that stand on the page already.
    """

    value: float
    minimum: float
    maximum: float
    ticks: Sequence[Tick]
    revision: int
    patches: Sequence[Patch] = ()

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return self.maximum <= self.minimum


def live_slider(
    label: str,
    shown: Budget,
    *,
    key: str,
    on_move: Callable[[float], None],
    on_commit: Callable[[float], None],
) -> None:
    """Draw it.

    Args:
        label: For screen readers.
        shown: Value, range and marks.
        key: Widget key.
        on_move: Called with each reported value during a drag.
        on_commit: Called when the user lets go or presses a key.
    """
    if not live():
        _plain(label, shown, key, on_commit)
        return

    def reported(name: str, tell: Callable[[float], None]) -> Callable[[], None]:
        def changed() -> None:
            value = st.session_state[key].get(name)
            if value is not None:
                tell(float(value))

        return changed

    component("live_slider", HTML, styled=True)(
        key=key,
        data=to_json(_data(label, shown)).encode(),
        on_value_change=reported("value", on_move),
        on_commit_change=reported("commit", on_commit),
    )


def _data(label: str, shown: Budget) -> Spec:
    return {
        "label": label,
        "value": shown.value,
        "minimum": shown.minimum,
        "maximum": shown.maximum,
        "fixed": shown.fixed,
        "step": STEP,
        "drag": DRAG_STEP,
        "ticks": [asdict(tick) for tick in shown.ticks],
        "revision": shown.revision,
        "patches": [{"key": p.key, "traces": p.traces, "alt": p.alt} for p in shown.patches],
    }


def _plain(label: str, shown: Budget, key: str, on_commit: Callable[[float], None]) -> None:
    plain = f"{key}_plain_{shown.revision}"
    st.slider(
        label,
        shown.minimum,
        max(shown.maximum, shown.minimum + STEP),
        shown.value,
        STEP,
        key=plain,
        label_visibility="collapsed",
        disabled=shown.fixed,
        on_change=lambda: on_commit(float(st.session_state[plain])),
    )

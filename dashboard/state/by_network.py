"""What a session keeps for each network, by the artifact's digest; the last networks only."""

from __future__ import annotations

from typing import TypeVar

import streamlit as st

from clado_core import Solution
from clado_core.records.scheme import BitWidths
from dashboard.known.recent import Recent
from dashboard.rules import Rules

NETWORKS = 32
RULES, PINS = "clado_rules", "clado_pins"
LEFT_OUT, TYPED = "clado_left_out", "clado_typed"
V = TypeVar("V")


def rules() -> Recent[str, Rules]:
    """Wishes about layers."""
    return _kept(RULES)


def pins() -> Recent[str, tuple[Solution, ...]]:
    """Pinned choices, oldest first."""
    return _kept(PINS)


def left_out() -> Recent[str, set[BitWidths]]:
    """Candidates that are not shown."""
    return _kept(LEFT_OUT)


def typed() -> Recent[str, dict[str, str]]:
    """What was typed into each field about a network: Streamlit forgets those that are closed."""
    return _kept(TYPED)


def _kept(key: str) -> Recent[str, V]:
    kept: Recent[str, V] = st.session_state.setdefault(key, Recent(NETWORKS))
    return kept

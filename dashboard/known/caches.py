"""What is computed from an artifact once, and kept for every session.

Streamlit hashes large arrays by sampling, so nothing here is cached by array: the artifact, which
knows its digest, is the key. Every cache has a limit; the entry unused for longest goes first.
"""

from __future__ import annotations

import threading

import streamlit as st

import clado_core as cc
from clado_core.allocation.stored import load_frontier
from clado_core.records.diagnostics import Diagnosis, diagnose
from dashboard.known.answers import Answers
from dashboard.known.catalogue import Artifact
from dashboard.known.recent import Recent
from dashboard.rules import NO_RULES, Rules
from dashboard.workers.searches import is_small

NETWORKS = 16
RULED_NETWORKS = 64
"""Pairs of a network and rules."""
RELATIVES = 2
"""Of so many sets of rules the choices are adapted to new ones: 0.2 s each at 1,000 candidates."""


@st.cache_resource(max_entries=NETWORKS, show_spinner=False)
def matrix(artifact: Artifact, /) -> cc.SensitivityMatrix:
    """The sensitivities of an artifact."""
    return cc.load(artifact.path)


@st.cache_resource(max_entries=NETWORKS, show_spinner=False)
def clipped(artifact: Artifact, /) -> cc.SensitivityMatrix:
    """What the paper minimizes: negative eigenvalues set to zero."""
    return matrix(artifact).project_psd()


@st.cache_resource(max_entries=NETWORKS, show_spinner=False)
def diagnosis(artifact: Artifact, /) -> Diagnosis:
    """Eigenvalues, the weight of cross-layer terms, and monotonicity."""
    return diagnose(matrix(artifact))


def answers(artifact: Artifact, rules: Rules = NO_RULES, /) -> Answers:
    """What is known about a network's best choices under some rules; grows as solvers answer."""
    with _opening():  # the second of two who open the same waits for the first
        known = _answered().get((artifact, rules))
        if known is None:
            known = _answered()[artifact, rules] = _opened(artifact, rules)
    return known


def is_answered(artifact: Artifact, rules: Rules = NO_RULES, /) -> bool:
    """Whether ``answers`` is there already."""
    return (artifact, rules) in _answered()


def _opened(artifact: Artifact, rules: Rules) -> Answers:
    measured = matrix(artifact)
    # The front that may stand beside the artifact was solved without rules.
    stored = None if rules.count else load_frontier(artifact.path, measured)
    known = Answers(measured, rules, stored)
    known.guess(_relatives(artifact))
    if is_small(measured):
        known.sweep()
    return known


def _relatives(artifact: Artifact) -> list[Answers]:
    """Answers for the same network under other rules, those last used first."""
    others = [known for (of, _), known in _answered().latest() if of == artifact]
    return others[:RELATIVES]


@st.cache_resource(show_spinner=False)
def _answered() -> Recent[tuple[Artifact, Rules], Answers]:
    return Recent(RULED_NETWORKS)


@st.cache_resource(show_spinner=False)
def _opening() -> threading.Lock:
    return threading.Lock()

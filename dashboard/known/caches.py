"""What is computed from an artifact once, and kept for every session.

Streamlit hashes large arrays by sampling, so nothing here is cached by array: the artifact, which
knows its digest, is the key. Every cache has a limit; the entry unused for longest goes first.
"""

from __future__ import annotations

import streamlit as st

import clado_core as cc
from clado_core.allocation.stored import load_frontier
from clado_core.records.diagnostics import Diagnosis, diagnose
from dashboard.known.answers import Answers
from dashboard.known.catalogue import Artifact
from dashboard.known.recent import Recent
from dashboard.rules import NO_RULES, Rules

NETWORKS = 16
RULED_NETWORKS = 64
"""Pairs of a network and rules."""


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
    known = _answers(artifact, rules)
    _answered()[artifact, rules] = None
    return known


@st.cache_resource(max_entries=RULED_NETWORKS, show_spinner=False)
def _answers(artifact: Artifact, rules: Rules) -> Answers:
    measured = matrix(artifact)
    # The front that may stand beside the artifact was solved without rules.
    stored = None if rules.count else load_frontier(artifact.path, measured)
    known = Answers(measured, rules, stored)
    known.sweep()
    return known


def is_answered(artifact: Artifact, rules: Rules = NO_RULES, /) -> bool:
    """Whether ``answers`` is there already; for a large network it takes seconds."""
    return (artifact, rules) in _answered()


@st.cache_resource(show_spinner=False)
def _answered() -> Recent[tuple[Artifact, Rules], None]:
    """What ``_answers`` has, which does not tell: as many, forgotten in the same order."""
    return Recent(RULED_NETWORKS)

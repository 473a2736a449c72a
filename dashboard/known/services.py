"""The processes in the background, one of each kind for the whole server."""

from __future__ import annotations

import streamlit as st

from dashboard.workers.measure import MeasureService
from dashboard.workers.refine import RefineService
from dashboard.workers.solve_job import SearchRequest, SolveRequest
from dashboard.workers.solve_service import SEARCHING, SolveService
from dashboard.workers.trials import TrialService


@st.cache_resource(show_spinner=False)
def measure_service() -> MeasureService:
    """The server's one measurement."""
    return MeasureService()


@st.cache_resource(show_spinner=False)
def refine_service() -> RefineService:
    """The server's one choice by measured loss."""
    return RefineService()


@st.cache_resource(show_spinner=False)
def trial_service() -> TrialService:
    """The server's one repair or measurement of choices."""
    return TrialService(on_result=lambda wish, result: wish.keep(result))


@st.cache_resource(show_spinner=False)
def solve_service() -> SolveService[SolveRequest]:
    """The server's one process that proves."""
    return SolveService()


@st.cache_resource(show_spinner=False)
def search_service() -> SolveService[SearchRequest]:
    """The server's one process that searches what is too large to search where a page is drawn."""
    return SolveService(SEARCHING)

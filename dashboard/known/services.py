"""The processes in the background, one of each kind for the whole server."""

from __future__ import annotations

import streamlit as st

from dashboard.workers.measure import MeasureService
from dashboard.workers.refine import RefineService
from dashboard.workers.solve_service import SolveService


@st.cache_resource(show_spinner=False)
def measure_service() -> MeasureService:
    """The server's one measurement."""
    return MeasureService()


@st.cache_resource(show_spinner=False)
def refine_service() -> RefineService:
    """The server's one choice by measured loss."""
    return RefineService()


@st.cache_resource(show_spinner=False)
def solve_service() -> SolveService:
    """The server's one solver process."""
    return SolveService()

"""The dashboard's charts in a notebook: a matrix, a solution or a frontier as a Plotly figure.

Needs plotly alone, no Streamlit and no server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clado_core import BudgetGrid, Frontier, InputError, SensitivityMatrix, Solution
from dashboard.figures.bits import bits_figure, bits_info
from dashboard.figures.budget_grid import grid_figure, grid_info
from dashboard.figures.cells import interaction_info
from dashboard.figures.interaction import interaction_figure
from dashboard.figures.pareto import ParetoInfo, background, pareto_figure
from dashboard.figures.series import HERE, PINNED, curve
from dashboard.figures.spec import Spec
from dashboard.scale import Metric, SizeScale
from dashboard.theme import Mode, palette

if TYPE_CHECKING:
    import plotly.graph_objects as go

HEIGHT = 420
"""Pixels."""


def plot(
    shown: SensitivityMatrix | Solution | Frontier | BudgetGrid, /, *, mode: Mode = "light"
) -> go.Figure:
    """Draw what the dashboard draws of it.

    Args:
        shown: A matrix (its cross-layer terms), a solution (bits per layer), a frontier (predicted
            loss over average bits) or a grid of sizes and limits on bit operations.
        mode: "light" or "dark".

    Raises:
        InputError: It is none of these.
    """
    import plotly.graph_objects as go

    figure = go.Figure(_spec(shown, mode))
    background_colour = palette(mode).background
    return figure.update_layout(
        paper_bgcolor=background_colour, plot_bgcolor=background_colour, height=HEIGHT
    )


def _spec(shown: object, mode: Mode) -> Spec:
    if isinstance(shown, SensitivityMatrix):
        return interaction_figure(interaction_info(shown), mode)
    if isinstance(shown, Solution):
        menu = tuple(sorted(set(shown.assignment.bits)))
        return bits_figure(bits_info(shown.assignment, menu), mode)
    if isinstance(shown, Frontier):
        return pareto_figure(_front_info(shown), mode)
    if isinstance(shown, BudgetGrid) and shown.other == "budget_bops":
        weights = shown.found[0].assignment.layers.total_weights
        return grid_figure(grid_info(shown.to_json(), weights), mode)
    raise InputError(
        "A SensitivityMatrix, Solution, Frontier or BudgetGrid of bit operations can be drawn, not "
        f"{type(shown).__name__}."
    )


def _front_info(frontier: Frontier) -> ParetoInfo:
    """The points that no other matches, in average bits, without a current choice."""
    kept = [frontier.points[i] for i in frontier.non_dominated().nonzero()[0]]
    scale = SizeScale(
        float_bytes=kept[0].assignment.layers.float_bytes,
        bit_widths=tuple(sorted({b for point in kept for b in point.assignment.bits})),
        metric=Metric.AVG_BITS,
    )
    known = background(kept, scale, knee=frontier.points[frontier.knee()])
    return ParetoInfo(
        front=known.front,
        baselines=(),
        pins=curve(PINNED, [], scale),
        here=curve(HERE, [], scale),
        knee=known.knee,
        axis_title=scale.axis_title,
        proven=known.proven,
        bits=known.bits,
        menu=scale.bit_widths,
    )

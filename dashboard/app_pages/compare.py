"""Compare: two networks, or two ways to choose for one.

Both sides share the axes of each chart, so a zoom holds for both.
"""

import streamlit as st

from clado_core.records.trust import doubt, kind_of_doubt
from dashboard.cards import sides
from dashboard.cards.chart import Chart, draw_chart
from dashboard.cards.sides import Contender
from dashboard.components import STEP
from dashboard.figures.compare import (
    CompareInfo,
    bits_rows,
    compare_alt,
    fronts_figure,
    fronts_rows,
    paired_bits_figure,
)
from dashboard.figures.compare_measured import measured_alt, measured_figure, measured_rows
from dashboard.scale import Metric, size_scale
from dashboard.state import view_state
from dashboard.theme import accuracy, megabytes, number, signed

HEIGHT = 310


def kpi_rows(a: Contender, b: Contender) -> list[dict[str, str]]:
    """Numbers of both choices and their differences, B − A."""

    def smaller(c: Contender) -> float:
        scale = size_scale(c.matrix, Metric.COMPRESSION)
        return scale.of_bytes(c.here.assignment.size_bytes)

    loss = [c.here.predicted_loss_increase for c in (a, b)]
    size = [c.here.assignment.size_bytes for c in (a, b)]
    average = [c.here.assignment.avg_bits for c in (a, b)]
    times = [smaller(c) for c in (a, b)]
    against = [kind_of_doubt(doubt(c.matrix, c.here.assignment.bits)) for c in (a, b)]
    change = "" if any(against) else signed(loss[1] - loss[0])
    said = [f"{signed(x)}{f' ({d})' if d else ''}" for x, d in zip(loss, against, strict=True)]
    rows = [
        *accuracy_rows(a, b),
        ("Predicted loss increase", *said, change),
        ("File size", *map(megabytes, size), f"{signed((size[1] - size[0]) / 1e6)} MB"),
        (
            "Average bits",
            *(f"{x:.3f}" for x in average),
            f"{average[1] - average[0]:+.3f}".replace("-", "−"),
        ),
        ("Times smaller than float32", *(f"{number(x)}×" for x in times), ""),
        ("Layers", str(a.matrix.n_layers), str(b.matrix.n_layers), ""),
    ]
    if a.matrix.layers.names == b.matrix.layers.names:
        changed = len(b.here.assignment.changes_from(a.here.assignment))
        rows.append(("Layers that differ", "", "", str(changed)))
    return [{"": w, "A": x, "B": y, "B − A": d} for w, x, y, d in rows]


def accuracy_rows(a: Contender, b: Contender) -> list[tuple[str, str, str, str]]:
    """Measured accuracy of both choices, where one of them was run."""
    if a.top1 is None and b.top1 is None:
        return []
    difference = ""
    if a.top1 is not None and b.top1 is not None:
        difference = f"{100 * (b.top1 - a.top1):+.1f} points".replace("-", "−")
    label = f"Top-1, measured as {a.measured_as}"
    of_a, of_b = ("not measured" if c.top1 is None else accuracy(c.top1) for c in (a, b))
    return [(label, of_a, of_b, difference)]


state = view_state.current()
sides.follow_searches(state)
first, second = sides.both(state)
low, high = view_state.avg_range(state)
st.slider(
    "Budget for both, in average bits per weight",
    low,
    max(high, low + STEP),
    round(state.avg_bits, 4),
    STEP,
    key="compare_budget",
    disabled=high <= low,
    on_change=lambda: view_state.set_avg_bits(st.session_state.compare_budget, move_thumb=True),
)
measured_once = (first.matrix.name, first.matrix.provenance.loss) == (
    second.matrix.name,
    second.matrix.provenance.loss,
)
if not measured_once:
    weights = {each.matrix.provenance.weights_sha256 for each in (first, second)}
    one_network = len(weights) == 1 and None not in weights
    about = "Two measurements of one network" if one_network else "Different networks"
    st.caption(
        f"{about}: each loss is shown as a fraction of its own range, each size as a fraction of "
        "its own largest, so shapes compare and levels do not."
    )
info = CompareInfo(sides.normalised(first), sides.normalised(second))
fronts = Chart(
    title="Fronts on normalised axes",
    key="compare_fronts",
    figure=lambda: fronts_figure(info, state.mode),
    alt=compare_alt(info),
    rows=lambda: fronts_rows(info),
    help="0 and 1 are the smallest and largest predicted loss of each network's own front.",
)
depths = Chart(
    title="Bits by depth",
    key="compare_bits",
    figure=lambda: paired_bits_figure(info, state.mode),
    alt=f"Bit-widths by depth of {first.name} upwards and {second.name} downwards.",
    rows=lambda: bits_rows(info),
    help="A upwards, B downwards; where both have the same layers, those that differ are outlined.",
)
left, right = st.columns([52, 48])
with left, st.container(border=True, key="card-fronts"):
    draw_chart(fronts, height=HEIGHT)
with right, st.container(border=True, key="card-depths"):
    draw_chart(depths, height=HEIGHT)
first_runs, second_runs = sides.measured_of(first), sides.measured_of(second)
shown = [s for s in (first_runs, second_runs) if s is not None]
if shown:
    place, numbers = st.columns([52, 48])
    measured = Chart(
        title=f"Accuracy, measured as {first.measured_as}",
        key="compare_measured",
        figure=lambda: measured_figure(first_runs, second_runs, state.mode),
        alt=measured_alt(shown),
        rows=lambda: measured_rows(shown),
        help="The quantized networks were run on held-out samples; bars are 95 % intervals, dotted "
        "lines the float networks.",
    )
    with place, st.container(border=True, key="card-measured"):
        draw_chart(measured, height=HEIGHT)
else:
    numbers = st.container()
with numbers, st.container(border=True, key="card-numbers"):
    st.markdown("**In numbers**")
    st.table(kpi_rows(first, second), hide_index=True)

"""Draws the README's figure of the evidence: ``python -m tests.e2e.evidence_picture``.

One panel per network and setting: measured top-1 on all held-out images against average bits.
"""

from __future__ import annotations

import sys
from pathlib import Path

import plotly.graph_objects as go
from playwright.sync_api import sync_playwright
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from clado_core.evidence import Evidence
from dashboard.figures.accuracy import NAMES
from dashboard.theme import Mode, Palette, palette, template
from tests.conftest import ROOT
from tests.e2e.conftest import FLAGS, chromium
from tests.evidence_table import KL, label, setting, stored_evidence

SHIPPED = {"clado-repaired": "CLADO, repaired", "uniform": "Uniform, repaired"}
"""Drawn as repaired, with open marks, where evidence has it."""
DRAWN = ("clado-refined", "clado", "diagonal", "hawq", "mpqco", "uniform")
PANEL_PX = (460, 330)
COLUMNS = 3
SHOWN_BITS = (1.9, 4.6)
"""Above these, every method is as good as the float network."""


def figure(several: list[Evidence], mode: Mode, /) -> go.Figure:
    """All panels; bars are 95 % intervals."""
    colours = palette(mode)
    colour = dict(
        zip(
            DRAWN,
            (
                colours.accent,
                colours.front,
                colours.baseline,
                colours.third,
                colours.fourth,
                colours.uniform,
            ),
            strict=True,
        )
    )
    columns = min(COLUMNS, len(several))
    rows = -(-len(several) // columns)
    drawn = make_subplots(
        rows,
        columns,
        subplot_titles=[f"{label(e)} (float {e.float_top1:.1%})" for e in several],
        horizontal_spacing=0.08,
        vertical_spacing=0.3 / max(rows, 2),
    )
    for k, evidence in enumerate(several):
        place = {"row": k // columns + 1, "col": k % columns + 1}
        drawn.add_hline(100 * evidence.float_top1, line={"dash": "dot", "width": 1}, **place)
        for method, name in SHIPPED.items():
            _add_shipped(drawn, evidence, method, name, colours, place)
        for method in DRAWN:
            some = evidence.of(method)
            drawn.add_scatter(
                x=[each.choice.avg_bits for each in some],
                y=[100 * each.top1 for each in some],
                error_y={
                    "array": [100 * (each.ci95[1] - each.top1) for each in some],
                    "arrayminus": [100 * (each.top1 - each.ci95[0]) for each in some],
                    "thickness": 1,
                    "width": 2,
                },
                name=NAMES[method],
                legendgroup=method,
                showlegend=k == 0,
                mode="markers" if method == "uniform" else "lines+markers",
                marker={"color": colour[method], "size": 6},
                line={"color": colour[method], "width": 1.5},
                **place,
            )
    drawn.update_annotations(font_size=14)
    drawn.update_xaxes(title_text="Average bits per weight", range=SHOWN_BITS)
    drawn.update_yaxes(title_text="Measured top-1 (%)")
    drawn.update_layout(
        template=template(mode),
        paper_bgcolor=colours.background,
        width=columns * PANEL_PX[0] + 200 * (columns == 1),
        height=rows * PANEL_PX[1] + 60,
        margin={"l": 60, "r": 20, "t": 70, "b": 50},
        legend={"y": 1 + 45 / (rows * PANEL_PX[1])},
    )
    return drawn


def _add_shipped(
    drawn: go.Figure,
    evidence: Evidence,
    method: str,
    name: str,
    colours: Palette,
    place: dict[str, int],
) -> None:
    """One method's choices as they are shipped."""
    shipped = [(o.choice.avg_bits, o.repaired) for o in evidence.of(method) if o.repaired]
    if not shipped:
        return
    colour = colours.uniform if method == "uniform" else colours.accent
    first = not any(trace.legendgroup == name for trace in drawn.data)
    drawn.add_scatter(
        x=[bits for bits, _ in shipped],
        y=[100 * repaired.top1 for _, repaired in shipped],
        name=name,
        legendgroup=name,
        showlegend=first,
        mode="markers" if method == "uniform" else "lines+markers",
        marker={"color": colour, "size": 8, "symbol": "circle-open", "line": {"width": 2}},
        line={"color": colour, "width": 2.5},
        **place,
    )


def main(source: Path, folder: Path) -> None:
    """Draw it in both modes."""
    several = [e for e in stored_evidence(source) if not setting(e).endswith(KL)]
    if not several:
        sys.exit(f"There is no evidence in {source}.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        modes: tuple[Mode, ...] = ("light", "dark")
        for mode in modes:
            drawn = figure(several, mode)
            page = browser.new_page(
                viewport={"width": drawn.layout.width, "height": drawn.layout.height},
                device_scale_factor=2,
            )
            page.set_content("<body style='margin:0'><div id='chart'></div></body>")
            page.add_script_tag(content=get_plotlyjs())
            page.evaluate(
                "([data, layout]) => Plotly.newPlot('chart', data, layout, {staticPlot: true})",
                [drawn.to_plotly_json()["data"], drawn.to_plotly_json()["layout"]],
            )
            page.screenshot(path=folder / f"evidence-{mode}.png")
        browser.close()


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "assets",
        Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "assets" / "screenshots",
    )

"""The chosen configuration as one HTML file that needs nothing else: charts, layers, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import plotly

from clado_core import SensitivityMatrix, Solution
from clado_core.records.coverage import coverage
from clado_core.records.float_parts import NOT_RECORDED, grouped, parts_to_json
from clado_core.records.trust import doubt
from dashboard.figures.bits import bits_alt, bits_figure, bits_info
from dashboard.figures.cells import interaction_alt, interaction_info
from dashboard.figures.interaction import interaction_figure
from dashboard.figures.pareto import Background, pareto_alt, pareto_figure, pareto_info
from dashboard.figures.spec import Spec, to_json
from dashboard.scale import Metric, size_scale
from dashboard.theme import megabytes, number, palette, percent, signed

HEIGHT = 380

STYLE = """
body { font: 15px/1.5 "Source Sans", "Segoe UI", Arial, sans-serif; color: %(text)s;
  max-width: 1080px; margin: 2rem auto; padding: 0 1rem; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { border: 1px solid #dcdbd7; padding: .25rem .6rem; text-align: left }
td.n { text-align: right } figure { margin: 0 } p.note { color: %(muted)s }
"""


@dataclass(frozen=True, slots=True)
class ReportInfo:
    """Everything the report tells.

    Args:
        matrix: The network's sensitivities.
        answer: The chosen bit-widths, with their proof.
        known: The front and its baselines, in megabytes.
        digest: Of the artifact.
        status: The proof in words.
        link: Address of the choice, or "".
    """

    matrix: SensitivityMatrix
    answer: Solution
    known: Background
    digest: str
    status: str
    link: str


def report_html(info: ReportInfo, /) -> bytes:
    """Write the file; Plotly's script is part of it, so it opens offline."""
    charts = _charts(info)
    name = escape(info.matrix.name)
    figures = "\n".join(
        f'<h2>{escape(title)}</h2><figure role="figure" aria-label="{escape(alt)}">'
        f'<div id="chart{i}" style="height:{HEIGHT}px"></div></figure><p class="note">'
        f"{escape(alt)}</p>"
        for i, (title, alt, _) in enumerate(charts)
    )
    calls = "\n".join(
        f"draw('chart{i}', {_in_script(to_json(spec))})" for i, (_, _, spec) in enumerate(charts)
    )
    script = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_text("utf-8")
    colours = palette("light")
    parts = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}: bit-widths'
        f"</title><style>{STYLE % {'text': colours.text, 'muted': colours.muted}}</style></head>",
        f"<body><h1>{name}: chosen bit-widths</h1>",
        _summary(info),
        figures,
        "<h2>Bits per layer</h2>",
        _layers(info),
        "<h2>Stays float32</h2>",
        _left_float(info),
        "<h2>Where the numbers come from</h2>",
        _provenance(info),
        '<p class="note">Predicted: half of x\'Gx, a quadratic model; the quantized network itself '
        "was not run for these numbers. MB means 10⁶ bytes. Smaller, not automatically faster.</p>",
        f"<script>{_in_script(script)}</script><script>",
        "function draw(id, f) { Plotly.newPlot(id, f.data, {...f.layout, autosize: true}, "
        "{displaylogo: false, responsive: true, "
        "modeBarButtons: [['toImage', 'zoom2d', 'pan2d', 'resetScale2d']]}) }",
        calls,
        "</script></body></html>",
    )
    return "\n".join(parts).encode()


def _charts(info: ReportInfo) -> list[tuple[str, str, Spec]]:
    matrix, chosen = info.matrix, info.answer.assignment
    pareto = pareto_info(info.known, info.answer, size_scale(matrix, Metric.MEGABYTES))
    bits = bits_info(chosen, matrix.bit_widths)
    charts = [
        ("Predicted loss against size", pareto_alt(pareto), pareto_figure(pareto, "light")),
        ("Bit-widths in network order", bits_alt(bits), bits_figure(bits, "light")),
    ]
    if matrix.n_layers > 1:
        cells = interaction_info(matrix)
        drawn = interaction_figure(cells, "light")
        charts.append(("Cross-layer terms", interaction_alt(cells), drawn))
    return charts


def _summary(info: ReportInfo) -> str:
    chosen, answer = info.answer.assignment, info.answer
    smaller = size_scale(info.matrix, Metric.COMPRESSION).of_bytes(chosen.size_bytes)
    gap = "not known" if answer.gap is None else percent(answer.gap) if answer.gap else "0"
    rows = [
        ("Average bits", f"{chosen.avg_bits:.3f}"),
        ("File size", f"{megabytes(chosen.size_bytes)}, {number(smaller)}× smaller than float32"),
        ("Predicted loss increase", signed(answer.predicted_loss_increase)),
        *((("Doubt", against),) if (against := doubt(info.matrix, chosen.bits)) else ()),
        ("Proof", f"{info.status} Gap: {gap}."),
    ]
    if info.link:
        rows.append(("Link", info.link))
    return _table(("", ""), rows)


def _layers(info: ReportInfo) -> str:
    rows = [
        (layer.name, layer.kind, f"{layer.n_weights:,}", str(b), f"{layer.weight_bytes(b):,}")
        for layer, b in zip(info.matrix.layers.layers, info.answer.assignment.bits, strict=True)
    ]
    return _table(("Layer", "Kind", "Weights", "Bits", "Bytes"), rows, right_from=2)


def _left_float(info: ReportInfo) -> str:
    layers, size = info.matrix.layers, info.answer.assignment.size_bytes
    parts = parts_to_json(layers.float_parts, size)
    if parts is None:
        what = f"{megabytes(layers.other_bytes)}; what it is was {NOT_RECORDED}."
        return f'<p class="note">{escape(what)}</p>'
    rows = [
        (row["name"], row["kind"], row["why"], f"{row['bytes']:,}", percent(row["share"]))
        for row in grouped(parts)
    ]
    return _table(("Name", "Kind", "Why", "Bytes", "Share of the file"), rows, right_from=3)


def _provenance(info: ReportInfo) -> str:
    source = info.matrix.provenance
    values = {
        "Network": source.model,
        "Data": source.data,
        "Samples": source.n_samples,
        "Split": source.split,
        "Seed": source.seed,
        "Estimator": source.estimator,
        "Entries": coverage(info.matrix).sentence,
        "Loss": source.loss,
        "Measured": source.created,
        "Artifact (SHA-256)": info.digest,
        "Versions": ", ".join(f"{k} {v}" for k, v in source.versions.items()) or None,
    }
    return _table(
        ("", ""), [(k, "not recorded" if v is None else str(v)) for k, v in values.items()]
    )


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, right_from: int | None = None
) -> str:
    def cell(i: int, text: str) -> str:
        kind = ' class="n"' if right_from is not None and i >= right_from else ""
        return f"<td{kind}>{escape(text)}</td>"

    top = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(
        f"<tr>{''.join(cell(i, text) for i, text in enumerate(row))}</tr>" for row in rows
    )
    return f"<table>{f'<tr>{top}</tr>' if any(head) else ''}{body}</table>"


def _in_script(text: str) -> str:
    """Nothing inside may end the script element."""
    return text.replace("</", "<\\/")

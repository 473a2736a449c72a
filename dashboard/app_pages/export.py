"""Export: look at the chosen configuration as a file and take it away."""

from pathlib import Path

import streamlit as st

from clado_core.export import FORMATS, Configuration, file_name
from dashboard import links, view_state
from dashboard.cards.front import front_background
from dashboard.cards.status import status_chip
from dashboard.report import ReportInfo, report_html
from dashboard.scale import Metric
from dashboard.theme import megabytes, signed

PREVIEW_LINES = 400

state = view_state.current()
answer = state.answers.quick(state.budget_bits, thorough=True)
configuration = Configuration(
    matrix=state.matrix,
    assignment=answer.assignment,
    solution=answer,
    artifact_sha256=state.artifact.digest,
    pins=dict(state.rules.locks),
    budgets={"budget_bits": state.budget_bits},
)


def apply_code(name: str) -> str:
    """Python that reads the exported JSON back."""
    return (
        "import clado_core as cc\n"
        "from clado_core.assignment_file import read_assignment\n\n"
        f'matrix = cc.load("{Path(state.artifact.path).name}")\n'
        "chosen = read_assignment(\n"
        f'    "{name}", matrix\n'
        ")\n"
        "print(chosen.by_layer())"
    )


st.markdown(
    f"**{state.artifact.name}** at {answer.assignment.avg_bits:.2f} average bits, "
    f"{megabytes(answer.assignment.size_bytes)} (10⁶ bytes), predicted loss "
    f"{signed(answer.predicted_loss_increase)}."
)
status_chip(state, answer)
left, right = st.columns([38, 62])
with left, st.container(border=True):
    st.markdown("**File**")
    name = st.radio(
        "Format",
        list(FORMATS),
        captions=[FORMATS[key].keeps for key in FORMATS],
        format_func=str.upper,
        key="export_format",
        label_visibility="collapsed",
    )
    chosen = FORMATS[name]
    file = file_name(configuration, chosen)
    st.download_button(
        "Download",
        data=lambda: chosen.render(configuration),
        file_name=file,
        mime=chosen.mime,
        on_click="ignore",
        # On the dark accent white text would be too faint.
        type="primary" if state.mode == "light" else "secondary",
        icon=":material/download:",
        shortcut="E",
    )
    st.markdown(f"`{file}`")
    st.caption(
        "Smaller, not automatically faster: speed depends on what the target's kernels do with "
        "mixed bit-widths."
    )
with left, st.container(border=True):
    st.markdown("**Report**")
    st.caption("Charts, layers and provenance in one HTML file (5 MB) that opens offline.")

    def report() -> bytes:
        """Written when it is asked for."""
        known = front_background(state, Metric.MEGABYTES)
        status = answer.status.value
        address = links.link(state)
        return report_html(
            ReportInfo(state.matrix, answer, known, state.artifact.digest, status, address)
        )

    st.download_button(
        "Download report",
        data=report,
        file_name=str(Path(file).with_suffix(".html")),
        mime="text/html",
        on_click="ignore",
        key="export-report",
        icon=":material/description:",
    )
with left, st.container(border=True):
    st.markdown("**Repeat it on the command line**")
    rules = state.rules
    locks = "".join(f" --pin {layer}={bits}" for layer, bits in rules.locks)
    locks += "".join(f" --tie {','.join(group)}" for group in rules.ties)
    locks += "".join(f" --min-bits {layer}={bits}" for layer, bits in rules.least)
    st.code(
        f"python -m clado_core solve {state.artifact.path} \\\n"
        f"    --avg-bits {state.avg_bits:g}{locks} --json",
        language=None,
        wrap_lines=True,
    )
    st.markdown("**Or in Python**")
    json_file = file if name == "json" else file_name(configuration, FORMATS["json"])
    st.code(apply_code(json_file), language=None, wrap_lines=True)
with right, st.container(border=True):
    st.markdown("**Preview**")
    text = chosen.render(configuration).decode("utf-8", errors="replace")
    lines = text.splitlines()
    with st.container(height=590, border=False, key="preview"):
        # No syntax colours: some are too faint, and long files take long.
        st.code("\n".join(lines[:PREVIEW_LINES]), language=None, wrap_lines=True)
    if len(lines) > PREVIEW_LINES:
        st.caption(f"The first {PREVIEW_LINES} of {len(lines)} lines.")

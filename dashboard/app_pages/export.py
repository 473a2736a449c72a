"""Export: look at the chosen configuration as a file and take it away."""

import streamlit as st

from clado_core.exports import FORMATS, Configuration, file_name
from clado_core.records.trust import doubt
from dashboard.cards.export import (
    apply_code,
    capability_card,
    choose_target,
    choose_weights,
    contents_card,
    export_command,
    file_card,
    repair_card,
    solve_command,
)
from dashboard.cards.front import front_background
from dashboard.cards.measured import measured_text
from dashboard.cards.repair import repaired_of
from dashboard.cards.status import status_chip
from dashboard.figures.report import ReportInfo, report_html
from dashboard.scale import Metric
from dashboard.state import links, view_state
from dashboard.theme import megabytes, signed

state = view_state.current()
answer = state.answer(thorough=True)
path = state.artifact.path
configuration = Configuration(
    matrix=state.matrix,
    assignment=answer.assignment,
    solution=answer,
    artifact_sha256=state.artifact.digest,
    pins=dict(state.rules.locks),
    rules=state.rules.problem(state.matrix).rules,
    budgets={"budget_bits": state.budget_bits},
)

measured = measured_text(state, answer)
st.markdown(
    f"**{state.artifact.name}** at {answer.assignment.avg_bits:.2f} average bits, "
    f"{megabytes(answer.assignment.size_bytes)} (10⁶ bytes), predicted loss "
    f"{signed(answer.predicted_loss_increase)}{f'; {measured}' if measured else ''}."
)
if against := doubt(state.matrix, answer.assignment.bits):
    st.caption(f":red[{against}]")
status_chip(state, answer)
left, right = st.columns([38, 62])
with left, st.container(border=True):
    st.markdown("**File**")
    target, job = choose_target(configuration)
    repaired = choose_weights(target, repaired_of(state, answer.assignment))
    written = file_card(state.artifact, target, job, state.mode, repaired=repaired)
    st.caption(
        "Smaller, not automatically faster: speed depends on what the target's kernels do with "
        "mixed bit-widths."
    )
with left, st.container(border=True, key="card-repair"):
    repair_card(state, configuration)
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
        file_name=f"{file_name(configuration, target).removesuffix(target.suffix)}.html",
        mime="text/html",
        on_click="ignore",
        key="export-report",
        icon=":material/description:",
    )
with left, st.container(border=True):
    st.markdown("**Repeat it on the command line**")
    json_file = file_name(configuration, FORMATS["json"])
    wishes = "".join(f" {part}" for part in state.rules.options())
    if state.held is None:
        choice, before = "chosen.json", solve_command(path, state.avg_bits, wishes)
    else:
        st.caption("A refined choice starts from its own file: download it as JSON first.")
        choice, before = json_file, ""
    lines = before + export_command(path, choice, target, job, repaired=repaired)
    st.code(lines, language=None, wrap_lines=True)
    st.markdown("**Or in Python**")
    st.code(apply_code(path, json_file), language=None, wrap_lines=True)
with right, st.container(border=True):
    capability_card(target, target.capability(job))
with right, st.container(border=True):
    contents_card(target, job, written)

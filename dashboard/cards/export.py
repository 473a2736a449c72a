"""The Export page's cards: the file, what its target does with the choice, and what is in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from clado_core.exports import FORMATS, Capability, Configuration, ExportJob, Format, file_name
from clado_core.exports.capability import Handling
from clado_core.exports.format import WITHOUT_WEIGHTS
from dashboard.cards import trials
from dashboard.cards.network_fields import known_words
from dashboard.cards.repair import measured_words, repair_contents
from dashboard.known.catalogue import Artifact
from dashboard.state.view_state import ViewState
from dashboard.theme import Mode, button_kind
from dashboard.workers.export import ExportedFile, export_file
from dashboard.workers.repaired import RepairedFile
from dashboard.workers.trials import TrialState

AS_REPAIRED, AS_ROUNDED = "As repaired", "As rounded"
PREVIEW_LINES = 400
PREVIEW_HEIGHT, REPORT_HEIGHT = 480, 230
SAME_SIZE = 0.01
"""A file within 1 % of the promise keeps it."""
KEPT = "clado_exported"
"""The session's last file that was written in a process of its own."""


def choose_target(configuration: Configuration, /) -> tuple[Format, ExportJob]:
    """Target and, where it lacks a form for some layers, the visitor's leave to widen them."""
    name = st.selectbox("Format", list(FORMATS), key="export_format", label_visibility="collapsed")
    format = FORMATS[name]
    st.caption(format.keeps)
    job = ExportJob(configuration)
    if format.capability(job).refused:
        widen = st.checkbox(
            "Give layers without a form there more bits, or leave them float32",
            key=f"export_upcast_{name}",
        )
        job = ExportJob(configuration, upcast=widen)
    return format, job


def choose_weights(format: Format, repaired: RepairedFile | None, /) -> RepairedFile | None:
    """What the file will hold: the repaired weights, or, as None, those rounded to nearest."""
    if not format.holds_weights:
        st.caption(WITHOUT_WEIGHTS)
        return None
    if repaired is None:
        st.caption("Weights as rounded to nearest: this choice was not repaired yet.")
        return None
    kind = st.segmented_control(
        "Weights",
        [AS_REPAIRED, AS_ROUNDED],
        default=AS_REPAIRED,
        required=True,
        key="export_weights",
        label_visibility="collapsed",
    )
    if kind != AS_REPAIRED:
        return None
    if said := ", ".join(filter(None, (repaired.recipe.words, measured_words(repaired)))):
        st.caption(f"Repaired, {said}.")
    return repaired


def file_card(
    artifact: Artifact,
    format: Format,
    job: ExportJob,
    mode: Mode,
    /,
    *,
    repaired: RepairedFile | None = None,
) -> ExportedFile | None:
    """Offer the file; returns it where it has been written in a process of its own.

    Args:
        artifact: Of the network.
        format: The target.
        job: The choice.
        mode: Light or dark.
        repaired: Whose weights go into it; those rounded to nearest where None.
    """
    name = file_name(job.configuration, format)
    refused = format.capability(job).refused
    if refused:
        layers = ", ".join(chosen.layer.name for chosen, _ in refused)
        st.warning(f"{format.name} has no form for {layers}.", icon=":material/block:")
        return None
    if not format.needs_network and not format.writes_with:
        _download(lambda: format.contents(job), name, format.mime, mode)
        return None
    written = _written(artifact, format, job, mode, repaired)
    if written is not None:
        _download(written.data, _marked(name, format, repaired), format.mime, mode)
    return written


def _marked(name: str, format: Format, repaired: RepairedFile | None) -> str:
    """The file's name says that it is of a repaired network."""
    return (
        name if repaired is None else f"{name.removesuffix(format.suffix)}_repaired{format.suffix}"
    )


def _written(
    artifact: Artifact,
    format: Format,
    job: ExportJob,
    mode: Mode,
    repaired: RepairedFile | None,
) -> ExportedFile | None:
    configuration = job.configuration
    whose = None if repaired is None else (repaired.path, repaired.path.stat().st_mtime_ns)
    chosen = (configuration.assignment.bits, format.name, job.upcast, whose)
    key = (configuration.artifact_sha256, *chosen)
    kept = st.session_state.get(KEPT)
    if kept is not None and kept[0] == key:
        found: ExportedFile = kept[1]
        return found
    if not st.button("Write the file", type=button_kind(mode), icon=":material/build:"):
        why = "It needs the network's weights" if format.needs_network else "It needs a library"
        st.caption(f"{why}: a few seconds in a process of its own.")
        return None
    with st.spinner(f"Writing {format.name}"):
        written = export_file(
            artifact.path,
            configuration,
            format,
            upcast=job.upcast,
            repaired=None if repaired is None else repaired.path,
            network=known_words(artifact),
        )
    if isinstance(written, str):
        st.warning(written, icon=":material/error:")
        return None
    st.session_state[KEPT] = (key, written)
    st.rerun()


def _download(data: bytes | Callable[[], bytes], name: str, mime: str, mode: Mode) -> None:
    st.download_button(
        "Download",
        data=data,
        file_name=name,
        mime=mime,
        on_click="ignore",
        type=button_kind(mode),
        icon=":material/download:",
        shortcut="E",
    )
    st.markdown(f"`{name}`")


def capability_card(format: Format, report: Capability, /) -> None:
    """What the target does with each layer of this choice."""
    st.markdown(f"**What {format.name} does with this choice**")
    told = [f"{n} {handling.value}" for handling, n in report.counts().items()]
    st.markdown(f"Of {len(report.layers)} layers: {', '.join(told)}.")
    if set(report.counts()) != {Handling.RUNS}:
        rows = zip(report.layers, report.fates, strict=True)
        st.dataframe(
            [
                {
                    "layer": chosen.layer.name,
                    "bits": chosen.bits,
                    "there": fate.stored,
                    "why": fate.why or fate.handling.value,
                }
                for chosen, fate in rows
            ],
            hide_index=True,
            height=REPORT_HEIGHT,
        )
    verified = format.to_json()["verified"]
    st.caption(" ".join([f"{verified[:1].upper()}{verified[1:]}.", *report.notes]))


def repair_card(state: ViewState, configuration: Configuration, /) -> None:
    """Repair this choice here, too; or what that was worth."""
    st.markdown("**Repair**")

    def draw(latest: TrialState | None) -> None:
        repair_contents(state, configuration.assignment, latest, "export-repair")

    trials.follow(state.artifact, draw)


def contents_card(format: Format, job: ExportJob, written: ExportedFile | None, /) -> None:
    """The file as text, or the receipt of one that is not."""
    if format.capability(job).refused:
        st.markdown("**Preview**")
        st.caption("Allow more bits at the left, or choose others in Explore, to see the file.")
    elif format.is_text and (written is not None or not _needs_process(format)):
        data = format.contents(job) if written is None else written.data
        st.markdown("**Preview**")
        _preview(data.decode("utf-8", errors="replace").splitlines())
    elif written is not None and written.receipt is not None:
        _receipt(written.receipt)
    else:
        st.markdown("**Preview**")
        st.caption("Write the file to see what is in it.")


def _needs_process(format: Format) -> bool:
    return format.needs_network or bool(format.writes_with)


def _preview(lines: list[str]) -> None:
    with st.container(height=PREVIEW_HEIGHT, border=False, key="preview"):
        # No syntax colours: some are too faint, and long files take long.
        st.code("\n".join(lines[:PREVIEW_LINES]), language=None, wrap_lines=True)
    if len(lines) > PREVIEW_LINES:
        st.caption(f"The first {PREVIEW_LINES} of {len(lines)} lines.")


def _receipt(receipt: dict[str, Any]) -> None:
    st.markdown("**Receipt**")
    st.markdown(
        f"{receipt['file_bytes']:,} bytes, promised {receipt['promised_bytes']:,} "
        f"({receipt['difference']:+.2%})."
    )
    if abs(receipt["difference"]) > SAME_SIZE:
        st.caption("The promise is that of the packed file, --format safetensors.")
    if receipt["notes"]:
        st.caption(" ".join(map(str, receipt["notes"])))
    rows = [
        {
            "part": layer["name"],
            "bits": layer["bits"],
            "stored bits": layer["stored_bits"],
            "promised bytes": layer["promised_bytes"],
            "bytes": layer["file_bytes"],
        }
        for layer in receipt["layers"]
    ]
    rows += [{"part": name, "bytes": size} for name, size in receipt["parts"].items()]
    st.dataframe(rows, hide_index=True, height=PREVIEW_HEIGHT)


def solve_command(artifact: str, avg_bits: float, wishes: str, /) -> str:
    """The choice on the command line."""
    return (
        f"python -m clado_core solve {artifact} \\\n"
        f"    --avg-bits {avg_bits:g}{wishes} --json > chosen.json\n"
    )


def export_command(
    artifact: str,
    assignment: str,
    format: Format,
    job: ExportJob,
    /,
    *,
    repaired: RepairedFile | None = None,
) -> str:
    """The file from one that holds the choice, repaired again where it is of a repaired one."""
    out, extra, before = file_name(job.configuration, format), "", ""
    if repaired is not None:
        out, extra = _marked(out, format, repaired), " --repaired repaired.safetensors"
        before = (
            f"python -m clado_core repair {artifact} \\\n"
            f"    --assignment {assignment} {' '.join(repaired.recipe.options())} \\\n"
            "    --out repaired.safetensors\n"
        )
    upcast = " --upcast" if job.upcast else ""
    return (
        f"{before}python -m clado_core export {artifact} \\\n"
        f"    --assignment {assignment} --format {format.name}{upcast}{extra} \\\n"
        f"    --out {out}"
    )


def apply_code(artifact: str, json_name: str, /) -> str:
    """Python that reads the exported JSON back."""
    return (
        "import clado_core as cc\n"
        "from clado_core.files.assignment_file import read_assignment\n\n"
        f'matrix = cc.load("{Path(artifact).name}")\n'
        "chosen = read_assignment(\n"
        f'    "{json_name}", matrix\n'
        ")\n"
        "print(chosen.by_layer())"
    )

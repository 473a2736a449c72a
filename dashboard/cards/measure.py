"""The Measure page's cards: what to measure, how far it is, and files measured elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import streamlit as st

import clado_core as cc
from clado_core.errors import CladoError
from clado_core.files.artifact import SUFFIX
from clado_core.networks.builtin import BUILTIN_NETWORKS, BuiltinNetwork
from clado_core.records.label_check import LabelCheck
from clado_core.records.names import ADAROUND, GPTQ, NEAREST
from dashboard.cards.left_float import LEFT_FLOAT, left_float_expander, left_float_text
from dashboard.known import catalogue, services
from dashboard.state import view_state
from dashboard.theme import duration, megabytes, number, percent
from dashboard.workers.measure import MeasureState, Wish, unfinished

POLL_S = 0.5
OTHER = "Own file (path/to/file.py:factory)"
BITS, DEFAULT_BITS = (2, 3, 4, 5, 6, 7, 8), (2, 4, 8)
ESTIMATE = "clado_estimate"
ROUNDING_NAMES = {
    NEAREST: "To the nearest level",
    ADAROUND: "As repaired: learned (AdaRound)",
    GPTQ: "As repaired: GPTQ, faster",
}
MAX_UPLOAD_MB = 200
CLASSES_SHOWN = 5


def network_card(names: list[str], /) -> None:
    """Choose network, data and menu; see what it would take; start."""
    st.markdown("**Network**")
    model = st.selectbox("Network to measure", [*names, OTHER], key="measure_model")
    if model == OTHER:
        model = st.text_input("File and function", placeholder="nets.py:build", key="measure_file")
    known = BUILTIN_NETWORKS.get(model)
    data = st.text_input("Data", key="measure_data", placeholder=_data_hint(known))
    weights = st.text_input(
        "Weights",
        key="measure_weights",
        placeholder="the shipped ones"
        if known
        else "a checkpoint, a torchvision name such as DEFAULT, or none",
    )
    bits = st.pills(
        "Bit-widths", BITS, selection_mode="multi", default=DEFAULT_BITS, key="measure_bits"
    )
    samples = st.number_input("Samples", 16, 65536, 512, 16, key="measure_samples")
    rounding = st.selectbox(
        "Rounding",
        tuple(ROUNDING_NAMES),
        format_func=lambda name: ROUNDING_NAMES[name],
        key="measure_rounding",
        help="What is measured should be what is shipped: repaired weights are made once, kept "
        "beside the artifact, and measured layer by layer, which ranks choices as well.",
    )
    stem = re.sub(r"[^\w.-]+", "-", model.removeprefix("torchvision:")).strip("-.") or "network"
    name = st.text_input("Name of the artifact", f"{stem}-own", key=f"measure_name_{stem}")
    name = re.sub(r"[^\w.-]+", "-", name).strip("-.") or stem
    out = catalogue.own_folder() / f"{name}{SUFFIX}"
    wish = Wish(model, data, weights, tuple(sorted(bits)), int(samples), str(out), rounding)
    _start_row(wish, name)


def _data_hint(known: BuiltinNetwork | None) -> str:
    if known is None:
        return "an .npz file with x and y, or a folder of images per class"
    if known.data == "cifar10":
        return "cifar10:FOLDER, where CIFAR-10 is (the network was trained on it)"
    return f"{known.data}, as the network was trained on"


def _start_row(wish: Wish, name: str) -> None:
    service, state = services.measure_service(), services.measure_service().state
    ready = bool(wish.model and wish.bits)
    busy = state is not None and state.running
    resume = name in unfinished(catalogue.own_folder())
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Estimate", key="measure-estimate", disabled=not ready or busy):
            with st.spinner("Timing a few passes"):
                st.session_state[ESTIMATE] = (wish, service.estimate(wish))
        st.button(
            "Resume" if resume else "Start",
            key="measure-start",
            icon=":material/play_arrow:",
            disabled=not ready or busy,
            on_click=_start,
            args=(wish,),
        )
        if resume and not busy:
            st.caption("Stopped earlier: the same choices go on where it was.", width="content")
    asked, estimate = st.session_state.get(ESTIMATE, (None, None))
    if asked == wish and isinstance(estimate, str):
        st.warning(estimate, icon=":material/error:")
    elif asked == wish and estimate:
        st.markdown(
            f"**{estimate['n_layers']}** layers, **{estimate['forwards']:,}** losses over "
            f"{estimate['samples']:,} samples on {estimate['device']}: about "
            f"**{duration(estimate['estimated_s'])}**"
            f"{_candidates(estimate.get('candidates'))}. Float32 size "
            f"{megabytes(estimate['float_bytes'])}."
        )
        _say_what_else(estimate)


def _candidates(cost: dict[str, Any] | None) -> str:
    """What repaired weights take beforehand."""
    if cost is None:
        return ""
    return f", and {duration(cost['estimated_s'])} before it to repair weights, once"


def _say_what_else(estimate: dict[str, Any]) -> None:
    """The first classes, what looks wrong, and what stays float."""
    parts, names = estimate.get("float_parts"), estimate.get("classes", [])
    if parts:
        left = left_float_text(estimate["unquantized_bytes"], estimate["float_bytes"], parts)
        st.caption(f"{LEFT_FLOAT}: {left}.")
        left_float_expander(parts)
    if names:
        end = ", …" if len(names) > CLASSES_SHOWN else "."
        st.caption(f"{len(names):,} classes, from index 0: {', '.join(names[:CLASSES_SHOWN])}{end}")
    _warn_of(estimate)


def _warn_of(result: dict[str, Any]) -> None:
    for sentence in result.get("warnings", []):
        st.warning(sentence, icon=":material/label_off:")


def _start(wish: Wish) -> None:
    catalogue.own_folder().mkdir(parents=True, exist_ok=True)
    services.measure_service().start(wish)


def progress_card() -> None:
    """How far the measurement is, and its result."""
    st.markdown("**Progress**")
    service, state = services.measure_service(), services.measure_service().state
    running = state is not None and state.running

    @st.fragment(run_every=POLL_S if running else None)
    def progress() -> None:
        now = service.state
        if running and (now is None or not now.running):
            st.rerun()
        _show(now)

    progress()
    if state is not None and state.result is not None:
        _open(Path(state.wish.out).stem, "measure-open")


def _show(state: MeasureState | None) -> None:
    if state is None:
        st.caption("Nothing is being measured.")
        return
    model = state.wish.model
    if state.running:
        st.progress(state.share, f"{model}: {state.counted}")
        st.button(
            "Cancel",
            key="measure-cancel",
            icon=":material/stop:",
            help="What is measured is kept; the same choices resume it.",
            on_click=services.measure_service().cancel,
        )
    elif state.result is not None:
        took = duration(float(state.result["runtime_s"]))
        st.markdown(
            f"**{model}** is measured: {state.result['n_layers']} layers, "
            f"{state.result['forwards']:,} losses in {took}.{_labels(state.result)}"
        )
        _warn_of(state.result)
    elif state.cancelled:
        st.markdown(f"**{model}** was stopped at {state.done:,} losses; resume it at the left.")
    else:
        st.warning(state.problem, icon=":material/error:")


def _labels(result: dict[str, Any]) -> str:
    """How the float network did."""
    if not (values := result.get("labels")):
        return ""
    check = LabelCheck.from_json(values)
    return (
        f" The float network classifies {percent(check.accuracy)} of {check.n:,} samples as they "
        f"are labelled (chance: {percent(check.as_given.chance)}); loss "
        f"{number(result['base_loss'])}."
    )


def upload_card() -> None:
    """Take in an artifact."""
    st.markdown("**Upload an artifact**")
    file = st.file_uploader(
        "A .clado file",
        type=[SUFFIX.removeprefix(".")],
        max_upload_size=MAX_UPLOAD_MB,
        key="measure_upload",
        label_visibility="collapsed",
    )
    if file is None:
        st.caption("It is checked here and kept beside your own artifacts.")
        return
    stem = re.sub(r"[^\w.-]+", "-", Path(file.name).stem).strip("-.") or "uploaded"
    found = take_in(stem, file.getvalue())
    if isinstance(found, str):
        st.warning(found, icon=":material/draft:")
        return
    st.markdown(
        f"**{stem}**: {found.n_layers} layers at {', '.join(map(str, found.bit_widths))} bits."
    )
    _open(stem, "upload-open")


def _open(name: str, key: str) -> None:
    """Make it the network of all pages; a link leads on once it is."""
    if st.session_state.get(view_state.MODEL) == name:
        icon = ":material/tune:"
        st.page_link("app_pages/explore.py", label=f"See {name} in Explore", icon=icon)
        return
    st.button(
        f"Open {name}",
        key=key,
        icon=":material/arrow_forward:",
        on_click=st.session_state.__setitem__,
        args=(view_state.OPENED, name),
    )


def take_in(stem: str, content: bytes, /) -> cc.SensitivityMatrix | str:
    """Check an artifact and keep it, or say in one sentence why it cannot be used."""
    folder = catalogue.own_folder()
    target, partial = folder / f"{stem}{SUFFIX}", folder / f"{stem}.upload"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_file() and target.read_bytes() != content:
            return f"There is another artifact named {stem} already; rename the file first."
        partial.write_bytes(content)
        matrix = cc.load(partial)
        partial.replace(target)
        return matrix
    except CladoError as problem:
        return str(problem)
    except OSError as problem:
        return f"The file cannot be kept in {folder}: {problem.strerror}."
    finally:
        partial.unlink(missing_ok=True)

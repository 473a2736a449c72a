"""Method: what is computed, from what, with which checks and limits."""

import math

import streamlit as st

from clado_core.evidence.significance import rank_correlation
from clado_core.records.coverage import coverage
from clado_core.records.label_check import LabelCheck
from clado_core.records.names import ROUNDED
from dashboard.cards.chart import Chart, draw_chart
from dashboard.cards.left_float import (
    LEFT_FLOAT,
    left_float_expander,
    left_float_of,
    left_float_text,
)
from dashboard.figures.trust import TrustInfo, trust_alt, trust_figure, trust_rows
from dashboard.known import caches
from dashboard.known.measured_choices import measured
from dashboard.state import view_state
from dashboard.theme import number, percent

CLASSES_SHOWN = 3

state = view_state.current()
matrix = state.matrix


def short(digest: str | None) -> str | None:
    """The first 16 digits; the exported file has all of them."""
    return None if digest is None else f"{digest[:16]}…"


def provenance_rows() -> list[dict[str, str]]:
    """What was measured, on what, how."""
    source = matrix.provenance
    scheme = matrix.scheme
    weights = f"{matrix.layers.total_weights:,}".replace(",", "\u202f")
    activations = "float" if scheme.act_bits is None else f"{scheme.act_bits}-bit"
    values = {
        "Network": source.model,
        "Weights (SHA-256)": short(source.weights_sha256),
        "Data": source.data,
        "Data (SHA-256)": short(source.data_sha256),
        "Samples": source.n_samples,
        "Split": source.split,
        "Seed": source.seed,
        "Estimator": source.estimator,
        "Entries": coverage(matrix).sentence,
        "Loss": source.loss,
        "Loss of the float network": None if matrix.base_loss is None else number(matrix.base_loss),
        "Quantizer": f"symmetric, {scheme.granularity}, {scheme.range_rule} range",
        "Activations": activations,
        "Bit-widths": ", ".join(map(str, matrix.bit_widths)),
        "Layers searched": f"{matrix.n_layers} with {weights} weights",
        LEFT_FLOAT: left_float_text(
            matrix.layers.other_bytes, matrix.layers.float_bytes, left_float_of(matrix.layers)
        ),
        "Classes": None if source.classes is None else classes_text(source.classes),
        "Float network": None if source.labels is None else labels_text(source.labels),
        "Measured": source.created,
        "Artifact (SHA-256)": short(state.artifact.digest),
        "Versions": ", ".join(f"{k} {v}" for k, v in source.versions.items()) or None,
    }
    return [
        {"What": k, "Value": "not recorded" if v is None else str(v)} for k, v in values.items()
    ]


def classes_text(names: tuple[str, ...]) -> str:
    """How many, and the first few, so that a wrong order shows."""
    end = ", …" if len(names) > CLASSES_SHOWN else ""
    return f"{len(names):,}: {', '.join(names[:CLASSES_SHOWN])}{end}"


def labels_text(check: LabelCheck) -> str:
    """How the float network did on the sensitivity set."""
    return (
        f"{percent(check.accuracy)} of {check.n:,} samples classified as labelled; chance: "
        f"{percent(check.as_given.chance)}"
    )


def checks() -> None:
    """What a reader should know before trusting an allocation."""
    found = caches.diagnosis(state.artifact)
    n = len(matrix.G)
    cause = " Each is noise of the measurement or a layer that quantization regularizes."
    st.markdown(
        f"- **Cross-layer terms**: {percent(found.cross_layer_share)} of the total magnitude.\n"
        f"- **Eigenvalues of G**: from {number(found.smallest_eigenvalue)} to "
        f"{number(found.largest_eigenvalue)}; {found.negative_eigenvalues} of {n} are negative."
        f" Negative ones are kept: clipping them would change the optimum.\n"
        f"- **More bits, larger loss**: {len(found.non_monotone)} of "
        f"{matrix.n_layers * (matrix.n_bits - 1)} steps."
        f"{cause if found.non_monotone else ''}"
    )
    if found.non_monotone:
        with st.expander("The layers where more bits gave a larger loss"):
            st.dataframe(
                [
                    {"Layer": name, "Fewer bits": low, "More bits": high}
                    for name, low, high in found.non_monotone
                ],
                hide_index=True,
            )


def trust() -> None:
    """Predicted against measured loss, of what was run."""
    predicted = [matrix.predicted_loss_increase(run.assignment.bits) for run in runs]
    info = TrustInfo(
        names=tuple(
            f"{run.method or 'choice'} at {run.assignment.avg_bits:.2f} bits" for run in runs
        ),
        ours=tuple(run.ours for run in runs),
        predicted=tuple(predicted),
        measured=tuple(run.loss_increase for run in runs),
        correlation=rank_correlation(predicted, [run.loss_increase for run in runs]),
    )
    chart = Chart(
        title="Does the prediction hold?",
        key="trust_plot",
        figure=lambda: trust_figure(info, state.mode),
        alt=trust_alt(info),
        rows=lambda: trust_rows(info),
        help="Each point is a choice whose weights were rounded to nearest, and that was run on "
        f"{runs[0].images.counted(runs[0].n)}.",
    )
    draw_chart(chart, height=300)
    said = [trust_alt(info)]
    seen = [run.sensitivity_loss for run in runs]
    if math.isfinite(sum(seen)) and (correlation := rank_correlation(predicted, seen)) is not None:
        said.append(f"On the sensitivity set, whose loss is predicted: {correlation:.3f}.")
    if matrix.provenance.loss == "kl":
        said.append("Predicted are divergences from the float network, measured cross-entropies.")
    st.caption(" ".join(said))


runs = [
    run
    for run in measured(state.artifact)
    if run.measured_as == ROUNDED and math.isfinite(run.loss_increase)
]
left, right = st.columns(2)
with left:
    with st.container(border=True):
        st.markdown("**What is computed**")
        st.markdown(
            "Each layer is quantized alone and each pair of layers together; the loss on a fixed "
            "set of samples is measured each time, or estimated where the estimator leaves it out. "
            "With one bit-width chosen per layer, *x*, the predicted loss increase is"
        )
        st.latex(r"\Delta L(x) \approx \tfrac12\,x^\top G\,x")
        st.latex(
            r"G_{aa} = 2D_a,\qquad G_{ab} = D_{ab} - D_a - D_b"
            r"\quad(\text{different layers})"
        )
        st.markdown(
            "where *D* is a measured loss increase. The best choice minimizes it while the weights "
            "fit the budget. It is a prediction: only an evaluation of the quantized network "
            "measures the loss."
        )
        st.caption(
            "CLADO: Deng, Sharify, Wang, Orshansky, DAC 2025 (arXiv 2307.05657). Diagonal only: "
            "the same with every cross-layer term dropped."
        )
    with st.container(border=True):
        st.markdown("**Checks of this measurement**")
        checks()
    with st.container(border=True):
        st.markdown("**Solvers**")
        st.markdown(
            "1. **Local search** answers at once, by tabu walks and descents over single moves "
            "and swaps: *approximate*. In a large network a short search does; the long one, the "
            "front and the prices come from a process of their own. Hollow points of the front "
            "are first guesses, by greedy single moves.\n"
            "2. **DAQP** proves it or finds better, in a process of its own: branch and bound over "
            "an exact convex reformulation of G, shifted by terms that are zero for every choice, "
            "so the optimum stays what it was. Where a short tree does not do, a tighter "
            "relaxation first rules out candidates and pairs that no better choice has.\n"
            "3. **SCIP** goes over the same convex form with a tree of its own, and takes over "
            "where DAQP is slow. Its bounds are recomputed by duality, so they hold whatever DAQP, "
            "which minimizes their relaxations, returns; shared are the reformulation and the "
            "candidates ruled out before.\n"
            "4. **toulbar2**, where it is installed, proves from the measured G alone, in another "
            "process: beside DAQP where that needs more than half a second, and beside SCIP; the "
            "first proof counts.\n\n"
            "**Proven** means that objective and bound, recomputed on the measured G, are within "
            "10⁻⁶ of each other; the gap says how far the optimum can be at most.\n\n"
            "**Budgets help each other**: a choice for a smaller budget fits a larger one, a bound "
            "for a larger budget holds for a smaller one. **Other methods' curves** (diagonal "
            "only, HAWQ, MPQCO, PSD) are minimized by local search and scored on the same G; "
            "about it they prove nothing."
        )
with right:
    if runs:
        with st.container(border=True):
            trust()
    with st.container(border=True):
        st.markdown("**Where the numbers come from**")
        st.table(provenance_rows(), hide_index=True)
        if source := matrix.provenance.labels:
            for sentence in source.warnings:
                st.warning(sentence, icon=":material/label_off:")
        left_float_expander(left_float_of(matrix.layers))
        if classes := matrix.provenance.classes:
            with st.expander(f"Classes ({len(classes):,})"):
                st.dataframe({"Index": range(len(classes)), "Name": classes}, hide_index=True)
    with st.container(border=True):
        st.markdown("**Limits**")
        st.markdown(
            "- A quadratic model from pairs does not see three layers interacting.\n"
            "- At 2 bits the errors are large and the prediction is at its weakest: **Refine**, on "
            "Explore, runs the best candidates and keeps the one of least measured loss.\n"
            "- Size is counted, speed is not: kernels decide whether fewer bits are faster.\n"
            "- MB means 10⁶ bytes, and counts weights, scales and all that stays float32."
        )
